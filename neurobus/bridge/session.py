"""A session with one board, sans-IO: bytes and time in, events and bytes out. Pure.

    ASKING ──HELLO──▶ HERE ──load──▶ LOADING ──LOADED──▶ STEPPED ──run──▶ RUNNING
       ▲                                                  ▲  │   ◀──stop──   │
       └──── a HELLO that nobody asked for, or another nonce: Reset ─────────┘

*Here* the board is known and does nothing. *Stepped* it runs as far as it is told (`go`), as fast as it can:
to catch up, and under the virtual clock. *Running* it keeps its own time, which is corrected once a second.
In either, `input` may be given spikes in any order and as early as one likes: they are held here, and sent
sorted when stepped, shortly before they are due when running.

Whatever the board reports comes in order and once. So when `Done(tick)` comes, everything it did up to that
tick has been told.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from neurobus import led
from neurobus.bridge.clocksync import WRAP, ClockSync
from neurobus.bridge.hardware import REFLASH
from neurobus.bridge.transport import Foreign, Transport
from neurobus.wire import link
from neurobus.wire.framing import crc16
from neurobus.wire.link import Message, Packet
from neurobus.wire.reasons import Reason

PING_S = 0.5
FIRST_PINGS, FIRST_PING_S = 8, 0.01
"""A new session pings densely at first: the clock must be known before the board can run."""
BEAT_S = 0.04
"""A running board is asked so often where it is."""
SILENCE_S = 0.05
"""A running board that has not answered a beat for so long is silent."""
PATIENCE_S = 1.0
"""The same while it loads or steps: it may be busy for a while."""
ASK_PATIENCE_S = 5.0
RERUN_S = 1.0
LEAD_S = 0.05
"""How long before it is due an input is sent to a running board: what has long delays waits here."""
KICK_LEAD_S = 0.002
"""The same of a kick: while one waits on the board, so does all that comes behind it."""
MOST_SYNAPSES = 8
STRIDE = 20_000
"""A stepped board is sent no farther than this at a time."""


class Stage(Enum):
    CLOSED = "closed"
    ASKING = "asking"
    HERE = "here"
    LOADING = "loading"
    STEPPED = "stepped"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Hello:
    """Who the board is."""

    version: int
    mcu: str
    chip: str
    held: str
    reset: tuple[str, ...]
    nonce: int
    serial: int
    clock_hz: int
    timer_hz: int
    room: int
    synapses: int
    leds: int
    led: str
    rx_ring: int
    queue: int

    @property
    def name(self) -> str:
        """The serial number as people read it."""
        return f"{self.serial:08X}" if self.serial else "unnamed"


@dataclass(frozen=True, slots=True)
class Here:
    """The board has said who it is; a session is open."""

    hello: Hello


@dataclass(frozen=True, slots=True)
class Refused:
    """There will be no session: `why` says what to do about it."""

    why: str


@dataclass(frozen=True, slots=True)
class Reset:
    """The board has started anew, and knows nothing of what it was."""

    why: str


@dataclass(frozen=True, slots=True)
class Silent:
    """Nothing has been heard for `for_s` seconds."""

    for_s: float


@dataclass(frozen=True, slots=True)
class Loaded:
    tick: int


@dataclass(frozen=True, slots=True)
class Done:
    """The board is at this tick, and has told everything it did up to it."""

    tick: int


@dataclass(frozen=True, slots=True)
class Spiked:
    """`tick` is the stamp."""

    tick: int


@dataclass(frozen=True, slots=True)
class Late:
    """Inputs meant for update `due` act in `acts`. No `synapses`: a kick."""

    synapses: tuple[int, ...]
    due: int
    acts: int


@dataclass(frozen=True, slots=True)
class Poked:
    """Somebody pressed the button: `weight` (image units) acts in update `tick` where the board runs. A
    stepped one stands at `tick`, and does nothing about it until it is given as a `kick`."""

    tick: int
    weight: int


@dataclass(frozen=True, slots=True)
class Image:
    """The part of the image asked for, from `offset` on."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Checked:
    tick: int
    length: int
    crc: int


