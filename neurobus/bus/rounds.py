"""What the conductor of the virtual clock has everybody do. Pure: events and time in, instructions out.

`schedule` says who may run how far. Here are the rounds themselves: duties and their numbers, the pace,
snapshots, the weights of a log, and what a restarted process must be told again.

    started, joined, poked, stop, answered   what was heard; each may send duties
    course                                   a generator: what is to be done next, until the run is over
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neurobus.bounds import LAST_STEP
from neurobus.bus.schedule import Schedule
from neurobus.events import Samples, Spikes, Stimulus
from neurobus.ledger import REFUSED, Ledger
from neurobus.wire import bus as wire
from neurobus.wire import verbs
from neurobus.wire.bus import EPOCH_BITS, MOST_EPOCHS, MOST_FRAMES, MOST_NS, NEVER, Answer, Order
from neurobus.wire.message import Report

NAME = "conductor"
THE_END = "the longest run is over; nobody can go on beyond it"
AHEAD_MS = 100
"""How far sources run ahead: their whole stimulus of that time reaches a neuron in one message."""


@dataclass
class ConductorPlan:
    """What the conductor is given: process names, which are sources, the graph of processes, and times.

    `spike_targets[p]`: (process, smallest delay in steps). `owner`: neuron id → (process, wire index).
    `recorded`: processes that report weights to a log every `weight_interval` steps.
    """

    names: list[str]
    single: list[bool]
    sources: list[bool]
    dt_ns: int
    min_delay: int
    spike_targets: list[list[tuple[int, int]]]
    sample_targets: list[list[tuple[int, int]]]
    owner: dict[str, tuple[int, int]]
    begin: int = 0
    stimuli: list[tuple[int, str, float]] = field(default_factory=list)
    snapshot_every_s: float = 0.0
    recorded: list[int] = field(default_factory=list)
    weight_interval: int = 1


# -- instructions -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Collect:
    """Take frames until `waiting` is empty."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Take the frames that come, for some time and not beyond `until_s`."""

    until_s: float


@dataclass(frozen=True, slots=True)
class Publish:
    event: wire.Event


Instruction = Collect | Wait | Publish
Course = Generator[Instruction, float, float]
"""Each instruction is followed by the time (s) at which it was done."""
COLLECT = Collect()


@dataclass(slots=True)
class _Process:
    """What the conductor knows of one process. `horizon`: of the duty sent last; `done_to`: answered last."""

    duty_topic: bytes
    horizon: int
    done_to: int
    number: int = 0
    order: Order | None = None
    epoch: int = -1
    history: list[tuple[bytes, bytes, bytes, Any]] = field(default_factory=list)
    """The inputs of all its duties since its snapshot."""
    catching_up: bool = False
    owed: tuple[int, Order | None] | None = None
    """Horizon and order of the duty that was under way when it died."""


