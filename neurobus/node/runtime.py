"""A neuron's process: asyncio around a core, one bus peer, one clock.

Wall clock: the process sleeps until a frame arrives or its core must act. Virtual clock: it sleeps until
the conductor sends a duty. Nothing ticks.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from neurobus.errors import RunError
from neurobus.events import Samples, Spikes, Stimulus
from neurobus.guard import Guard, file_of
from neurobus.ledger import REFUSED, Account, Ledger
from neurobus.node import cut
from neurobus.node.core import Core
from neurobus.node.interface import NEURON_MASK, NOTHING, STEP_BITS, Emission, Keys
from neurobus.node.kernel import layout as T
from neurobus.node.lease_steps import EndPassed, RunEnded
from neurobus.node.lessor import Lessor
from neurobus.node.snapshot import write_snapshot
from neurobus.node.source_core import SourceCore
from neurobus.node.weighing import recorded
from neurobus.wire import bus as wire
from neurobus.wire import verbs
from neurobus.wire.bus import NEVER, Order
from neurobus.wire.message import Control, ControlMessage, Report, ReportMessage

LINGER_VIRTUAL_MS, PLAIN_VIRTUAL_MS, LINGER_WALL_MS, LONGEST_STAY = 20, 500, 20, 16
ATTENDS_NS = 250_000_000
"""A process that has just taken a frame waits so long for the next in ZeroMQ's own blocking call, before
it goes back to sleep in the event loop; under the wall clock at most so many times on end, and a neuron that
attends in compiled code no longer than this. While all duties are plain, nothing else is waited for, and with
a thousand processes a round takes 100 ms: to look up five times meanwhile costs as much as the duty."""
SHADOW_BEHIND_NS = 20_000_000
"""A shadow is in no hurry: what comes late to it by less than this is felt when it should have been."""
END_SHADOW_NS = 100_000_000
"""How long a shadow that has reached the end waits for its board to give the neuron back."""
HEARING_S = 0.05
"""How long after a snapshot's step, and the grace, its file waits for what was sent before that step."""
END_TIMEOUT_S = 2.0
"""How long a neuron that has reached the end waits for the last spikes of those it listens to."""


class Bus(Protocol):
    """What a runtime needs of a peer (`neurobus.bus.peer.Peer` is one)."""

    fd: int

    def send(self, data: bytes) -> None: ...
    def subscribe(self, prefix: bytes) -> None: ...
    def unsubscribe(self, prefix: bytes) -> None: ...
    def receive(self) -> bytes | None: ...
    def linger(self) -> bytes | None: ...
    def converse(self, answer: Callable[[bytes], bytes | bytearray | bool]) -> None: ...
    def lines(self) -> tuple[int, ...] | None: ...
    def patience(self, ms: int) -> None: ...
    def close(self) -> None: ...


@dataclass
class Role:
    """Who a process is on the bus. Streams are names; `index_of` maps a stream of one neuron to its
    wire index; `ids` are the neurons hosted here with their wire indices `index`."""

    name: str
    ids: list[str]
    index: list[int]
    dt_ns: int
    wall: bool
    epoch: int = 0
    grace_ns: int = 5_000_000
    spikes_heard: list[str] = field(default_factory=list)
    samples_heard: list[str] = field(default_factory=list)
    index_of: dict[str, int] = field(default_factory=dict)
    sends_samples: bool = False
    n_ids: int = 0
    weighed: list[int] = field(default_factory=list)
    """The wire indices among these whose weights are told every `weigh_every` steps."""
    weigh_every: int = 0
    snapshots: Path | None = None
    troubles: Path | None = None
    """Where tracebacks go."""
    late_start: bool = False
    """Joins a run that is under way (restarted, or started by hand)."""
    guest: verbs.Guest | None = None
    """What a neuron started by hand says of itself when it is ready."""
    keeps: bool = False
    """Under the wall clock: what it learns it writes down at once, so that its death costs no more than what
    was under way."""


def now_ns() -> int:
    """The clock all processes of a host share."""
    return time.monotonic_ns()