@dataclass(frozen=True, slots=True)
class Lights:
    """What the strip shows. `palette`: in these colours, None for those that a board begins with."""

    level: int
    flash: int
    blink: int
    palette: led.Palette | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """The board could not follow a message."""

    fault: str
    detail: int


@dataclass(frozen=True, slots=True)
class Stats:
    values: dict[str, int]


Event = (
    Here | Refused | Reset | Silent | Loaded | Done | Spiked | Late | Poked | Image | Checked | Lights
    | Problem | Stats
)  # fmt: skip


def _name_of(names: dict[str, int], value: int) -> str:
    return next((name for name, number in names.items() if number == value), f"unknown ({value})")


def hello_of(packet: Packet) -> Hello:
    v = packet.values
    return Hello(
        v["version"], _name_of(link.MCU, v["mcu"]), _name_of(link.CHIP, v["chip"]),
        _name_of(link.HELD, v["held"]), tuple(name for name, bit in link.RESET.items() if v["reset"] & bit),
        v["nonce"], 0 if v["serial"] == link.NO_SERIAL else v["serial"], v["clock_hz"], v["timer_hz"],
        v["room"], v["synapses"], v["leds"], _name_of(link.LED, v["led"]), v["rx_ring"], v["queue"],
    )  # fmt: skip


