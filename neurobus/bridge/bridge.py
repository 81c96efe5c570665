"""The bridge: one process between the bus of a cluster and any number of boards.

The asyncio shell: the bus, timers, and what the verbs ask for; each board has a `slot.Slot`. It ends with its
cluster, or when no board has been attached for a while. When it dies by itself, the processes of its neurons
hear no heartbeat any more and own them again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from msgspec.structs import replace

from neurobus.bridge import ports
from neurobus.bridge.holders import holder
from neurobus.bridge.lease import require_neuron
from neurobus.bridge.port import Port, PortError, Why
from neurobus.bridge.slot import NAME, Slot
from neurobus.bridge.wakeups import Wakeups
from neurobus.bus.peer import Peer
from neurobus.cluster import folder as folders
from neurobus.errors import InputError, NeurobusError
from neurobus.events import Spikes, Stimulus
from neurobus.guard import Guard, file_of, one_line
from neurobus.wire import bus as wire
from neurobus.wire import lease, verbs
from neurobus.wire.message import Control, ControlMessage, Report, ReportMessage
from neurobus.wire.reasons import Reason

BAUD = 500_000
BEAT_S = 0.02
HELLO_S = 0.01
ALIVE_S = 0.5
IDLE_S = 3.0
"""A bridge without boards stays for so long."""
END_S = 0.004
"""After the last step of a run the boards have this time to tell what they did in it."""


class Bridge:
    """`await Bridge(manifest).run()`."""

    def __init__(self, manifest: folders.Manifest, log: Callable[[str], None] = lambda text: None):
        self.manifest, self.log = manifest, log
        self.wall = manifest.clock == "wall"
        self.dt_ns, self.t0_s = manifest.dt_ns, (manifest.t0_ns or 0) * 1e-9
        ids = manifest.ids
        self.streams = {ids[i]: i for i, stream in enumerate(manifest.streams) if stream == ids[i]}
        self.slots: list[Slot] = []
        self.malformed = 0
        self._token = int.from_bytes(os.urandom(2), "little")
        self._heard: set[str] = set()
        self._hellos: dict[bytes, Callable[[float], None]] = {}
        self._of_stream: dict[str, list[Slot]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending = self._farewell = False
        self._gone: list[dict[str, Any]] = []
        """What there is to tell of boards that have been detached."""
        self._at_end: set[Slot] = set()
        self._idle_s = 0.0
        self._ports = deque([set(ports.names())], 2)
        """Which there were at the last looks, every ALIVE_S."""
        self._limit: int | None = None

    # -- life ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until the cluster ends, or no board is left."""
        self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()
        self._wakeups = Wakeups()
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
            self.report(verbs.Ready(pid=os.getpid(), epoch=0, next_step=0))
            self._idle_s = self._loop.time()
            self.spawn(self._beats())
            self.spawn(self._watch())
            self._readable()
            await self._done.wait()
        finally:
            for task in self._tasks:
                task.cancel()
            for slot in self.slots:
                if slot.line is not None:
                    slot.line.close()
            self._say_farewell()
            self._loop.remove_reader(self._peer.fd)
            self._peer.close()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._guard.caught(error)
            self._end(one_line(error))  # without beats, or without a look at the cluster, no board is served

    def _again(self) -> None:
        """After an exception out of a callback: what it left undone is looked at anew."""
        self._readable()
        for slot in self.slots:
            self._wakeups.touch(slot)
        self._wakeups.flush()

    def _troubled(self, line: str) -> None:
        self.log(line)
        self.report(verbs.Trouble(f"passed over an error: {line}"))

    async def _beats(self) -> None:
        """Each neuron on lease is told that we live, and how far its board has come."""
        while True:
            await asyncio.sleep(BEAT_S)
            if self.slots:
                boards = (slot.attachment for slot in self.slots)
                at = {one.neuron: one.horizon for one in boards if one.horizon is not None}
                self.publish(wire.encode(Control(NAME, lease.Heartbeat(at))))

    async def _watch(self) -> None:
        folder = folders.runtime_dir() / self.manifest.name
        while folders.alive(self.manifest.pid) and folder.is_dir():
            await asyncio.sleep(ALIVE_S)
            now = self._loop.time()
            self._ports.append(set(ports.names()))
            for slot in list(self.slots):
                slot.look_at_line()
            if self.slots:
                self._idle_s = now
            elif now - self._idle_s > IDLE_S:
                break
        self._done.set()

    def ports_before(self) -> set[str]:
        """Ports that were there at each of the last looks."""
        return set.intersection(*self._ports)

    def _end(self, why: str) -> None:
        """Give all neurons back, then go."""
        self._ending = True
        self._detach(list(self.slots), why)
        self._wakeups.flush()
        if not self.slots:
            self._done.set()

    def _detach(self, slots: list[Slot], why: str) -> None:
        for slot in slots:
            self._wakeups.touch(slot)
            slot.attachment.detach(self._loop.time(), why)

    def _say_farewell(self) -> None:
        if not self._farewell:
            self._farewell = True
            boards = [*self._gone, *(slot.describe() for slot in self.slots)]
            lost = sum(board["missed"] for board in boards)
            self.report(verbs.Farewell({"lost": lost, "boards": boards, "malformed": self.malformed}))

    # -- the bus --------------------------------------------------------------------------------------

    def publish(self, frame: bytes) -> None:
        self._peer.send(frame)

    def report(self, message: ReportMessage) -> None:
        self.publish(wire.encode(Report(NAME, message)))

    def listen(self, streams: list[str], then: Callable[[float], None]) -> None:
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
            self.publish(wire.frame(hello, [0]))
            self._loop.call_later(HELLO_S, self._say_hello, hello)

    def _sort(self) -> None:
        """Who listens to which stream."""
        self._of_stream = {}
        for slot in self.slots:
            terms = slot.attachment.lease.terms
            for stream in [*(terms.heard if terms else []), slot.neuron]:
                self._of_stream.setdefault(stream, []).append(slot)

    def _readable(self) -> None:
        while (data := self._peer.receive()) is not None:
            try:
                self._frame(data, self._loop.time())
            except (wire.Malformed, KeyError, TypeError, ValueError) as error:
                self.malformed += 1
                self.log(f"dropped a malformed frame: {type(error).__name__}: {error}")
            except Exception as error:
                self._guard.caught(error)
            # Before the next is asked for: to find none takes longer than to send a spike on.
            self._wakeups.flush()

    def _frame(self, data: bytes, now: float) -> None:
        if data[:1] == wire.DUTY:
            _, name, payload = wire.split(data)
            for slot in self._of(name):
                slot.attachment.duty(wire.read_duty(payload), now)
            return
        if data[:1] == wire.HELLO:
            self._hello(data[: data.index(b"\0") + 1], now)
            return
        match event := wire.decode(data):
            case Spikes(stream=stream):
                for slot in self._of_stream.get(stream, ()):
                    self._wakeups.touch(slot)
                    slot.attachment.spikes(event, now)
            case Stimulus(neuron=neuron):
                for slot in self._of(neuron):
                    slot.attachment.stimulus(event)
            case Report(origin=neuron):
                for slot in self._of(neuron):
                    slot.attachment.report(event.message, now)
            case Control(to=to) if to == NAME:
                self._asked(event.message)
            case Control(to=to) if to == wire.EVERYONE:
                self._everyone(event.message)
            case Control(to=neuron):
                for slot in self._of(neuron):
                    slot.attachment.control(event.message)

    def _hello(self, hello: bytes, now: float) -> None:
        if (then := self._hellos.pop(hello, None)) is not None:
            self._peer.unsubscribe(hello)
            then(now)
            for slot in self.slots:
                self._wakeups.touch(slot)

    def _of(self, neuron: str) -> list[Slot]:
        """Those with a board for this neuron, who will be looked at."""
        found = [slot for slot in self.slots if slot.neuron == neuron]
        for slot in found:
            self._wakeups.touch(slot)
        return found

    def _everyone(self, message: ControlMessage) -> None:
        match message:
            case verbs.Start(stop_step=int(step)) | verbs.Stop(step=int(step)) if self.wall:
                self._limit = step if self._limit is None else min(step, self._limit)
                when = self.t0_s + self._limit * self.dt_ns * 1e-9 + END_S
                self._loop.call_at(when, self._end, Reason.RUN_ENDED.value)
            case verbs.Exit():
                self._done.set()

    # -- boards ---------------------------------------------------------------------------------------

    def changed(self, slot: Slot) -> None:
        """Something has been done to it."""
        self._wakeups.touch(slot)
        self._wakeups.flush()

    def closed(self, slot: Slot) -> None:
        """Its attachment is over, and its port let go."""
        self._wakeups.forget(slot)
        self.slots.remove(slot)
        if slot.attachment.hand.hand_overs:
            self._gone.append(slot.describe())
        if not self.slots:
            self._say_farewell()
        self._sort()
        self._idle_s = self._loop.time()
        if self._ending and not self.slots:
            self._done.set()

    def answered_last(self, slot: Slot) -> None:
        """Under the virtual clock a run is summed up once all have answered their last duty."""
        self._at_end.add(slot)
        if all(one in self._at_end for one in self.slots if one.attachment.hand.owns):
            self._say_farewell()

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
                    self.report(answer)
                self._wakeups.flush()

    def _answer(self, asked: verbs.Request) -> verbs.Answer | None:
        """None: the answer comes later. Raises NeurobusError."""
        now, done = self._loop.time(), verbs.Answer(asked.request, True)
        match asked:
            case verbs.Attach():
                self._attach(asked)
                return None
            case verbs.Detach():
                self._detach(chosen := self._chosen(asked.which), "detached")
                return replace(done, detached=[slot.describe() for slot in chosen])
            case verbs.ListBoards():
                return replace(done, boards=[slot.describe() for slot in self.slots])
            case verbs.Identify():
                for slot in self._chosen(asked.which):
                    slot.attachment.blink(asked.seconds, now)
            case verbs.SetPalette():
                for slot in self._chosen(asked.which):
                    slot.attachment.palette(asked.colours, now)
        return done

    def _chosen(self, which: str | None) -> list[Slot]:
        """Those that are meant, who will be looked at."""
        names = {slot: slot.attachment.port_name for slot in self.slots}
        found = [
            slot for slot, name in names.items()
            if which is None or which in (slot.neuron, name, os.path.basename(name))
        ]  # fmt: skip
        if not found and which is not None:
            raise InputError(f"no board carries '{which}'; 'neurobus boards' lists those that are attached")
        for slot in found:
            self._wakeups.touch(slot)
        return found

    def _attach(self, asked: verbs.Attach) -> None:
        """Open the port and begin; the answer comes when the board owns the neuron, or why it does not."""
        manifest = self.manifest
        require_neuron(asked.neuron, manifest.ids, manifest.n_neurons, manifest.streams)
        self._require_free(asked.port)
        self.spawn(self._attach_when_free(asked))

    def _require_free(self, name: str) -> None:
        if self._ending:
            raise InputError("the run is at its end")
        for other in self.slots:
            if other.attachment.port_name == name and other.line is not None:
                raise InputError(f"{name} is '{other.neuron}' already; neurobus detach {other.neuron}")

    async def _attach_when_free(self, asked: verbs.Attach) -> None:
        name = asked.port
        try:
            if other := await asyncio.to_thread(holder, name):
                raise PortError(name, Why.HELD, f"held by {other}; end that first")
            self._require_free(name)
            port = Port(name, BAUD if asked.baud is None else asked.baud)
        except NeurobusError as error:
            self.report(verbs.Answer(asked.request, True, error=str(error)))
            return
        for kind in (wire.CONTROL, wire.REPORT, wire.STIMULUS, *(() if self.wall else (wire.DUTY,))):
            self._peer.subscribe(wire.topic(kind, asked.neuron))
        self._token = self._token * 5 % 65521 + 1
        lag_s = None if asked.lag_ms is None else asked.lag_ms * 1e-3
        slot = Slot(self, asked.neuron, port, self._token, lag_s, asked.request)
        self.slots.append(slot)
        self._farewell = False
        slot.open(port)


def started(name: str) -> folders.Manifest:
    """The manifest of a cluster that has started."""
    give_up = time.monotonic() + 10
    while (manifest := folders.find(name)).t0_ns is None and time.monotonic() < give_up:
        time.sleep(0.05)
    return manifest