class Rounds:
    """The state of a run under the virtual clock. Times are seconds of the host's monotonic clock. `send` is
    called with each duty's frame at once: its process works while those of the others are packed."""

    def __init__(self, plan: ConductorPlan, send: Callable[[bytes], Any]):
        self.plan, self._send = plan, send
        self.schedule = Schedule(len(plan.names), plan.min_delay, plan.spike_targets, plan.sample_targets)
        self.schedule.horizon = self._source_horizon = plan.begin
        self.waiting: set[int] = set()
        """Processes with a duty that is not answered."""
        self.ledger, self.sample_ledger = Ledger(from_start=True), Ledger(from_start=True)
        self.duties = 0
        self._processes = [_Process(wire.topic(wire.DUTY, n), plan.begin, plan.begin) for n in plan.names]
        self._started_s: float | None = None
        self._pace = 0.0
        self._limit, self._endless = LAST_STEP, True
        """Nobody goes beyond it. Endless: nobody named it, so a network at rest waits for what may come."""
        self._over = False
        """Somebody would go on beyond the longest run: who rests for good says NEVER, others a later step."""
        self._snapshot_due_s = float("inf")
        every = plan.weight_interval
        self._weights_due = -(-plan.begin // every) * every if plan.recorded else NEVER
        """The step of the next weights for a log."""

    # -- what is heard --------------------------------------------------------------------------------

    def joined(self, p: int, ready: verbs.Ready) -> None:
        """A process has joined, or joined again after a restart: then it is told what it missed."""
        process, next_step, epoch = self._processes[p], ready.next_step, ready.epoch
        if next_step is None or epoch is None or not process.epoch < epoch <= MOST_EPOCHS:
            raise wire.Malformed("a process of an epoch that is over, or that no run comes to")
        again, process.epoch = process.epoch >= 0, epoch
        # Numbers of an epoch are greater than all of those before it: what is sent to a process that is
        # dead already, its successor refuses.
        process.number = epoch << EPOCH_BITS
        self.schedule.bound[p] = min(max(1, next_step), NEVER)
        self._over |= next_step > NEVER
        if not again:
            return
        # All it was ever told since its snapshot, what the duty under way brought included: that acts
        # after `done_to` in any case. Then the same duty once more, with nothing new in it. One that dies
        # again while it catches up still has that duty before it.
        if not process.catching_up:
            process.catching_up = True
            process.owed = (process.horizon, process.order) if p in self.waiting else None
        keys, sample_keys, sample_mv = (b"".join(part[i] for part in process.history) for i in range(3))
        stimuli = [row for part in process.history for row in part[3] or ()]
        self._duty(p, process.done_to, Order.CATCH_UP, keys, sample_keys, sample_mv, stimuli or None)

    def started(self, start: verbs.Start, now_s: float) -> None:
        if self._started_s is not None:
            return
        if start.stop_step is not None:
            self._limit, self._endless = min(start.stop_step, LAST_STEP), False
        self._started_s, self._pace = now_s, start.pace or 0.0
        if self.plan.snapshot_every_s:
            self._snapshot_due_s = now_s + self.plan.snapshot_every_s

    def stop(self, now_s: float) -> None:
        """The run ends as soon as all can stand at one step."""
        self._endless = False
        self._limit = min(self._limit, max(self._source_horizon, self._model_step(now_s)))

    def poked(self, event: Stimulus, now_s: float) -> Stimulus:
        """The poke with the step at which it acts. Raises Malformed."""
        plan, schedule = self.plan, self.schedule
        owner, asked = plan.owner.get(event.neuron), event.t_ns // plan.dt_ns
        if owner is None or self._started_s is None or asked >= NEVER:
            raise wire.Malformed("a poke of nobody, or outside the run")
        # Under a pace a silent network's horizon stands still while model time goes on.
        schedule.horizon = min(self._model_step(now_s), self._limit)
        p, index = owner
        # Never in what was already told to run: a source runs ahead of all others.
        step = max(schedule.horizon, self._processes[p].horizon, asked)
        schedule.at(p, step, index, event.weight)
        return Stimulus(event.neuron, step * plan.dt_ns, event.weight, event.origin)

    def answered(self, p: int, answer: Answer) -> bool:
        """Whether the answer counts: not one that came twice, or of a process that died after it."""
        process, name = self._processes[p], self.plan.names[p]
        if p not in self.waiting or answer.number != process.number:
            return False
        if not (0 <= answer.next_step < MOST_NS and answer.epoch < MOST_FRAMES and answer.seq < MOST_FRAMES):
            raise wire.Malformed("an answer beyond what a run counts")
        self.waiting.remove(p)
        process.done_to = process.horizon
        if process.catching_up:
            process.catching_up = False
            if process.owed is not None:
                self._duty(p, *process.owed)
        n, n_mv = len(answer.keys) // 8, len(answer.sample_keys) // 8
        known = name in self.ledger.accounts
        if (n or not known) and self.ledger.accept(name, answer.epoch, answer.seq, n) == REFUSED:
            return False
        if n_mv:
            self.sample_ledger.accept(name, answer.epoch, answer.sample_seq, n_mv)
        self._over |= answer.next_step > NEVER
        self.schedule.answer(
            p, answer.next_step, answer.first, answer.keys, answer.sample_keys, answer.sample_mv
        )
        return True

    # -- what is done ---------------------------------------------------------------------------------

    def course(self) -> Course:
        """From the start to the last duty."""
        plan, schedule = self.plan, self.schedule
        while self._started_s is None or any(process.epoch < 0 for process in self._processes):
            yield Wait(float("inf"))
        for step, neuron, weight in plan.stimuli:
            p, index = plan.owner[neuron]
            schedule.at(p, step, index, weight)
            yield Publish(Stimulus(neuron, step * plan.dt_ns, weight, "log"))
        sources = np.flatnonzero(plan.sources)
        while True:
            now_s = yield COLLECT
            if now_s >= self._snapshot_due_s:
                now_s = yield from self._snapshot()
            if (until_s := self._released_s()) > now_s:
                yield Wait(min(until_s, self._snapshot_due_s))
                continue
            active = schedule.round(min(self._limit, self._weights_due))
            if active:
                self._release(active, sources)
            elif self._weights_due <= self._limit and not self._idle():
                yield from self._record_weights()
            elif not self._endless:
                break
            elif self._over:
                yield Publish(Report(NAME, verbs.Trouble(THE_END)))
                break
            else:
                yield Wait(float("inf"))
        if plan.snapshot_every_s:
            yield from self._snapshot()
        return (yield from self._everyone(range(len(plan.names)), self._limit, Order.STOP))

    def _released_s(self) -> float:
        """When the next round may begin, as the pace has it."""
        if not self._pace or self._started_s is None:
            return 0.0
        first = min(self.schedule.next_step(), self._limit, self._weights_due)
        return self._started_s + (first - self.plan.begin) * self.plan.dt_ns * 1e-9 / self._pace

    def _release(self, active: list[int], sources: Any) -> None:
        """One round. Sources run ahead, but no farther than all may have to stand: a snapshot is of where the
        sources are."""
        horizon, is_source = self.schedule.horizon, self.plan.sources
        ahead = AHEAD_MS * 1_000_000 // self.plan.dt_ns
        to = min(horizon + ahead, self._limit, self._weights_due)
        if any(is_source[p] for p in active):
            self._source_horizon = max(self._source_horizon, to)
            active = self.schedule.joined(active, sources, to)
        for p in active:
            self._dispatch(p, to if is_source[p] else horizon)

    def _everyone(self, processes: Any, step: int, order: Order) -> Course:
        """These stand at one step, and do as `order` says. Nothing happens before it any more."""
        for p in processes:
            self._dispatch(p, max(step, self._processes[p].done_to), order)
        now_s = yield COLLECT
        self.schedule.horizon = max(self.schedule.horizon, step)
        return now_s

    def _record_weights(self) -> Course:
        now_s = yield from self._everyone(self.plan.recorded, self._weights_due, Order.RECORD)
        self._weights_due += self.plan.weight_interval
        return now_s

    def _snapshot(self) -> Course:
        """All run to one step and write their states there; the history before is forgotten."""
        step = min(max(self.schedule.horizon, self._source_horizon), self._limit)
        while active := self.schedule.round(step):
            for p in active:
                self._dispatch(p, self.schedule.horizon)
            yield COLLECT
        now_s = yield from self._everyone(range(len(self.plan.names)), step, Order.SNAPSHOT)
        for process in self._processes:
            process.history = []
        self._snapshot_due_s = now_s + self.plan.snapshot_every_s
        yield Publish(Report(NAME, verbs.SnapshotTaken(step)))
        return now_s

    def _idle(self) -> bool:
        """At rest for good and in no hurry to an end: model time would only be counted."""
        return not self._pace and self._endless and self.schedule.next_step() >= NEVER

    def _dispatch(self, p: int, horizon: int, order: Order | None = None) -> None:
        """A duty with all that waits for the process."""
        taken = self.schedule.take(p)
        if taken[0] or taken[1] or taken[3]:
            self._processes[p].history.append(taken)
        self._duty(p, horizon, order, *taken)

    def _duty(self, p: int, horizon: int, order: Order | None, keys: bytes = b"", sample_keys: bytes = b"",
              sample_mv: bytes = b"", stimuli: list[list[float]] | None = None) -> None:  # fmt: skip
        process = self._processes[p]
        self.duties += 1
        process.number += 1
        process.horizon, process.order = horizon, order
        payload = wire.duty(process.number, horizon, keys, sample_keys, sample_mv, stimuli, order)
        self._send(process.duty_topic + payload)
        self.waiting.add(p)

    # -- what is told ---------------------------------------------------------------------------------

    def _model_step(self, now_s: float) -> int:
        """Where model time stands: the horizon, or under a pace the clock on the wall, which in silence
        runs ahead of the horizon. It never passes what has yet to happen: a machine too slow slips."""
        horizon = self.schedule.horizon
        if not self._pace or self._started_s is None:
            return horizon
        elapsed_ns = (now_s - self._started_s) * 1e9 * self._pace
        step = self.plan.begin + int(elapsed_ns) // self.plan.dt_ns
        return max(horizon, min(step, self.schedule.next_step() - 1))

    def emitted(self, p: int, answer: Answer) -> Iterator[Spikes | Samples]:
        """What a process emitted on a duty, for whoever observes."""
        plan, name, epoch = self.plan, self.plan.names[p], answer.epoch

        def columns(packed: bytes) -> tuple[Any, Any]:
            keys = np.frombuffer(packed, np.int64)
            t_ns = (keys >> 32) * plan.dt_ns
            return (t_ns.tolist(), None) if plan.single[p] else (t_ns, keys & 0xFFFFFFFF)

        if answer.keys:
            yield Spikes(name, epoch, answer.seq, *columns(answer.keys))
        if answer.sample_keys:
            t_ns, neurons = columns(answer.sample_keys)
            mv = np.frombuffer(answer.sample_mv)
            yield Samples(
                name, epoch, answer.sample_seq, t_ns, mv.tolist() if plan.single[p] else mv, neurons
            )

    def ends(self) -> Iterator[Spikes]:
        """The end of every stream."""
        for name, single in zip(self.plan.names, self.plan.single, strict=True):
            end = self.ledger.accounts[name]
            yield Spikes(name, end.epoch, end.expected, [], None if single else [], True)

    def figures(self, malformed: int, now_s: float | None = None) -> tuple[Any, ...]:
        """`verbs.ConductorFigures` now, or at the end of the run."""
        step = self._limit if now_s is None else min(self._model_step(now_s), self._limit)
        return (
            step, self.schedule.rounds, self.duties, malformed, verbs.Totals(**self.ledger.totals()),
            self.ledger.gaps(), verbs.Totals(**self.sample_ledger.totals()),
        )  # fmt: skip