@dataclass
class Session:
    """One board behind one open port. `receive` and `tick` return events; `take_out` bytes for the port."""

    token: int
    silence_s: float = SILENCE_S
    stage: Stage = Stage.CLOSED
    hello: Hello | None = None
    at: int = 0
    """The board has told everything it did up to this tick."""
    sync: ClockSync = field(default_factory=lambda: ClockSync(1.0))
    late: int = 0
    gather: Callable[[list[int]], list[int]] = list
    """From all kicks of one update to those that are sent."""

    def __post_init__(self) -> None:
        self.transport = Transport(self.token)
        self._nonce: int | None = None
        self._give_up = 0.0
        self._pings: dict[int, float] = {}
        self._ping_due = float("inf")
        self._pinged = 0
        self._beat_due = self._rerun_due = float("inf")
        self._silent = False
        self._waiting: list[tuple[int, int, int]] = []
        self._kicks: list[tuple[int, int, int]] = []
        self._order = 0
        self._under_way: deque[int] = deque()
        self._goal: int | None = None
        self._sent_to = 0
        self._epoch_s = self._dt_s = 0.0
        self._batch = 1
        self._reading: tuple[int, bytearray, int] | None = None
        self._mirrored = 0
        self._palettes: deque[tuple[int, led.Palette]] = deque()
        """Sent, and not known to have been taken: seq and colours."""
        self._palette: led.Palette | None = None
        self._busy_s = 0.0
        """Since when an answer can be expected."""

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
        self._mirrored = every
        self.transport.send(link.MIRROR, now, every=every)

    def palette(self, colours: led.Palette, now: float) -> None:
        """Other colours of the strip. What was under way meanwhile still tells of the old ones."""
        flat = [part for colour in colours for part in colour]
        values = {field.name: value for field, value in zip(link.PALETTE.fields, flat, strict=True)}
        self._palettes.append((self.transport.send(link.PALETTE, now, **values), colours))

    def load(self, image: bytes, chip: int, now: float) -> None:
        """Empty the board and give it this image: parameters, state, weights. `Loaded` follows."""
        self._forget()
        self.stage = Stage.LOADING
        self._busy_s = now
        self.transport.send(link.BEGIN, now, chip=chip, length=len(image))
        for offset in range(0, len(image), link.CHUNK):
            self.transport.send(link.WRITE, now, offset=offset, bytes=image[offset : offset + link.CHUNK])
        self.transport.send(link.COMMIT, now, crc=crc16(image))

    def input(self, tick: int, synapse: int) -> None:
        """A spike on a synapse acts in update `tick`."""
        self._order += 1
        heapq.heappush(self._waiting, (tick, self._order, synapse))

    def kick(self, tick: int, weight: int) -> None:
        """A stimulus of `weight` (image units) acts in update `tick`."""
        self._order += 1
        heapq.heappush(self._kicks, (tick, self._order, weight))

    def go(self, tick: int, now: float) -> None:
        """Stepped: run to `tick`, `Done(tick)` follows. All inputs before it have been given."""
        self._goal = tick
        self._busy_s = now
        self._stride(now)

    def run(self, epoch_s: float, dt_s: float, now: float, batch: int = 1) -> None:
        """Keep time from here on: update k is due at host time epoch_s + k dt_s. Needs a fitted clock."""
        self.stage = Stage.RUNNING
        self._epoch_s, self._dt_s, self._batch, self._goal = epoch_s, dt_s, batch, None
        self._send_run(now)
        self._beat_due, self._busy_s, self._silent = now + BEAT_S, now, False
        self.release(now)

    def stop(self, now: float) -> None:
        """Running: stay where you are. `Done` follows, and the board is stepped."""
        self.transport.send(link.STOP, now)
        self.stage = Stage.STEPPED
        self._beat_due = self._rerun_due = float("inf")
        self._busy_s = now

    def read(self, offset: int, length: int, now: float) -> None:
        """Part of the image; `Image` follows. One at a time."""
        self._reading = (offset, bytearray(), length)
        self._busy_s = now
        self.transport.send(link.READ, now, offset=offset, length=length)

    # -- inputs on their way --------------------------------------------------------------------------

    def _flush(self, before: int, kicks_before: int, now: float) -> None:
        """Send what acts before these ticks, sorted, up to eight synapses of one tick in a message."""
        synapses: list[int] = []
        tick = -1
        while True:
            first = self._waiting[0][0] if self._waiting else before
            kick = self._kicks[0][0] if self._kicks else kicks_before
            if first >= before and kick >= kicks_before:
                break
            is_input = first < before and (first <= kick or kick >= kicks_before)
            at = first if is_input else kick
            if synapses and (at != tick or not is_input or len(synapses) == MOST_SYNAPSES):
                self._send_input(tick, synapses, now)
                synapses = []
            tick = at
            if is_input:
                synapses.append(heapq.heappop(self._waiting)[2])
            else:
                weights = []
                while self._kicks and self._kicks[0][0] == at:
                    weights.append(heapq.heappop(self._kicks)[2])
                for weight in self.gather(weights):
                    self.transport.send(link.KICK, now, tick=at & 0xFFFF, weight=weight)
        if synapses:
            self._send_input(tick, synapses, now)

    def _send_input(self, tick: int, synapses: list[int], now: float) -> None:
        self._under_way.extend([tick] * len(synapses))
        self.transport.send(link.INPUT, now, tick=tick & 0xFFFF, synapses=tuple(synapses))

    def _stride(self, now: float) -> None:
        """Stepped: as far towards the goal as one stride."""
        if self._goal is None or self.stage is not Stage.STEPPED:
            return
        to = min(self._goal, self.at + STRIDE)
        if to <= self._sent_to and to > self.at:
            return  # under way
        self._flush(to, to, now)
        self._sent_to = to
        self.transport.send(link.HORIZON, now, tick=to)

    def release(self, now: float) -> None:
        """Running: send what is due soon, as much as the board can hold."""
        if self.stage is not Stage.RUNNING or not (self._waiting or self._kicks):
            return
        here = int((now - self._epoch_s) / self._dt_s)
        while self._under_way and self._under_way[0] < here:
            self._under_way.popleft()
        room = (self.hello.queue if self.hello else 1) - len(self._under_way)
        soon = here + int(LEAD_S / self._dt_s) + 1
        if self._kicks:
            self._flush(0, here + int(KICK_LEAD_S / self._dt_s) + 1, now)
        if room > 0 and self._waiting and self._waiting[0][0] < soon:
            # So many of them, the earliest first.
            if len(self._waiting) > room:
                fits = heapq.nsmallest(room + 1, self._waiting)
                soon = min(soon, max(fits[-1][0], fits[0][0] + 1))
            self._flush(soon, 0, now)

    # -- the clock ------------------------------------------------------------------------------------

    def _send_run(self, now: float) -> None:
        tick = self.at
        at = round(self.sync.clock_at(self._epoch_s + tick * self._dt_s)) % WRAP
        period = round(self.sync.hz * self._dt_s * 65536)
        self.transport.send(link.RUN, now, tick=tick, at=at, period=period, batch=self._batch)
        self._rerun_due = now + RERUN_S

    def _ping(self, now: float) -> None:
        self._pinged += 1
        token = self._pinged & 0xFFFF
        self._pings = {t: sent for t, sent in self._pings.items() if now - sent < 1.0}
        self._pings[token] = now
        self._ping_due = now + (FIRST_PING_S if self._pinged < FIRST_PINGS else PING_S)
        self.transport.send(link.PING, now, token=token)

    # -- bytes and time -------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Bytes from the port."""
        events: list[Event] = []
        copies = self.transport.counts.copies
        for packet in self.transport.receive(data, now):
            if self._palettes and isinstance(packet, Packet) and packet.message is not link.HELLO:
                self._coloured(packet.ack)
            if isinstance(packet, Foreign):
                self.stage = Stage.CLOSED
                events.append(Refused(_reflash(packet)))
            elif packet.message is link.HELLO:
                self._greeted(packet, now, events)
            elif packet.message is link.PONG:
                sent = self._pings.pop(packet.values["token"], None)
                if sent is not None:
                    jumps = self.sync.jumps
                    self.sync.add(sent, now, packet.values["clock"])
                    if self.sync.jumps > jumps and self.stage is Stage.RUNNING:
                        self._send_run(now)
            else:
                self._heard(packet, now, events)
        if self.transport.counts.copies > copies and self._mirrored and self.transport.ready:
            self.mirror(self._mirrored, now)  # should one of them have been no copy
        self.release(now)
        return events

    def _coloured(self, ack: int) -> None:
        """A board that had taken a palette when it said something was showing it."""
        while self._palettes and (ack - self._palettes[0][0]) & 0xFF < 128:
            self._palette = self._palettes.popleft()[1]

    def _greeted(self, packet: Packet, now: float, events: list[Event]) -> None:
        hello = hello_of(packet)
        reset = self._nonce is not None and hello.nonce != self._nonce
        if packet.values["token"] == 0 or (reset and self.stage is not Stage.ASKING):
            reset = True
        if reset and hello.nonce == self._nonce:
            events.append(Reset(f"the board heard nothing for {link.SILENCE_MS} ms and ended the session"))
        elif reset:
            cause = " and ".join(hello.reset) or "an unknown cause"
            events.append(Reset(f"the board was reset ({cause})"))
        self._forget()
        self._palettes.clear()
        self._mirrored = 0
        if hello.nonce != self._nonce:
            self._palette = None
        self._nonce, self.hello = hello.nonce, hello
        if packet.values["token"] == 0:
            self.open(now)
            return
        self.sync, self._pinged = ClockSync(hello.timer_hz), 0
        self.stage = Stage.HERE
        events.append(Here(hello))
        self._ping(now)

    def _forget(self) -> None:
        self._waiting.clear()
        self._kicks.clear()
        self._under_way.clear()
        self._goal, self._sent_to = None, 0
        self._beat_due = self._rerun_due = float("inf")
        self._reading = None
        self._silent = False

    def _heard(self, packet: Packet, now: float, events: list[Event]) -> None:
        message, v = packet.message, packet.values
        if message is link.SPIKE:
            events.append(Spiked(link.widen(v["tick"], self.at)))
        elif message is link.DONE:
            self.at = max(self.at, v["tick"]) if self.stage is Stage.RUNNING else v["tick"]
            if self.stage is Stage.STEPPED and self._goal is not None and self.at < self._goal:
                self._stride(now)
            else:
                self._goal = None if self.stage is Stage.STEPPED else self._goal
                events.append(Done(v["tick"]))
        elif message is link.LATE:
            synapses = tuple(synapse for synapse in v["synapses"] if synapse != link.NO_SYNAPSE)
            self.late += len(v["synapses"])
            events.append(Late(synapses, link.widen(v["due"], self.at), link.widen(v["acts"], self.at)))
        elif message is link.POKE:
            events.append(Poked(link.widen(v["tick"], self.at), v["weight"]))
        elif message is link.LOADED:
            self.at, self.stage = v["tick"], Stage.STEPPED
            self._sent_to = self.at
            events.append(Loaded(v["tick"]))
        elif message is link.IMAGE:
            self._image(v["offset"], v["bytes"], events)
        elif message is link.CHECKED:
            events.append(Checked(v["tick"], v["length"], v["crc"]))
        elif message is link.LIGHTS:
            events.append(Lights(v["level"], v["flash"], v["blink"], self._palette))
        elif message is link.PROBLEM:
            events.append(Problem(_name_of(link.FAULT, v["fault"]), v["detail"]))
        elif message is link.STATS:
            events.append(Stats(dict(v)))

    def _image(self, offset: int, data: bytes, events: list[Event]) -> None:
        if self._reading is None:
            return
        first, got, length = self._reading
        if offset == first + len(got):
            got += data
        if len(got) >= length:
            self._reading = None
            events.append(Image(first, bytes(got)))

    def tick(self, now: float) -> list[Event]:
        """Do what is due."""
        events: list[Event] = []
        self.transport.tick(now)
        if self.stage is Stage.ASKING and now >= self._give_up:
            self.stage = Stage.CLOSED
            self.transport.close()
            events.append(Refused(Reason.NO_BOARD.value))
        if self.stage in (Stage.CLOSED, Stage.ASKING):
            return events
        if now >= self._ping_due:
            self._ping(now)
        if self.stage is Stage.RUNNING:
            if now >= self._rerun_due:
                self._send_run(now)
            if now >= self._beat_due:
                self._beat_due = (now // BEAT_S + 1) * BEAT_S  # all boards are asked in one go
                # Where it is for certain by now, so that the answer comes at once.
                tick = int((now - self._epoch_s) / self._dt_s) - self._batch - 1
                if tick > self.at:
                    if self.transport.heard_s >= self._busy_s:
                        # Silence counts from the first question that nobody answered: it may be we who slept.
                        self._busy_s = now
                    self.transport.send(link.HORIZON, now, tick=tick)
            self.release(now)
        patience_s = self.silence_s if self.stage is Stage.RUNNING else PATIENCE_S
        busy = self.transport.waiting or self.stage is Stage.RUNNING
        quiet_s = now - max(self.transport.heard_s, self._busy_s)
        if busy and not self._silent and quiet_s > patience_s:
            self._silent = True
            events.append(Silent(quiet_s))
        return events

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
        first = min(first, self._ping_due)
        patience_s = PATIENCE_S
        if self.stage is Stage.RUNNING:
            first, patience_s = min(first, self._beat_due, self._rerun_due), self.silence_s
            if self._kicks:
                first = min(first, self._epoch_s + self._kicks[0][0] * self._dt_s - KICK_LEAD_S)
            if self._waiting:
                # When it may be sent, or when the board has room for it.
                full = self._under_way and len(self._under_way) >= (self.hello.queue if self.hello else 1)
                step = self._under_way[0] + 1 if full else self._waiting[0][0]
                first = min(first, self._epoch_s + step * self._dt_s - (0.0 if full else LEAD_S))
        if not self._silent and (self.stage is Stage.RUNNING or self.transport.waiting):
            first = min(first, max(self.transport.heard_s, self._busy_s) + patience_s + 1e-4)
        return first


def _reflash(found: Foreign) -> str:
    return (
        f"the board speaks link version {found.version}, schema {found.schema:08x}; "
        f"this neurobus speaks {link.VERSION}, {link.SCHEMA:08x}: "
        f"reflash it with '{REFLASH}'"
    )
