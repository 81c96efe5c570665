"""The bridge: one process between the bus of a cluster and any number of boards.

A shell around `carrier.Carrier`: ports, the bus, timers, and what the verbs ask for. It ends with its
cluster, or when it has carried nothing for a while. When it dies by itself, the processes of its neurons hear
no beat any more and own them again (`node.lease`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from neurobus.bridge import port as ports
from neurobus.bridge.carrier import Carrier, Stage, World, refuse
from neurobus.bridge.holders import holder
from neurobus.bridge.identify import State, identify
from neurobus.bridge.port import Found, Line, Port, PortError, Unplugged, Why
from neurobus.bus.peer import Peer
from neurobus.cluster import folder as folders
from neurobus.errors import InputError, NeurobusError
from neurobus.events import Spikes, Stimulus
from neurobus.guard import Guard, file_of, one_line
from neurobus.wire import bus as wire
from neurobus.wire import lease, link, verbs
from neurobus.wire.message import Control, ControlMessage, Report, ReportMessage
from neurobus.wire.reasons import Reason

NAME = "bridge"
BAUD = 500_000
BEAT_S = 0.02
REOPEN_S = 0.05
HELLO_S = 0.01
ALIVE_S = 0.5
IDLE_S = 3.0
"""A bridge without boards stays for so long."""
AT_LEAST_S = 0.001
"""What is not due at once is in no hurry; so what many boards want is done together."""
END_S = 0.004
"""After the last step of a run the boards have this time to tell what they did in it."""
HELD_S = 0.2
"""Where another program has the port we look again after so long."""
ASKED = 3
"""A port that has come and says nothing is asked so often who is there."""


@dataclass
class Search:
    """For a board whose port is gone. `home`: that port's name. `known`: ports that were there before
    and so are not its. `asked`: how often one that has come since was asked in vain."""

    home: str
    known: set[str]
    asked: dict[str, int] = field(default_factory=dict)

    def where(self, there: set[str]) -> list[str]:
        """Of the ports that are there those to try: its own, then what has come since."""
        self.known &= there
        self.asked = {name: times for name, times in self.asked.items() if name in there}
        names = sorted(there - self.known, key=lambda name: (name != self.home, name))
        return [name for name in names if self.asked.get(name, 0) < ASKED]


class Bridge:
    """`await Bridge(manifest).run()`."""

    def __init__(self, manifest: folders.Manifest, log: Callable[[str], None] = lambda text: None):
        self.manifest, self._log = manifest, log
        self.wall = manifest.clock == "wall"
        self.carriers: list[Carrier] = []
        self.malformed = 0
        self._lines: dict[int, Line] = {}
        self._touched: dict[int, Carrier] = {}
        self._next: dict[int, float] = {}
        """When each carrier with a line wants to be woken."""
        self._requests: dict[int, str] = {}
        self._tokens = int.from_bytes(os.urandom(2), "little")
        self._heard: set[str] = set()
        self._hellos: dict[bytes, Callable[[], None]] = {}
        self._of_stream: dict[str, list[Carrier]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending = False
        self._farewell = False
        self._gone: list[dict[str, Any]] = []
        """What there is to tell of boards that have been detached."""
        self._at_end: set[int] = set()
        self._idle_s = 0.0
        self._ports = deque([set(ports.names())], 2)
        """Which there were at the last looks, every ALIVE_S."""
        self._limit: int | None = None
        self._baud: dict[int, int] = {}
        single = [i for i, stream in enumerate(manifest.streams) if stream == manifest.ids[i]]
        self._world = World(
            NAME, self.wall, manifest.dt_ns, {manifest.ids[i]: i for i in single},
            self._t0_s, self._send, self._listen, self._word, self._lost, self._over_with, self._last,
            self._new_serial, self._namesake,
        )  # fmt: skip

    def _t0_s(self) -> float:
        return (self.manifest.t0_ns or 0) * 1e-9

    @staticmethod
    def _new_serial() -> int:
        return int.from_bytes(os.urandom(4), "little") or 1

    def _namesake(self, carrier: Carrier, serial: int) -> tuple[Carrier, bool] | None:
        """Another board of ours with this serial number, and whether its port is open."""
        for other in self.carriers:
            if other is not carrier and other.serial == serial and other.stage is not Stage.OVER:
                return other, id(other) in self._lines
        return None

    # -- life ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until the cluster ends, or nothing is left to carry."""
        self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()
        self._peer = Peer(self.manifest.bus)
        try:
            for name in (NAME, wire.EVERYONE):
                self._peer.subscribe(wire.topic(wire.CONTROL, name))
            self._peer.join(f"{NAME}-{os.getpid()}")
            for number in (signal.SIGINT, signal.SIGTERM):
                self._loop.add_signal_handler(number, self._end, "the bridge was stopped")
            self._guard = Guard(self._troubled, file_of(folders.state_dir(), NAME))
            self._guard.watch(self._loop, self._again)
            self._loop.add_reader(self._peer.fd, self._readable)
            self._report(verbs.Ready(pid=os.getpid(), epoch=0, next_step=0))
            self._idle_s = self._loop.time()
            self._spawn(self._beats())
            self._spawn(self._watch())
            self._readable()
            await self._done.wait()
        finally:
            for task in self._tasks:
                task.cancel()
            for line in self._lines.values():
                line.close()
            self._say_farewell()
            self._loop.remove_reader(self._peer.fd)
            self._peer.close()

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._guard.caught(error)
            self._end(one_line(error))  # without beats, or without a look at the cluster, no board is carried

    def _again(self) -> None:
        """After an exception out of a callback: what it left undone is looked at anew."""
        self._readable()
        for carrier in self.carriers:
            self._touch(carrier)
        self._flush()

    def _troubled(self, line: str) -> None:
        self._log(line)
        self._report(verbs.Trouble(f"passed over an error: {line}"))

    async def _beats(self) -> None:
        """Each neuron on loan is told that we live, and how far its board has come."""
        while True:
            await asyncio.sleep(BEAT_S)
            if self.carriers:
                at = {c.neuron: c.horizon for c in self.carriers if c.horizon is not None}
                self._send(wire.encode(Control(NAME, lease.Heartbeat(at))))

    async def _watch(self) -> None:
        folder = folders.runtime_dir() / self.manifest.name
        while folders.alive(self.manifest.pid) and folder.is_dir():
            await asyncio.sleep(ALIVE_S)
            now = self._loop.time()
            self._ports.append(set(ports.names()))
            for carrier in list(self.carriers):
                self._look_at_line(carrier)
            if self.carriers:
                self._idle_s = now
            elif now - self._idle_s > IDLE_S:
                break
        self._done.set()

    def _end(self, why: str) -> None:
        """Give all neurons back, then go."""
        self._ending = True
        now = self._loop.time()
        for carrier in list(self.carriers):
            self._touch(carrier).detach(now, why)
        self._flush()
        if not self.carriers:
            self._done.set()

    def _say_farewell(self) -> None:
        if not self._farewell:
            self._farewell = True
            boards = [*self._gone, *map(self.describe, self.carriers)]
            lost = sum(board["missed"] for board in boards)
            self._report(verbs.Farewell({"lost": lost, "boards": boards, "malformed": self.malformed}))

    # -- the bus --------------------------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        self._peer.send(data)

    def _report(self, message: ReportMessage) -> None:
        self._send(wire.encode(Report(NAME, message)))

    def _listen(self, streams: list[str], then: Callable[[], None]) -> None:
        """Subscribe, and say hello until we hear ourselves: then all subscriptions before are in force."""
        for stream in streams:
            if stream not in self._heard:
                self._heard.add(stream)
                self._peer.subscribe(wire.topic(wire.SPIKES, stream))
        self._sort()
        hello = wire.topic(wire.HELLO, f"{NAME}-{len(self._heard)}-{time.monotonic_ns()}")
        self._hellos[hello] = then
        self._peer.subscribe(hello)
        self._say_hello(hello)

    def _say_hello(self, hello: bytes) -> None:
        if hello in self._hellos:
            self._send(wire.frame(hello, [0]))
            self._loop.call_later(HELLO_S, self._say_hello, hello)

    def _sort(self) -> None:
        """Who listens to which stream."""
        self._of_stream = {}
        for carrier in self.carriers:
            heard = [*(carrier.lent.heard if carrier.lent else []), carrier.neuron]
            for stream in heard:
                self._of_stream.setdefault(stream, []).append(carrier)

    def _readable(self) -> None:
        while (data := self._peer.receive()) is not None:
            try:
                self._frame(data)
            except (wire.Malformed, KeyError, TypeError, ValueError) as error:
                self.malformed += 1
                self._log(f"dropped a malformed frame: {type(error).__name__}: {error}")
            except Exception as error:
                self._guard.caught(error)
            self._flush()  # before the next is asked for: to find none takes longer than to send a spike on

    def _frame(self, data: bytes) -> None:
        now = self._loop.time()
        if data[:1] == wire.DUTY:
            _, name, payload = wire.split(data)
            row = wire.read_duty(payload)
            for carrier in self.carriers:
                if carrier.neuron == name:
                    self._touch(carrier).duty(row, now)
            return
        if data[:1] == wire.HELLO:
            hello = data[: data.index(b"\0") + 1]
            if (then := self._hellos.pop(hello, None)) is not None:
                self._peer.unsubscribe(hello)
                then()
                for carrier in self.carriers:
                    self._touch(carrier)
            return
        event = wire.decode(data)
        if isinstance(event, Spikes):
            for carrier in self._of_stream.get(event.stream, ()):
                self._touch(carrier).spikes(event, now)
        elif isinstance(event, Stimulus):
            for carrier in self.carriers:
                if carrier.neuron == event.neuron:
                    self._touch(carrier).stimulus(event)
        elif isinstance(event, Report):
            for carrier in list(self.carriers):
                if carrier.neuron == event.origin:
                    self._touch(carrier).report(event.message, now)
        elif isinstance(event, Control):
            if event.to == NAME:
                self._asked(event.message)
            elif event.to == wire.EVERYONE:
                self._everyone(event.message)
            else:
                for carrier in self.carriers:
                    if carrier.neuron == event.to:
                        self._touch(carrier).control(event.message)

    def _everyone(self, message: ControlMessage) -> None:
        match message:
            case verbs.Start(stop_step=int(step)) | verbs.Stop(step=int(step)) if self.wall:
                self._limit = step if self._limit is None else min(step, self._limit)
                when = self._t0_s() + self._limit * self.manifest.dt_ns * 1e-9 + END_S
                self._loop.call_at(when, self._run_over)
            case verbs.Exit():
                self._done.set()

    def _run_over(self) -> None:
        self._end(Reason.RUN_ENDED.value)

    # -- boards ---------------------------------------------------------------------------------------

    def _touch(self, carrier: Carrier) -> Carrier:
        """Something has been done to it: `_flush` looks at it."""
        self._touched[id(carrier)] = carrier
        return carrier

    def _flush(self) -> None:
        """Do what is due already of those that were touched, write what their sessions have to say, and see
        when any wants to be woken."""
        now = self._loop.time()
        for number, carrier in list(self._touched.items()):
            line = self._lines.get(number)
            out, next_s = carrier.session.take_out(), carrier.next_s()
            if line is None:
                self._next.pop(number, None)
                continue
            if next_s <= now:
                carrier.tick(now)
                out, next_s = out + carrier.session.take_out(), carrier.next_s()
            if out:
                line.send(out)
            self._next[number] = next_s
        self._touched.clear()
        first = min(self._next.values(), default=float("inf"))
        if first == float("inf"):
            return
        when = max(first, now + AT_LEAST_S)
        if self._timer is not None:
            if self._timer_at <= when:
                return
            self._timer.cancel()
        self._timer_at, self._timer = when, self._loop.call_at(when, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._loop.time()
        for carrier in list(self.carriers):
            if self._next.get(id(carrier), float("inf")) <= now:
                self._touch(carrier).tick(now)
        self._flush()

    def _received(self, carrier: Carrier, data: bytes) -> None:
        self._touch(carrier).received(data, self._loop.time())
        self._flush()

    def _open(self, carrier: Carrier, port: Port) -> None:
        line = Line(
            port, lambda data: self._received(carrier, data), lambda why: self._unplugged(carrier, why)
        )
        self._lines[id(carrier)] = line
        self._tokens = self._tokens * 5 % 65521 + 1
        self._touch(carrier).opened(self._loop.time())
        self._flush()

    def _unplugged(self, carrier: Carrier, why: str) -> None:
        self._lines.pop(id(carrier), None)
        self._touch(carrier).unplugged(why, self._loop.time())
        if carrier in self.carriers:
            self._spawn(self._await_back(carrier))
        self._flush()

    async def _await_back(self, carrier: Carrier) -> None:
        """Until the board is there again, by its serial number: at its port, or at one that has come since.
        Who is there is asked without disturbing, as it may be another neuron's, or nobody's."""
        # Ports may go and come faster than anybody looks: this one, and those of other boards of ours.
        known = set.intersection(*self._ports) - {c.port for c in self.carriers}
        search = Search(carrier.port, known)
        while carrier in self.carriers:
            await asyncio.sleep(REOPEN_S)
            there = set(ports.names()) | {name for name in (search.home,) if os.path.exists(name)}
            there -= {c.port for c in self.carriers if id(c) in self._lines}
            for name in search.where(there):
                if await self._is_back(carrier, name, search):
                    return

    async def _is_back(self, carrier: Carrier, name: str, search: Search) -> bool:
        """Whether there is nothing to wait for any more."""
        if carrier not in self.carriers:
            return True
        who = await identify(Found(name, simulated=name in ports.simulated()))
        if carrier not in self.carriers:
            return True
        if who.state is State.BOARD and who.hello["serial"] != carrier.serial:
            search.asked[name] = ASKED
        elif who.state is State.SILENT and name != search.home:
            search.asked[name] = search.asked.get(name, 0) + 1
        elif who.state is State.HELD:
            await asyncio.sleep(HELD_S)
        elif who.state is State.BOARD or (who.state is State.OTHER and name == search.home):
            with contextlib.suppress(PortError):
                port = Port(name, who.baud or self._baud[id(carrier)])
                carrier.port, self._baud[id(carrier)] = name, port.baud
                self._open(carrier, port)
                return True
        return False

    def _lost(self, carrier: Carrier, why: str) -> None:
        """A board that owned its neuron, or was about to, is gone. If its port is still there, ask again."""
        self._word(carrier, f"{carrier.neuron}: {why}; its process has the neuron")
        if id(carrier) in self._lines:
            self._loop.call_later(REOPEN_S, self._reopen, carrier)
            self._spawn(self._name_holder(carrier))

    async def _name_holder(self, carrier: Carrier) -> None:
        """A board may be silent because somebody else reads what it says."""
        if other := await asyncio.to_thread(holder, carrier.port):
            self._word(carrier, f"{carrier.neuron}: {other} has {carrier.port} open too")

    def _look_at_line(self, carrier: Carrier) -> None:
        """Another program may have set the rate or the mode of the line; without that no board is heard."""
        line = self._lines.get(id(carrier))
        if line is not None and line.port.changed():
            with contextlib.suppress(PortError, Unplugged):  # the latter is heard of by reading
                line.port.restore()
                carrier.figures.line_set_again += 1
                self._word(
                    carrier,
                    f"{carrier.neuron}: another program changed the line of {carrier.port}; set again",
                )

    def _reopen(self, carrier: Carrier) -> None:
        if carrier in self.carriers and id(carrier) in self._lines and carrier.stage is Stage.AWAY:
            self._look_at_line(carrier)
            self._touch(carrier).session.open(self._loop.time())
            self._flush()

    def _over_with(self, carrier: Carrier, why: str) -> None:
        """A carrier's end: its port is let go."""
        if carrier not in self.carriers:
            return
        request = self._requests.pop(id(carrier), None)
        if request is not None:
            self._report(verbs.Answer(request, True, error=why))
        self._word(carrier, f"{carrier.neuron}: {why}")
        row = self.describe(carrier)
        line = self._lines.pop(id(carrier), None)
        self._next.pop(id(carrier), None)
        if line is not None:
            line.send(carrier.session.take_out())
            line.close()
        self.carriers.remove(carrier)
        if carrier.figures.hand_overs:
            self._gone.append(row)
        if not self.carriers:
            self._say_farewell()
        self._sort()
        self._idle_s = self._loop.time()
        if self._ending and not self.carriers:
            self._done.set()

    def _last(self, carrier: Carrier) -> None:
        """Under the virtual clock a run is summed up once all have answered their last duty."""
        self._at_end.add(id(carrier))
        if all(id(c) in self._at_end for c in self.carriers if c.stage is Stage.OWNING):
            self._say_farewell()

    def _word(self, carrier: Carrier, text: str) -> None:
        self._log(text)
        self._report(verbs.Word(carrier.neuron, text))
        request = self._requests.get(id(carrier))
        if request is not None and carrier.stage is Stage.OWNING:
            self._requests.pop(id(carrier))
            self._report(verbs.Answer(request, True, text=text, board=self.describe(carrier)))

    # -- what the verbs ask ---------------------------------------------------------------------------

    def _asked(self, message: ControlMessage) -> None:
        match message:
            case verbs.Start():
                self._everyone(message)
            case verbs.AskFarewell():
                self._say_farewell()
            case verbs.Request(request=request):
                try:
                    answer = self._answer(message)
                except NeurobusError as error:
                    answer = verbs.Answer(request, True, error=str(error))
                if answer is not None:
                    self._report(answer)
                self._flush()

    def _answer(self, asked: verbs.Request) -> verbs.Answer | None:
        """None: the answer comes later."""
        now, done = self._loop.time(), verbs.Answer(asked.request, True)
        match asked:
            case verbs.Attach():
                self._begin_attach(asked)
                return None
            case verbs.Detach():
                for carrier in (chosen := self._chosen(asked.which)):
                    self._touch(carrier).detach(now)
                return replace(done, detached=[self.describe(c) for c in chosen])
            case verbs.ListBoards():
                return replace(done, boards=[self.describe(c) for c in self.carriers])
            case verbs.Identify():
                for carrier in self._chosen(asked.which):
                    self._touch(carrier).session.send(link.IDENTIFY, now, seconds=asked.seconds)
            case verbs.SetPalette():
                for carrier in self._chosen(asked.which):
                    self._touch(carrier).palette(asked.colours, now)
        return done

    def _begin_attach(self, asked: verbs.Attach) -> None:
        """Open the port and begin; the answer comes when the board owns the neuron, or why it does not."""
        manifest = self.manifest
        refuse(asked.neuron, manifest.ids, manifest.n_neurons, manifest.streams)
        if self._ending:
            raise InputError("the run is at its end")
        self._require_free(asked.port)
        baud = BAUD if asked.baud is None else asked.baud
        lag_s = None if asked.lag_ms is None else asked.lag_ms * 1e-3
        self._spawn(self._attach(asked.request, asked.neuron, asked.port, baud, lag_s))

    def _require_free(self, name: str) -> None:
        for other in self.carriers:
            if other.port == name and id(other) in self._lines:
                raise InputError(f"{name} is '{other.neuron}' already; neurobus detach {other.neuron}")

    async def _attach(self, request: str, neuron: str, name: str, baud: int, lag_s: float | None) -> None:
        try:
            if other := await asyncio.to_thread(holder, name):
                raise PortError(name, Why.HELD, f"held by {other}; end that first")
            if self._ending:
                raise InputError("the run is at its end")
            self._require_free(name)
            port = Port(name, baud)
        except NeurobusError as error:
            self._report(verbs.Answer(request, True, error=str(error)))
            return
        for kind in (wire.CONTROL, wire.REPORT, wire.STIMULUS, *(() if self.wall else (wire.DUTY,))):
            self._peer.subscribe(wire.topic(kind, neuron))
        self._tokens = self._tokens * 5 % 65521 + 1
        carrier = Carrier(self._world, neuron, name, self._tokens, lag_s)
        self.carriers.append(carrier)
        self._farewell = False
        self._baud[id(carrier)] = baud
        self._requests[id(carrier)] = request
        self._open(carrier, port)

    def _chosen(self, which: str | None) -> list[Carrier]:
        if which is None:
            return list(self.carriers)
        found = [c for c in self.carriers if which in (c.neuron, c.port, os.path.basename(c.port))]
        if not found:
            raise InputError(f"no board carries '{which}'; 'neurobus boards' lists those that are attached")
        return found

    def describe(self, carrier: Carrier) -> dict[str, Any]:
        """One row of `neurobus boards`."""
        f, hello = carrier.figures, carrier.hello
        return {
            "neuron": carrier.neuron, "port": carrier.port, "stage": carrier.stage.value, "why": carrier.why,
            "board": hello.name if hello else None, "mcu": hello.mcu if hello else None,
            "chip": hello.chip if hello else None,
            "clock_hz": hello.clock_hz if hello else None, "baud": self._baud.get(id(carrier)),
            "link": carrier.link_figures(), "spikes": f.spikes, "inputs": f.inputs, "late": f.late,
            "disagreements": f.disagreements, "mended": f.mended, "hand_overs": f.hand_overs,
            "losses": f.losses, "unplugged": f.unplugged, "attempts": f.attempts,
            "line_set_again": f.line_set_again, "gap_ms": f.gap_ms, "catch_up_ms": f.catch_up_ms,
            "pokes": f.pokes, "weighed": f.weighed, "weights_off": f.weights_off,
            "missed": carrier.ledger.totals()["lost"],
            "errors": carrier.lent.errors if carrier.lent else {}, "counts": carrier.stats,
        }  # fmt: skip


def started(name: str) -> folders.Manifest:
    """The manifest of a cluster that has started."""
    give_up = time.monotonic() + 10
    while (manifest := folders.find(name)).t0_ns is None and time.monotonic() < give_up:
        time.sleep(0.05)
    return manifest
