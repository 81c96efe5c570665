"""A session with one board, sans-IO: bytes and time in, events and bytes out. Pure.

    ASKING ──HELLO──▶ HERE ──load──▶ LOADING ──LOADED──▶ STEPPED ──run──▶ RUNNING
       ▲                                                  ▲  │   ◀──stop──   │
       └──── a HELLO that nobody asked for, or another nonce: Reset ─────────┘

*Here* the board is known and does nothing. *Stepped* it runs as far as it is told (`go`), as fast as it can:
to catch up, and under the virtual clock. *Running* it keeps its own time, which is corrected once a second.
In either, `inputs` may be given spikes in any order and as early as one likes: they are held there, and sent
sorted when stepped, shortly before they are due when running.

Whatever the board reports comes in order and once. So when `Done(tick)` comes, everything it did up to that
tick has been reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from neurobus import led
from neurobus.bridge import board_events
from neurobus.bridge.board_events import Event, Hello
from neurobus.bridge.clocksync import WRAP, ClockSync, Pings
from neurobus.bridge.hardware import REFLASH
from neurobus.bridge.input_queue import InputQueue
from neurobus.bridge.mirror import Mirror, palette_values
from neurobus.bridge.transport import Foreign, Transport
from neurobus.wire import link
from neurobus.wire.framing import crc16
from neurobus.wire.link import Message, Packet
from neurobus.wire.reasons import Reason

BEAT_S = 0.04
"""A running board is asked so often where it is."""
SILENCE_S = 0.05
"""A running board that has not answered a beat for so long is silent."""
PATIENCE_S = 1.0
"""The same while it loads or steps: it may be busy for a while."""
ASK_PATIENCE_S = 5.0
RERUN_S = 1.0
STRIDE = 20_000
"""A stepped board is sent no farther than this at a time."""
NEVER = float("inf")


class Stage(Enum):
    CLOSED = "closed"
    ASKING = "asking"
    HERE = "here"
    LOADING = "loading"
    STEPPED = "stepped"
    RUNNING = "running"


@dataclass
class Session:
    """One board behind one open port. `receive` and `tick` return events; `take_out` bytes for the port."""

    token: int
    stage: Stage = Stage.CLOSED
    hello: Hello | None = None
    at: int = 0
    """The board has reported everything it did up to this tick."""

    def __post_init__(self) -> None:
        self.transport = Transport(self.token)
        self.inputs = InputQueue()
        self._mirror = Mirror()
        self._pings = Pings()
        self._give_up = 0.0
        self._beat_due = self._rerun_due = NEVER
        self._silent = False
        self._goal: int | None = None
        self._sent_to = 0
        self._epoch_s = self._dt_s = 0.0
        self._reading: tuple[int, bytearray, int] | None = None
        self._busy_s = 0.0
        """Since when an answer can be expected."""

    @property
    def sync(self) -> ClockSync:
        """The board's clock."""
        return self._pings.sync

    # -- what is asked of the board -------------------------------------------------------------------

    def open(self, now: float) -> None:
        """Ask who is there."""
        self.stage = Stage.ASKING
        self._give_up = now + ASK_PATIENCE_S
        self.transport.ask(now)

    def send(self, message: Message, now: float, **values: int) -> None:
        """A message that changes nothing here: IDENTIFY, SAVE, TELL, NAME, CHECK."""
        self.transport.send(message, now, **values)

    def mirror(self, every: int, now: float) -> None:
        """`Lights` follow whenever the strip shows something else, but in each `every` frames one at most."""
        self._mirror.every = every
        self.transport.send(link.MIRROR, now, every=every)

    def palette(self, colours: led.Palette, now: float) -> None:
        """Other colours of the strip. What was under way meanwhile still tells of the old ones."""
        self._mirror.sent(self.transport.send(link.PALETTE, now, **palette_values(colours)), colours)

    def load(self, image: bytes, chip: int, now: float) -> None:
        """Empty the board and give it this image: parameters, state, weights. `Loaded` follows."""
        self._forget()
        self.stage = Stage.LOADING
        self._busy_s = now
        self.transport.send(link.BEGIN, now, chip=chip, length=len(image))
        for offset in range(0, len(image), link.CHUNK):
            self.transport.send(link.WRITE, now, offset=offset, bytes=image[offset : offset + link.CHUNK])
        self.transport.send(link.COMMIT, now, crc=crc16(image))

    def go(self, tick: int, now: float) -> None:
        """Stepped: run to `tick`, `Done(tick)` follows. All inputs before it have been given."""
        self._goal = tick
        self._busy_s = now
        self._stride(now)

    def run(self, epoch_s: float, dt_s: float, now: float) -> None:
        """Keep time from here on: update k is due at host time epoch_s + k dt_s. Needs a fitted clock."""
        self.stage = Stage.RUNNING
        self._epoch_s, self._dt_s, self._goal = epoch_s, dt_s, None
        self._send_run(now)
        self._beat_due, self._busy_s, self._silent = now + BEAT_S, now, False
        self.release(now)

    def stop(self, now: float) -> None:
        """Running: stay where you are. `Done` follows, and the board is stepped."""
        self.transport.send(link.STOP, now)
        self.stage = Stage.STEPPED
        self._beat_due = self._rerun_due = NEVER
        self._busy_s = now

    def read(self, offset: int, length: int, now: float) -> None:
        """Part of the image; `Image` follows. One at a time."""
        self._reading = (offset, bytearray(), length)
        self._busy_s = now
        self.transport.send(link.READ, now, offset=offset, length=length)

    # -- inputs on their way --------------------------------------------------------------------------

    @property
    def _holds(self) -> int:
        """How many spikes the board holds."""
        return self.hello.queue if self.hello else 1

    def _stride(self, now: float) -> None:
        """Stepped: as far towards the goal as one stride."""
        if self._goal is None or self.stage is not Stage.STEPPED:
            return
        to = min(self._goal, self.at + STRIDE)
        if to <= self._sent_to and to > self.at:
            return  # under way
        for message, values in self.inputs.take(to, to):
            self.transport.send(message, now, **values)
        self._sent_to = to
        self.transport.send(link.HORIZON, now, tick=to)

    def release(self, now: float) -> None:
        """Running: send what is due soon, as much as the board can hold."""
        if self.stage is Stage.RUNNING and (self.inputs.spikes or self.inputs.kicks):
            here = int((now - self._epoch_s) / self._dt_s)
            for message, values in self.inputs.due(here, self._dt_s, self._holds):
                self.transport.send(message, now, **values)

    # -- the clock ------------------------------------------------------------------------------------

    def _send_run(self, now: float) -> None:
        at = round(self.sync.clock_at(self._epoch_s + self.at * self._dt_s)) % WRAP
        period = round(self.sync.hz * self._dt_s * 65536)
        self.transport.send(link.RUN, now, tick=self.at, at=at, period=period, batch=1)
        self._rerun_due = now + RERUN_S

    def _ping(self, now: float) -> None:
        self.transport.send(link.PING, now, token=self._pings.next(now))

    def _beat(self, now: float) -> None:
        """Ask a running board where it is for certain by now, so that the answer comes at once."""
        self._beat_due = (now // BEAT_S + 1) * BEAT_S  # all boards are asked in one go
        tick = int((now - self._epoch_s) / self._dt_s) - 2
        if tick > self.at:
            if self.transport.heard_s >= self._busy_s:
                # Silence counts from the first question that nobody answered: it may be we who slept.
                self._busy_s = now
            self.transport.send(link.HORIZON, now, tick=tick)

    # -- bytes and time -------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Bytes from the port."""
        events: list[Event] = []
        copies = self.transport.counts.copies
        for packet in self.transport.receive(data, now):
            if isinstance(packet, Foreign):
                self.stage = Stage.CLOSED
                events.append(board_events.Refused(_reflash(packet)))
            elif packet.message is link.HELLO:
                self._greeted(packet, now, events)
            else:
                self._mirror.acknowledged(packet.ack)
                self._heard(packet, now, events)
        if self.transport.counts.copies > copies and self._mirror.every and self.transport.ready:
            self.mirror(self._mirror.every, now)  # should one of them have been no copy
        self.release(now)
        return events

    def _greeted(self, packet: Packet, now: float, events: list[Event]) -> None:
        hello, known = board_events.hello_of(packet), self.hello
        asked, other = packet.values["token"] != 0, known is None or hello.nonce != known.nonce
        if not asked and not other:
            why = f"the board heard nothing for {link.SILENCE_MS} ms and ended the session"
            events.append(board_events.Reset(why))
        elif not asked or (known is not None and other):
            cause = " and ".join(hello.reset) or "an unknown cause"
            events.append(board_events.Reset(f"the board was reset ({cause})"))
        self._forget()
        self._mirror.begin(same_board=not other)
        self.hello = hello
        if not asked:
            self.open(now)
            return
        self._pings = Pings(hello.timer_hz)
        self.stage = Stage.HERE
        events.append(board_events.Here(hello))
        self._ping(now)

    def _forget(self) -> None:
        self.inputs.clear()
        self._goal, self._sent_to = None, 0
        self._beat_due = self._rerun_due = NEVER
        self._reading = None
        self._silent = False

    def _heard(self, packet: Packet, now: float, events: list[Event]) -> None:
        message, v = packet.message, packet.values
        if message is link.SPIKE:
            events.append(board_events.Spiked(link.widen(v["tick"], self.at)))
        elif message is link.DONE:
            self._done(v["tick"], now, events)
        elif message is link.PONG:
            if self._pings.answered(v["token"], v["clock"], now) and self.stage is Stage.RUNNING:
                self._send_run(now)
        elif message is link.LATE:
            synapses = tuple(synapse for synapse in v["synapses"] if synapse != link.NO_SYNAPSE)
            due, acts = link.widen(v["due"], self.at), link.widen(v["acts"], self.at)
            events.append(board_events.Late(synapses, due, acts))
        elif message is link.POKE:
            events.append(board_events.Poked(link.widen(v["tick"], self.at), v["weight"]))
        elif message is link.LOADED:
            self.at = self._sent_to = v["tick"]
            self.stage = Stage.STEPPED
            events.append(board_events.Loaded(v["tick"]))
        elif message is link.IMAGE:
            self._image(v["offset"], v["bytes"], events)
        elif message is link.LIGHTS:
            events.append(board_events.Lights(v["level"], v["flash"], v["blink"], self._mirror.shown))
        elif message is link.PROBLEM:
            events.append(board_events.Problem(board_events.name_of(link.FAULT, v["fault"]), v["detail"]))
        elif message is link.STATS:
            events.append(board_events.Stats(dict(v)))

    def _done(self, tick: int, now: float, events: list[Event]) -> None:
        self.at = max(self.at, tick) if self.stage is Stage.RUNNING else tick
        if self.stage is Stage.STEPPED:
            if self._goal is not None and self.at < self._goal:
                self._stride(now)
                return
            self._goal = None
        events.append(board_events.Done(tick))

    def _image(self, offset: int, data: bytes, events: list[Event]) -> None:
        if self._reading is None:
            return
        first, got, length = self._reading
        if offset == first + len(got):
            got += data
        if len(got) >= length:
            self._reading = None
            events.append(board_events.Image(first, bytes(got)))

    def tick(self, now: float) -> list[Event]:
        """Do what is due."""
        self.transport.tick(now)
        if self.stage is Stage.ASKING and now >= self._give_up:
            self.stage = Stage.CLOSED
            self.transport.close()
            return [board_events.Refused(Reason.NO_BOARD.value, silent=True)]
        if self.stage in (Stage.CLOSED, Stage.ASKING):
            return []
        if now >= self._pings.due_s:
            self._ping(now)
        if self.stage is Stage.RUNNING:
            if now >= self._rerun_due:
                self._send_run(now)
            if now >= self._beat_due:
                self._beat(now)
            self.release(now)
        if self._silent or now <= self._silent_at_s:
            return []
        self._silent = True
        return [board_events.Silent(now - max(self.transport.heard_s, self._busy_s))]

    @property
    def _silent_at_s(self) -> float:
        """From when on the board is silent, unless it answers."""
        if self.stage is Stage.RUNNING:
            return max(self.transport.heard_s, self._busy_s) + SILENCE_S
        return max(self.transport.heard_s, self._busy_s) + PATIENCE_S if self.transport.waiting else NEVER

    def take_out(self) -> bytes:
        """What is to be written to the port now."""
        return self.transport.take_out()

    def next_s(self) -> float:
        """When `tick` is to be called next."""
        # Asked after all that happens: no list is made of it.
        first = self.transport.next_s()
        if self.stage is Stage.ASKING:
            return min(first, self._give_up)
        if self.stage is Stage.CLOSED:
            return first
        first = min(first, self._pings.due_s)
        if self.stage is Stage.RUNNING:
            first = min(first, self._beat_due, self._rerun_due)
            if self.inputs.spikes or self.inputs.kicks:
                first = min(first, self._epoch_s + self.inputs.due_s(self._dt_s, self._holds))
        return first if self._silent else min(first, self._silent_at_s + 1e-4)


def _reflash(found: Foreign) -> str:
    return (
        f"the board speaks link version {found.version}, schema {found.schema:08x}; "
        f"this neurobus speaks {link.VERSION}, {link.SCHEMA:08x}: "
        f"reflash it with '{REFLASH}'"
    )