def step_loop() -> asyncio.AbstractEventLoop:
    """An event loop on select(): its timeouts are in microseconds where epoll's are whole milliseconds."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


class Runtime:
    """One process on the bus. Call `run`."""

    def __init__(self, role: Role, core: Core | SourceCore):
        self.role, self.core = role, core
        self._spikes = self._samples = 0
        self._counts = np.zeros(len(role.ids), np.int64)
        self.malformed = 0
        self.ledger, self.sample_ledger = Ledger(True), Ledger(True)
        self._place = {index: n for n, index in enumerate(role.index)}
        self._single = len(role.ids) == 1
        self._spike_topic = wire.topic(wire.SPIKES, role.name)
        self._sample_topic = wire.topic(wire.SAMPLES, role.name)
        self._answer_topic = wire.topic(wire.ANSWER, role.name)
        self._duty_topic = wire.topic(wire.DUTY, role.name)
        self._duty_head = len(self._duty_topic)
        self._poke_of = dict(zip(role.ids, role.index, strict=True))
        self._t0_ns: int | None = None
        self._lines: tuple[int, ...] | None = None
        self._hearing: tuple[Any, ...] = ()
        self._patient = False
        self._next = NEVER
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self.ended = self._reported = self._prepared = False
        self._cpu_begun = 0.0
        self._new = False
        self._new_keys: list[int] = []
        self._new_sample_keys: list[int] = []
        self._new_sample_mv: list[float] = []
        self._new_pokes: list[tuple[int, int, float]] = []
        self._capture: dict[str, Any] | None = None
        self._sent: cut.Sent | None = None
        """What is sent while a snapshot is under way."""
        self._capture_at = self._weigh_at = NEVER
        self._kept: Any = None
        self._kept_in: Path | None = None
        self.lease = Lessor(self)
        self._failure: RunError | None = None
        self._guard = Guard(lambda line: None, file_of(role.troubles or Path(os.devnull), role.name))
        self._grace = max(0, role.grace_ns // role.dt_ns)

    # -- life -------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Open the accounts and the frame of answers, as `run` does where that is not done yet. What a
        parent has made its children share."""
        if self._prepared:
            return
        self._prepared = True
        self.core.answers_as(self._answer_topic, self.role.epoch)
        self.ledger.from_start = self.sample_ledger.from_start = not self.role.late_start
        if not self.role.late_start:
            for stream in self.role.spikes_heard:
                self.ledger.expect(stream)
            for stream in self.role.samples_heard:
                self.sample_ledger.expect(stream)
        if self.role.wall and self._single and isinstance(self.core, Core) and self.core.kernel_only:
            self._hear(self.core)

    def become(self, epoch: int, late_start: bool) -> None:
        """Be of another epoch than at first, before `run`."""
        self.role.epoch, self.role.late_start = epoch, late_start
        self.ledger, self.sample_ledger, self._prepared = Ledger(True), Ledger(True), False

    def run(
        self, bus: Bus, lifeline_fd: int | None = None, stop_when: Callable[[], bool] | None = None
    ) -> None:
        """Join the bus and live until told to stop.

        `lifeline_fd`: end at once when it reads EOF. `stop_when`: asked once a second, for a neuron
        without a lifeline.
        """
        self.bus, self.stop_when = bus, stop_when
        self.prepare()
        bus.patience(LINGER_WALL_MS if self.role.wall else LINGER_VIRTUAL_MS)
        self._lines, self._lifeline = bus.lines(), -1 if lifeline_fd is None else lifeline_fd
        self._connect(self.core)
        loop = step_loop()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._live(lifeline_fd))
        finally:
            loop.close()
            self.bus.close()  # not before: a timer may still be due in the loop's last round

    async def _live(self, lifeline_fd: int | None) -> None:
        self.loop = asyncio.get_running_loop()
        self._done: asyncio.Event = asyncio.Event()
        self._guard.watch(self.loop, self._fail)
        if self.stop_when is not None:
            self._watch(self.stop_when)
        if lifeline_fd is not None:
            self.loop.add_reader(lifeline_fd, os._exit, 0)
        role = self.role
        if role.wall:
            for stream in role.spikes_heard:
                self.bus.subscribe(wire.topic(wire.SPIKES, stream))
            for stream in role.samples_heard:
                self.bus.subscribe(wire.topic(wire.SAMPLES, stream))
            for neuron in role.ids:
                self.bus.subscribe(wire.topic(wire.STIMULUS, neuron))
        else:
            self.bus.subscribe(wire.topic(wire.DUTY, role.name))
        self.bus.subscribe(wire.topic(wire.CONTROL, role.name))
        self.bus.subscribe(wire.topic(wire.CONTROL, wire.EVERYONE))
        self._hello = wire.topic(wire.HELLO, role.name)
        self._echo = wire.hello(role.name)
        self.bus.subscribe(self._hello)
        self._joined = False
        self.loop.add_reader(self.bus.fd, self._readable)
        pause = 0.01
        while not (self._joined or self._done.is_set()):
            # It listens for its own voice: then its axon reaches the bus, and as ZeroMQ keeps the order
            # within a connection, every subscription above is in force.
            self.bus.send(self._echo)
            self._readable()
            if self._joined:
                break
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.2)
        if not self._joined:
            return  # the bus has gone before it answered
        self._cpu_begun = time.process_time()
        next_step = self.core.look()
        self.report(verbs.Ready(next_step=next_step, pid=os.getpid(), epoch=role.epoch, guest=role.guest))
        self._readable()
        await self._done.wait()
        if self._failure is not None:
            raise self._failure
        self.loop.remove_reader(self.bus.fd)
        if lifeline_fd is not None:
            self.loop.remove_reader(lifeline_fd)

    def _fail(self) -> None:
        """An exception came out of a callback. What this neuron is, nobody knows any more: its process ends,
        says why, and begins again from its snapshot."""
        self._failure = RunError(self._guard.last)
        self._done.set()

    @property
    def seq(self) -> int:
        """Spikes sent by this process in its present epoch; `spikes_sent`: what its neurons emitted."""
        return self.core.seq

    @seq.setter
    def seq(self, value: int) -> None:
        self.core.seq = value

    @property
    def sample_seq(self) -> int:
        return self.core.sample_seq

    @sample_seq.setter
    def sample_seq(self, value: int) -> None:
        self.core.sample_seq = value

    @property
    def spikes_sent(self) -> int:
        return self._spikes + self.core.spikes_sent

    @property
    def samples_sent(self) -> int:
        return self._samples + self.core.samples_sent

    def counts(self) -> list[int]:
        """Spikes of each neuron. Those that left the quick way are of one neuron, and counted there."""
        counts = self._counts.copy()
        counts[0] += self.core.spikes_sent
        return [int(n) for n in counts]

    def replace_core(self, core: Core) -> None:
        """Go on as another core, which stands where the old one stood."""
        old, self.core = self.core, core
        self._spikes += old.spikes_sent
        self._samples += old.samples_sent
        self._counts[0] += old.spikes_sent
        core.answers_as(self._answer_topic, self.role.epoch)
        self._connect(core)
        core.seq, core.sample_seq, core.duty_number = old.seq, old.sample_seq, old.duty_number
        core.limit = old.limit

    def _watch(self, over: Callable[[], bool]) -> None:
        if over():
            self._done.set()
        else:
            self.loop.call_later(1.0, self._watch, over)

    def report(self, message: ReportMessage) -> None:
        self.bus.send(wire.encode(Report(self.role.name, message)))

    def status(self) -> dict[str, Any]:
        """`verbs.Figures`, for a live view and for the summary."""
        ledger, samples = self.ledger.totals(), self.sample_ledger.totals()
        return {
            "step": self.core.k,
            **self.lease.protocol.status(),
            "spikes": self.spikes_sent,
            "deliveries": self.core.deliveries,
            "samples": self.samples_sent,
            "late": self.core.late,
            "lost": ledger["lost"] + samples["lost"],
            "duplicates": ledger["duplicates"] + samples["duplicates"],
            "stale": ledger["stale"] + samples["stale"],
            "malformed": self.malformed,
            "cpu_s": time.process_time() - self._cpu_begun,
        }

    # -- frames -----------------------------------------------------------------------------------

    def _readable(self, stay: bool = True) -> None:
        """Take the frames that wait, act, and while traffic is dense stay by the bus for more."""
        if not self._joined:
            while (data := self.bus.receive()) is not None:
                self._guarded(data)
            return
        if not self.role.wall:
            if self._lines is None or not isinstance(self.core, Core):
                if not self._done.is_set():
                    self.bus.converse(self._answered)
            else:
                self._converse()
            return
        bus, left = self.bus, LONGEST_STAY
        if stay and self._attentive() and self._attend():
            return
        while True:
            # All of them, then one act: under load a wake serves many spikes. Whoever returns has found the
            # queue empty, for the socket's fd tells of no frame that was there before.
            while (data := bus.receive()) is not None:
                self._guarded(data)
            self._respond()
            if stay and self._attentive():
                if self._attend():
                    return
                continue
            if not left or not (stay and self._stays()):
                return
            while left and self._stays():
                if (data := bus.linger()) is None:
                    return
                left -= 1
                # It came alone: answered before the queue is asked for more.
                self._guarded(data)
                self._respond()

    def _respond(self) -> None:
        """Act on what was heard, if the run has begun."""
        if self._new and self._t0_ns is not None:
            self._take_in()
            self._act(False)

    def _connect(self, core: Core | SourceCore) -> None:
        if self._lines is not None and isinstance(core, Core) and not self.role.wall:
            core.bind_duties(self._duty_topic, self._lines)

    def _attentive(self) -> bool:
        """Whether compiled code can receive, react and send by itself: a neuron alone, and nobody looks over
        its shoulder."""
        return (
            self._single
            and self._t0_ns is not None
            and self._lines is not None
            and self._lines[-1] != 0
            and not (self.ended or self._new or self.role.keeps or self.role.weighed or self._done.is_set())
            and self._capture is None
            and self._capture_at == NEVER
            and not self.lease.looks_on
            and isinstance(self.core, Core)
            and self.core.kernel_only
        )

    def _books(self) -> tuple[dict[str, Account], dict[str, Account]]:
        return self.ledger.accounts, self.sample_ledger.accounts

    def _heard_now(self) -> tuple[Any, ...]:
        """What `_hear` would tell, by identity: another core, or other books, or one stream more."""
        return id(self.core), *((id(book), len(book)) for book in self._books())

    def _hear(self, core: Core) -> None:
        """Tell the core which streams it hears, as whom it speaks, and by what."""
        index_of, kinds = self.role.index_of, (wire.SPIKES, wire.SAMPLES)
        streams = [
            (wire.topic(kind, name), index_of[name], account)
            for kind, book in zip(kinds, self._books(), strict=True)
            for name, account in book.items()
            if name in index_of and name != self.role.name
        ]
        core.set_streams(self._spike_topic, self._sample_topic, streams)
        self._hearing = self._heard_now()
        self._told = core, self._books()  # alive, so that nothing new has their identity
        self._at_home(core)

    def _at_home(self, core: Core) -> None:
        if self._t0_ns is not None and self._lines is not None:
            clock = self._t0_ns, self.role.dt_ns, self._grace
            core.bind_clock(self._lines, (self.bus.fd, self._lifeline), clock)

    def _attend(self) -> bool:
        """Live in compiled code until nothing comes for long (True: the timer is armed) or something comes
        that it leaves to us."""
        core = self.core
        assert isinstance(core, Core)
        if self._hearing != self._heard_now():
            self._hear(core)
        outcome = core.attend(now_ns() + ATTENDS_NS)
        if outcome == T.NOBODY:
            self._next = core.nearest
            self._sleep_for_next(self._step_now())
            return True
        keys, sample_keys, sample_mv = core.unadmitted()
        self._new_keys += keys
        self._new_sample_keys += sample_keys
        self._new_sample_mv += sample_mv
        self._new = bool(self._new_keys or self._new_sample_keys)
        if outcome == T.OTHER:
            self._guarded(core.frame())
            if not (self._new or self.ended or self._done.is_set() or self._attentive()):
                self._act(False)  # compiled code knew when to act next, and will not be asked again
        elif not self._new:
            self._act(True)
        return False

    def _converse(self) -> None:
        """As `Peer.converse`, but plain duties never leave the kernel."""
        while not self._done.is_set() and isinstance(core := self.core, Core):
            plain = self._single and not self.lease.active
            if plain != self._patient:
                self._patient = plain
                self.bus.patience(PLAIN_VIRTUAL_MS if plain else LINGER_VIRTUAL_MS)
            outcome = core.converse(plain)
            if outcome == T.NOBODY:
                return
            if outcome == T.TELL:
                self._tell(core)
                continue
            self._guarded(core.frame())

    def _tell(self, core: Core) -> None:
        """Answer a duty that was carried out and came to more than spikes."""
        emission, next_step = core.served()
        self._book(emission)
        self.answer(core.duty_number, next_step, emission)

    def _answered(self, data: bytes) -> bool:
        """Take a frame; whether to wait for the next one."""
        self._guarded(data)
        return not self._done.is_set()

    def _stays(self) -> bool:
        """Whether to wait for the next frame in ZeroMQ's own call, a wake through the event loop saved: where
        no act is due meanwhile. What comes alone costs one wake more for it."""
        return self._timer is None or self._timer_at - self.loop.time() > 2 * LINGER_WALL_MS * 1e-3

    def _guarded(self, data: bytes) -> None:
        try:
            self._frame(data)
        except wire.Malformed:
            self.malformed += 1
        except Exception as error:
            if data[:1] == wire.DUTY:
                raise
            self.malformed += 1  # the state is as it was: a frame is taken apart before it acts
            self.report(verbs.Trouble(f"dropped a frame: {self._guard.caught(error)}"))

    def _frame(self, data: bytes) -> None:
        kind = data[:1]
        if kind == wire.DUTY:
            self._do(data)
            return
        if kind == wire.HELLO:
            if data == self._echo:
                self._joined = True
                self.bus.unsubscribe(self._hello)
            return
        event = wire.decode(data)
        if isinstance(event, Spikes):
            self._hear_spikes(event)
        elif isinstance(event, Samples):
            self._hear_samples(event)
        elif isinstance(event, Stimulus):
            self._poked(event)
        elif isinstance(event, Control):
            self._control(event.message)

    def _keys(self, event: Spikes | Samples) -> Any:
        """The event's spikes as keys, a list or an array. Raises Malformed on unknown neurons."""
        dt = self.role.dt_ns
        if event.neurons is None:
            index = self.role.index_of.get(event.stream)
            if index is None:
                raise wire.Malformed("a stream this neuron does not know")
            steps = [t // dt for t in event.t_ns]
            if steps and not (min(steps) >= 0 and max(steps) < NEVER):
                raise wire.Malformed("a time outside the run")
            return [step << STEP_BITS | index for step in steps]
        neurons = np.asarray(event.neurons)
        steps_ = np.asarray(event.t_ns) // dt
        if len(neurons) and (neurons.max() >= self.role.n_ids or steps_.min() < 0 or steps_.max() >= NEVER):
            raise wire.Malformed("a neuron or a time outside the run")
        return steps_ << STEP_BITS | neurons

    def _accept(self, ledger: Ledger, event: Spikes | Samples, keys: Any) -> int:
        """Book the event; returns how many of its items to skip, all of them if it is of an old epoch."""
        known = ledger.accept(event.stream, event.epoch, event.seq, len(keys), event.last)
        if event.last:
            self._maybe_end()
        return len(keys) if known == REFUSED else known

    def _hear_spikes(self, event: Spikes) -> None:
        if event.stream == self.role.name:
            self.lease.heard(event)
            return
        keys = self._keys(event)
        known = self._accept(self.ledger, event, keys)
        if known < len(keys):
            self._new_keys.extend(keys[known:])
            self._new = True

    def _hear_samples(self, event: Samples) -> None:
        keys = self._keys(event)
        known = self._accept(self.sample_ledger, event, keys)
        if known < len(keys):
            self._new_sample_keys.extend(keys[known:])
            self._new_sample_mv.extend(event.v_mv[known:])
            self._new = True

    def _poked(self, event: Stimulus) -> None:
        if self._t0_ns is None:
            return
        step = event.t_ns // self.role.dt_ns if event.t_ns >= 0 else self._step_now()
        if step >= NEVER:
            raise wire.Malformed("a time outside the run")
        self._new_pokes.append((step, self._poke_of[event.neuron], event.weight))
        self._new = True

    def _take_in(self) -> None:
        """Hand what was heard to the core, after committing what none of it can change any more."""
        self.settle()
        core = self.core
        if isinstance(core, Core):
            keys = np.array(self._new_keys, np.int64)
            sample_keys, mv = (
                np.array(self._new_sample_keys, np.int64),
                np.array(self._new_sample_mv, np.float64),
            )
            core.admit(keys)
            core.admit_samples(sample_keys, mv)
            for step, neuron, weight in self._new_pokes:
                core.poke(step, neuron, weight)
            self.lease.protocol.keep(keys, self._new_pokes)
            if self._capture is not None:
                captured = self._capture["core"]
                cut_off = core.in_time(keys[keys >> STEP_BITS <= captured["k"]], captured["k"])
                cut.capture_more(captured, cut_off, sample_keys, mv)
        else:
            for step, neuron, weight in self._new_pokes:
                core.poke(step, neuron, weight)
        self._new_keys.clear()
        self._new_sample_keys.clear()
        self._new_sample_mv.clear()
        self._new_pokes.clear()
        self._new = False

    def _control(self, message: ControlMessage) -> None:
        match message:
            case verbs.Start() if self._t0_ns is None:
                self._start(message)
            case verbs.AskStatus(step):
                v = self.core.potential_mv(step or 0)
                self.report(verbs.Status(**self.status(), counts=self.counts(), mv=v.tolist()))
            case verbs.AskWeights(neuron) if isinstance(self.core, Core):
                self.report(self._weights(self.core, neuron))
            case verbs.TakeSnapshot(step) if self.role.wall and self.role.snapshots:
                if self._t0_ns is not None:
                    self._begin_capture(step)
            case verbs.Stop(step=int(step)) if self.role.wall:
                self.core.limit = min(self.core.limit, max(step, self.core.k))
                self._act(False)
            case verbs.Exit():
                self._done.set()
            case _:
                self.lease.control(message)

    def _start(self, start: verbs.Start) -> None:
        if self.role.wall:
            self._t0_ns = start.t0_ns
            if isinstance(self.core, Core):
                self._at_home(self.core)
        self.core.limit = NEVER if start.stop_step is None else start.stop_step
        if not self.role.wall:
            return
        if self.role.late_start and isinstance(self.core, Core):
            self.core.resume_at(max(0, self._step_now() - self._grace))
        elif self.role.late_start:
            self.core.advance(max(0, self._step_now()))
        if self.role.weighed:
            self._weigh_at = -(-self.core.k // self.role.weigh_every) * self.role.weigh_every
            self._weigh()
        self._act(False)

    def _begin_capture(self, step: int) -> None:
        assert self._t0_ns is not None
        self._capture_at, self._sent = max(step, self.core.k), cut.Sent()
        due = (self._t0_ns + (self._capture_at + self._grace) * self.role.dt_ns - now_ns()) * 1e-9
        self.loop.call_later(max(0.0, due + (0.0 if self._heard_all() else HEARING_S)), self._write_capture)

    # -- for the lease ----------------------------------------------------------------------------

    @property
    def started(self) -> bool:
        return self._t0_ns is not None or (not self.role.wall and self.core.duty_number & wire.COUNT_MASK > 0)

    def step(self) -> int:
        """Where model time stands for this process."""
        return self._step_now() if self.role.wall else self.core.k

    def time_of(self, step: int) -> float:
        """When a step is, on the event loop's clock (wall clock only)."""
        assert self._t0_ns is not None
        return (self._t0_ns + step * self.role.dt_ns) * 1e-9

    def hear(self) -> None:
        """Take the frames that wait."""
        self._readable(stay=False)

    def take_in(self) -> None:
        """Hand what was heard to the core."""
        if self._new and self._t0_ns is not None:
            self._take_in()

    def settle(self) -> None:
        """Commit what nothing that may still arrive in time can change."""
        if self.role.wall:
            self._advance(min(self._step_now() - self._behind, self._next - 1, self.core.limit))

    def commit(self, step: int) -> None:
        """Commit up to `step`, whatever may arrive."""
        if self.role.wall:
            self._advance(step)
        else:
            self.core.advance(step)

    def act(self) -> None:
        """Look ahead anew (wall clock; under the virtual clock the next duty does)."""
        if self.role.wall and not self.ended:
            self._act(False)

    def own(self, epoch: int) -> None:
        """Speak in this epoch from here on. A new owner counts from zero."""
        self.role.epoch = self.core.epoch = epoch
        self.seq = self.sample_seq = 0

    def _weights(self, core: Core, neuron: str | None) -> verbs.Weights:
        """The synapses of one neuron here, or of all."""
        now = core.weights()
        chosen: Any = slice(None)
        if neuron in self._poke_of:
            chosen = now.post == self._poke_of[neuron]
        columns = {
            name: getattr(now, name)[chosen].tolist()
            for name in ("pre", "post", "receptor", "delay", "weight", "kind")
        }
        return verbs.Weights(step=core.k, types=list(now.types), **columns)

    # -- wall clock -------------------------------------------------------------------------------

    def _step_now(self) -> int:
        assert self._t0_ns is not None
        return (now_ns() - self._t0_ns) // self.role.dt_ns

    def _advance(self, to: int) -> None:
        while self.role.weighed and self._weigh_at <= to:
            self._go(self._weigh_at)
            self._tell_weights()
            self._weigh_at += self.role.weigh_every
        self._go(to)

    def _weigh(self) -> None:
        """Stand at the next step of which weights are told as soon as nothing in time can change it."""
        self._readable(stay=False)
        if self.ended:
            return
        if self._step_now() - self._behind >= self._weigh_at:
            self._advance(min(self._step_now() - self._behind, self.core.limit))
            self._act(False)
        self.loop.call_at(self.time_of(self._weigh_at + self._behind + 1), self._weigh)

    def _tell_weights(self) -> None:
        """The weights that are recorded, as they are at the committed step."""
        core = self.core
        assert isinstance(core, Core)
        self.report(recorded(core.weights(), self.role.weighed, core.k, self.role.dt_ns))

    def _go(self, to: int) -> None:
        if self.core.k < self._capture_at <= to:
            self._emit(self.core.advance(self._capture_at))
            self._take_capture()
        self._emit(self.core.advance(to))
        if self.role.keeps and isinstance(self.core, Core):
            self._keep(self.core)

    def _keep(self, core: Core) -> None:
        """Write a snapshot where weights have changed since the last."""
        now = core.learnt()
        if self._kept is not None and np.array_equal(now, self._kept):
            return
        first, self._kept = self._kept is None, now.copy()
        if first or self.role.snapshots is None:
            return
        try:
            path = write_snapshot(self.role.snapshots, self.role.name, core.k, self._state())
        except OSError:
            return  # the next of the regular ones says so
        if self._kept_in not in (None, path):
            self._kept_in.unlink(missing_ok=True)
        self._kept_in = path

    def _act(self, again: bool) -> None:
        """Emit what is due, and sleep until the core must act again."""
        now, limit = self._step_now(), self.core.limit
        core = self.core
        if self.lease.shadow:
            self._follow(now, limit)
            return
        if again and core.predicts(self._next) and self._next <= min(now, limit):
            self._advance(self._next)
        elif again and core.looks_ahead:
            # Nothing came up to here: a slow decay is not run anew from where it began at every look.
            self._advance(min(now - self._grace, self._next - 1, limit))
        if not core.looks_ahead:
            self._advance(min(now, limit))
            self._next = core.k + core.window if isinstance(core, Core) else NEVER
        else:
            self._next = NEVER
            nearest = core.look(again, min(now, limit), limit)
            while core.acts and nearest <= now and nearest <= limit:
                self._advance(nearest)
                nearest = core.look(again, min(now, limit), limit)
            self._next = nearest
        self._sleep_for_next(now)

    def _sleep_for_next(self, now: int) -> None:
        """Until `_next`, when the core must act again; or end, if that lies beyond the end."""
        if self._next > self.core.limit:
            self._next = self.core.limit + self._grace
            if now >= self._next and not self.ended:
                self._end()
        if self._next < NEVER and not self.ended:
            self._sleep_until((self._t0_ns + self._next * self.role.dt_ns) * 1e-9)  # type: ignore[operator]

    @property
    def _behind(self) -> int:
        """Steps that the committed state stays behind the present: what comes later than that is late."""
        return max(self._grace, SHADOW_BEHIND_NS // self.role.dt_ns) if self.lease.shadow else self._grace

    def _follow(self, now: int, limit: int) -> None:
        """A shadow has nobody waiting for it: it runs well behind, and wakes for inputs and questions."""
        self._advance(min(now - self._behind, limit))
        self._next = NEVER
        if limit < NEVER and not self.ended:
            self._next = limit + self._grace + END_SHADOW_NS // self.role.dt_ns
            if now >= self._next:
                self.lease.happened(EndPassed())  # with the neuron our own we come to the end at once
            else:
                self._sleep_until((self._t0_ns + self._next * self.role.dt_ns) * 1e-9)  # type: ignore[operator]

    def _sleep_until(self, when: float) -> None:
        """Arm the timer. One that is armed for earlier stays: it wakes, sees the time, and arms again."""
        if self._timer is not None:
            if self._timer_at <= when:
                return
            self._timer.cancel()
        self._timer_at = when
        self._timer = self.loop.call_at(when, self._wake)

    def _wake(self) -> None:
        self._timer = None
        attentive = self._attentive()
        if not attentive:
            self._readable(stay=False)  # an act is due
            if self._timer is None and not self.ended:
                self._act(True)
            attentive = self._attentive()
        if attentive:
            self._readable()

    def _emit(self, emission: Emission) -> None:
        if not emission:
            return
        role, dt = self.role, self.role.dt_ns
        if len(emission.keys):
            keys = self.lease.protocol.withhold(emission.keys)
            self._count(keys)
            self.publish(keys)
        if len(emission.sample_keys):
            steps = emission.sample_keys >> STEP_BITS
            row: tuple[Any, ...]
            if self._single:
                row = ([step * dt for step in steps.tolist()], None, emission.sample_mv.tolist())
            else:
                row = (
                    (steps * dt).tobytes(),
                    (emission.sample_keys & NEURON_MASK).astype("<u4").tobytes(),
                    emission.sample_mv.tobytes(),
                )
            self.bus.send(self._sample_topic + wire.pack((role.epoch, self.sample_seq, False, *row)))
            if self._sent is not None:
                batch = role.epoch, self.sample_seq, emission.sample_keys, emission.sample_mv
                self._sent.samples.append(batch)
            self._samples += len(emission.sample_keys)
            self.sample_seq += len(emission.sample_keys)

    def publish(self, keys: Any) -> None:
        """Spikes as keys onto the bus, in the present epoch."""
        if not len(keys):
            return
        steps, dt = keys >> STEP_BITS, self.role.dt_ns
        row: tuple[Any, ...]
        if self._single:
            row = ([step * dt for step in steps.tolist()], None)
        else:
            row = ((steps * dt).tobytes(), (keys & NEURON_MASK).astype("<u4").tobytes())
        self.bus.send(self._spike_topic + wire.pack((self.role.epoch, self.seq, False, *row)))
        self.told(self.role.epoch, self.seq, keys)
        self.seq += len(keys)

    def told(self, epoch: int, seq: int, keys: Keys) -> None:
        """Somebody has published these spikes as this process: a snapshot under way may need them."""
        if self._sent is not None:
            self._sent.spikes.append((epoch, seq, keys))

    def _book(self, emission: Emission) -> None:
        """Count what a duty came to."""
        if len(emission.keys):
            self._count(emission.keys)
        self._samples += len(emission.sample_keys)

    def _count(self, keys: Keys) -> None:
        self._spikes += len(keys)
        if self._single:
            self._counts[0] += len(keys)
        else:
            np.add.at(self._counts, [self._place[index] for index in (keys & NEURON_MASK).tolist()], 1)

    def count(self, n: int) -> None:
        """The one neuron here has fired so many times, whoever published it."""
        self._counts[0] += n
        self._spikes += n

    def _end(self) -> None:
        """The limit is reached and what was under way has had its grace: commit, and say that was all."""
        self._advance(self.core.limit)
        self.ended = True
        self.lease.happened(RunEnded())
        none, many = ([], None) if self._single else (b"", b"")
        self.bus.send(self._spike_topic + wire.pack((self.role.epoch, self.seq, True, none, many)))
        if self.role.sends_samples:
            row = (self.role.epoch, self.sample_seq, True, none, many, none)
            self.bus.send(self._sample_topic + wire.pack(row))
        self._end_timer = self.loop.call_later(END_TIMEOUT_S, self._final)
        self._maybe_end()

    def _heard_all(self) -> bool:
        """Whether every stream listened to has said that it has ended, and so has this process."""
        return self.ended and all(account.ended for book in self._books() for account in book.values())

    def _maybe_end(self) -> None:
        if self._heard_all():
            self._final()

    def _final(self) -> None:
        if self._reported:
            return
        self._reported = True
        self._end_timer.cancel()
        unended = {
            kind: {n: (a.epoch, a.expected) for n, a in book.items() if not a.ended}
            for kind, book in zip(("spikes", "samples"), self._books(), strict=True)
        }
        gaps = {**self.ledger.gaps(), **{f"{k} (samples)": v for k, v in self.sample_ledger.gaps().items()}}
        self._tell_final(gaps, unended)

    def _tell_overflow(self) -> None:
        if isinstance(self.core, Core) and (over := self.core.overflown()).any():
            first = self.role.ids[int(np.argmax(over))]
            word = f"the state of {first} overflowed and is no number; what it did since means nothing"
            self.report(verbs.Trouble(word))

    def _tell_final(self, gaps: dict[str, Any], unended: dict[str, dict[str, tuple[int, int]]]) -> None:
        self._tell_overflow()
        self.report(
            verbs.Final(
                **self.status(),
                counts=self.counts(),
                gaps=gaps,
                unended=unended,
                sent=(self.role.epoch, self.seq, self.sample_seq),
            )
        )

    # -- snapshots --------------------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        return {
            "name": self.role.name,
            "core": self.core.dump(),
            "spikes_sent": self.spikes_sent,
            "samples_sent": self.samples_sent,
            "counts": self.counts(),
            "ledgers": [self.ledger.dump(), self.sample_ledger.dump()],
        }

    def restore(self, state: dict[str, Any], same_run: bool) -> None:
        """Continue from a snapshot; `same_run`: all figures go on too, else they begin anew."""
        self.core.restore(state["core"])
        if same_run:
            self._counts[:] = state["counts"]
            self._spikes, self._samples = state["spikes_sent"], state["samples_sent"]
            self.ledger, self.sample_ledger = (Ledger.restored(rows) for rows in state["ledgers"])
        else:
            self.core.late = self.core.deliveries = 0

    def feel(self, ledgers: list[list[list[Any]]], senders: dict[str, dict[str, Any]]) -> None:
        """After `restore`, in a run that is resumed: take what was under way at the snapshot. `ledgers`:
        those of this process's snapshot; `senders`: what `cut.Sent.dump` says, by stream."""
        self.prepare()
        core, role = self.core, self.role
        if not isinstance(core, Core):
            return
        kinds = (role.spikes_heard, self.ledger, 1), (role.samples_heard, self.sample_ledger, 2)
        for rows, (streams, ledger, place) in zip(ledgers, kinds, strict=True):
            heard = {row[0]: (int(row[1]), int(row[2])) for row in rows}
            for stream in streams:
                if stream not in senders:
                    continue
                sent = cut.Sent.restored(senders[stream])
                batches = sent.spikes if place == 1 else sent.samples
                at = sent.at and (sent.at[0], sent.at[place])
                found, lost = cut.unheard(heard.get(stream, (0, 0)), batches, at)
                for columns in found:
                    (core.admit if place == 1 else core.admit_samples)(*columns)
                ledger.accounts[stream].lost += lost

    def _take_capture(self) -> None:
        """The state at the step agreed on, without inputs stamped later: their senders will repeat them."""
        state = self._state()
        if isinstance(self.core, Core):
            state["core"] = cut.without_later(state["core"])
        if self._sent is not None:
            self._sent.at = self.role.epoch, self.seq, self.sample_seq
        self._capture, self._capture_at = state, NEVER

    def _write_capture(self) -> None:
        self.hear()
        self.take_in()
        if self._capture_at < NEVER:
            self._advance(self._capture_at)
            if self._capture_at < NEVER:
                self._take_capture()
            self._act(False)
        if self._capture is not None and self.role.snapshots is not None:
            state, self._capture = self._capture, None
            # As of now, not of the step: what has been heard since, and is stamped up to it, is in the state.
            state["ledgers"] = [self.ledger.dump(), self.sample_ledger.dump()]
            if self._sent is not None:
                if self.lease.shadow:
                    self._sent.at = None  # only the board knows how many it has sent
                state["sent"] = self._sent.dump(state["core"]["k"])
            self._sent = None
            self._save(state)

    def _save(self, state: dict[str, Any]) -> None:
        assert self.role.snapshots is not None
        step = state["core"]["k"]
        try:
            write_snapshot(self.role.snapshots, self.role.name, step, state)
        except OSError as error:
            self.report(verbs.Trouble(f"snapshot not written: {error.strerror}"))
        else:
            self.report(verbs.Saved(step))

    # -- virtual clock ----------------------------------------------------------------------------

    def _do(self, data: bytes) -> None:
        """A duty with more than spikes in it, or of a core whose state is not plain: inputs, run, answer."""
        duty = wire.read_duty(data[self._duty_head :])
        number, horizon, keys, sample_keys, sample_mv, stimuli, order = duty
        if number <= self.core.duty_number:
            return
        self.core.duty_number = number
        emission, next_step = self.core.duty(horizon, keys, sample_keys, sample_mv, stimuli)
        if order is not None:
            emission = self._order(order, emission)
            next_step = NEVER if order is Order.STOP else next_step
        self._book(emission)
        if self.lease.active:
            self.lease.duty_done(number, next_step, emission, keys, stimuli)
        else:
            self.answer(number, next_step, emission)
        if order is Order.STOP:
            self._tell_final({}, {})

    def answer(self, number: int, next_step: int, emission: Emission) -> None:
        """Tell the conductor what came of a duty."""
        answer = wire.Answer(
            number, self.role.epoch, next_step, emission.first, self.seq, emission.keys.tobytes(),
            self.sample_seq, emission.sample_keys.tobytes(), emission.sample_mv.tobytes(),
        )  # fmt: skip
        self.bus.send(self._answer_topic + wire.answered(answer))
        self.seq += len(emission.keys)
        self.sample_seq += len(emission.sample_keys)

    def _order(self, order: Order, emission: Emission) -> Emission:
        """The extra word of a duty. Returns what is to be emitted."""
        if order is Order.CATCH_UP:
            return NOTHING
        if order is Order.SNAPSHOT and self.role.snapshots is not None:
            self._save(self._state())
        elif order is Order.RECORD:
            self._tell_weights()
        return emission
