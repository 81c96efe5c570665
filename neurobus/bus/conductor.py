"""The conductor of the virtual clock: it owns the bus's endpoints and says who runs how far.

A shell around `schedule.Schedule`: sockets, pace, snapshots, and what a restarted process must be told
again. Frames that are not duties or answers it forwards, as the hub does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from neurobus.bounds import LAST_STEP
from neurobus.bus.peer import OBSERVER_HWM, PATIENT_HWM, Endpoints, await_frame, receive
from neurobus.bus.schedule import Schedule
from neurobus.events import Led, Samples, Spikes, Stimulus
from neurobus.guard import Guard
from neurobus.ledger import REFUSED, Ledger
from neurobus.wire import bus as wire
from neurobus.wire import verbs
from neurobus.wire.bus import EPOCH_BITS, MOST_EPOCHS, MOST_FRAMES, MOST_NS, NEVER, Answer, Order
from neurobus.wire.message import Control, ControlMessage, Report, ReportMessage
from neurobus.words import some

NAME = "conductor"
THE_END = "the longest run is over; nobody can go on beyond it"
AHEAD_MS = 100
"""How far sources run ahead: their whole stimulus of that time reaches a neuron in one message."""
POLL_MS = 200
SILENT_S = 5.0
"""How long nobody may say anything, while a duty is not answered, before the conductor says whose it is."""


@dataclass
class ConductorPlan:
    """What the conductor is given: process names, which are sources, the graph of processes, and times.

    `spike_targets[p]`: (process, smallest delay in steps). `owner`: neuron id → (process, wire index).
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
    weighed: list[int] = field(default_factory=list)
    """Processes that tell their weights every `weigh_every` steps."""
    weigh_every: int = 1


class Conductor:
    """See the module's docstring. `run` returns when the run is over or `alive` says so."""

    def __init__(self, score: ConductorPlan, endpoints: Endpoints, alive: Callable[[], bool],
                 lifeline_fd: int, tracebacks: Path = Path(os.devnull)):  # fmt: skip
        self._score, self._alive = score, alive
        self._schedule = Schedule(
            len(score.names), score.min_delay, score.spike_targets, score.sample_targets
        )
        self._schedule.horizon = score.begin
        self._context = zmq.Context()
        self._inward = self._context.socket(zmq.SUB)
        self._outward = self._context.socket(zmq.XPUB)
        self._tap = self._context.socket(zmq.XPUB)
        self._inward.setsockopt(zmq.RCVHWM, PATIENT_HWM)
        self._inward.setsockopt(zmq.RCVTIMEO, POLL_MS)
        self._outward.setsockopt(zmq.SNDHWM, PATIENT_HWM)
        self._tap.setsockopt(zmq.SNDHWM, OBSERVER_HWM)
        self._inward.subscribe(b"")
        self._poller = zmq.Poller()
        for socket, endpoint in (
            (self._inward, endpoints.inward),
            (self._outward, endpoints.outward),
            (self._tap, endpoints.tap),
        ):
            socket.setsockopt(zmq.LINGER, 2000)
            socket.bind(endpoint)
            self._poller.register(socket, zmq.POLLIN)
        self._poller.register(lifeline_fd, zmq.POLLIN)
        self._number = {name: p for p, name in enumerate(score.names)}
        self._answering = {wire.topic(wire.ANSWER, name)[:-1]: p for p, name in enumerate(score.names)}
        self._duty_topic = [wire.topic(wire.DUTY, name) for name in score.names]
        self._waiting: dict[int, bytes] = {}
        self._silent_told: set[str] = set()
        self._catching_up: dict[int, tuple[int, Order | None] | None] = {}
        """Processes back from the dead, with horizon and order of the duty that they still owe."""
        self._duty_number = [0] * len(score.names)
        self._history: list[list[tuple[bytes, bytes, bytes, Any]]] = [[] for _ in score.names]
        self._ready: set[int] = set()
        self._epoch = [-1] * len(score.names)
        self._started = False
        self._limit, self._endless = LAST_STEP, True
        """Nobody goes beyond it. Endless: nobody named it, so a network at rest waits for what may come."""
        self._over = False
        """Somebody would go on beyond the longest run: who rests for good says NEVER, others a later step."""
        self._pace = 0.0
        self._t0 = 0.0
        self._source_horizon = score.begin
        self._done_to = [score.begin] * len(score.names)
        self._duty_horizon = [score.begin] * len(score.names)
        self._snapshot_due = float("inf")
        every = score.weigh_every
        self._weigh_at = -(-score.begin // every) * every if score.weighed else NEVER
        self._subscriptions_due = 0.0
        self._watchers = {self._outward: 0, self._tap: 0}
        self._ledger = Ledger(from_start=True)
        self._sample_ledger = Ledger(from_start=True)
        self._exit = False
        self._guard = Guard(self._troubled, tracebacks)
        self.malformed = self.duties = 0

    # -- frames ---------------------------------------------------------------------------------

    def _publish(self, data: bytes) -> None:
        self._outward.send(data)
        self._tap.send(data)

    def _report(self, message: ReportMessage) -> None:
        self._publish(wire.encode(Report(NAME, message)))

    def _observe(self, data: bytes) -> None:
        """Spikes and samples go only where somebody listens to such."""
        for socket, watchers in self._watchers.items():
            if watchers:
                socket.send(data)

    def _subscriptions(self, socket: zmq.Socket[bytes]) -> None:
        while (data := receive(socket)) is not None:
            if data[1:2] in (b"", wire.SPIKES, wire.SAMPLES):
                self._watchers[socket] += 1 if data[:1] == b"\x01" else -1

    def _frames(self, timeout_ms: int) -> list[bytes]:
        """Frames that wait, after at most `timeout_ms`."""
        found = []
        while (data := receive(self._inward)) is not None:
            found.append(data)
        if found or timeout_ms == 0:
            return found
        events = dict(self._poller.poll(timeout_ms))
        for socket in (self._outward, self._tap):
            if socket in events:
                self._subscriptions(socket)
        while (data := receive(self._inward)) is not None:
            found.append(data)
        return found

    def _handle(self, data: bytes) -> None:
        kind = data[:1]
        try:
            if kind == wire.ANSWER:
                self._answered(data)
            elif kind == wire.HELLO:
                wire.split(data)
                self._outward.send(data)
                self._tap.send(data)
            else:
                self._other(data)
        except wire.Malformed:
            self.malformed += 1
        except Exception as error:
            self._guard.caught(error)

    def _troubled(self, line: str) -> None:
        self._report(verbs.Trouble(f"passed over an error: {line}"))

    def _other(self, data: bytes) -> None:
        event = wire.decode(data)
        if isinstance(event, Stimulus):
            self._poked(event)
        elif isinstance(event, Report):
            if event.origin == NAME:
                raise wire.Malformed("somebody else speaks as the conductor")
            number = self._number.get(event.origin)
            if isinstance(event.message, verbs.Ready) and number is not None:
                self._joined(number, event.message)
            self._publish(data)
        elif isinstance(event, Control):
            if event.to == NAME:
                self._control(event.message)
            else:
                self._publish(data)
        elif isinstance(event, Led):
            self._publish(data)
        else:
            self.malformed += 1  # spikes reach the conductor in answers only

    def _control(self, message: ControlMessage) -> None:
        match message:
            case verbs.Start() if not self._started:
                if message.stop_step is not None:
                    self._limit, self._endless = min(message.stop_step, LAST_STEP), False
                self._pace = message.pace or 0.0
                self._t0 = time.monotonic()
                self._started = True
                if self._score.snapshot_every_s:
                    self._snapshot_due = self._t0 + self._score.snapshot_every_s
            case verbs.AskStatus():
                self._report(verbs.ConductorStatus(*self._figures(self._model_step())))
            case verbs.Exit():
                self._exit = True
            case verbs.Stop():
                self._endless = False
                self._limit = min(
                    self._limit, max(self._schedule.horizon, self._source_horizon, self._model_step())
                )

    def _model_step(self) -> int:
        """Where model time stands: the horizon, or under a pace the clock on the wall, which in silence
        runs ahead of the horizon. It never passes what has yet to happen: a machine too slow slips."""
        if not self._pace:
            return self._schedule.horizon
        elapsed_ns = (time.monotonic() - self._t0) * 1e9 * self._pace
        step = self._score.begin + int(elapsed_ns) // self._score.dt_ns
        return max(self._schedule.horizon, min(step, self._schedule.next_step() - 1))

    def _poked(self, event: Stimulus) -> None:
        owner = self._score.owner.get(event.neuron)
        if owner is None or not self._started or event.t_ns // self._score.dt_ns >= NEVER:
            self.malformed += 1
            return
        # Under a pace a silent network's horizon stands still while model time goes on.
        self._schedule.horizon = min(self._model_step(), self._limit)
        p, index = owner
        # Never in what was already told to run: a source runs ahead of all others.
        step = max(self._schedule.horizon, self._duty_horizon[p], event.t_ns // self._score.dt_ns)
        self._schedule.at(p, step, index, event.weight)
        stamped = Stimulus(event.neuron, step * self._score.dt_ns, event.weight, event.origin)
        self._publish(wire.encode(stamped))

    def _joined(self, p: int, ready: verbs.Ready) -> None:
        """A process has joined for the first time, or again after a restart: tell it what it missed."""
        next_step, epoch = ready.next_step, ready.epoch
        if next_step is None or epoch is None or not self._epoch[p] < epoch <= MOST_EPOCHS:
            raise wire.Malformed("a process of an epoch that is over, or that no run comes to")
        self._epoch[p] = epoch
        # Numbers of an epoch are greater than all of those before it: what is sent to a process that is
        # dead already, its successor refuses.
        self._duty_number[p] = epoch << EPOCH_BITS
        self._schedule.bound[p] = min(max(1, next_step), NEVER)
        self._over |= next_step > NEVER
        again = p in self._ready
        self._ready.add(p)
        if not again:
            return
        # All it was ever told since its snapshot, what the duty under way brought included: that acts
        # after `_done_to` in any case. Then the same duty once more, with nothing new in it. One that dies
        # again while it catches up still has that duty before it.
        outstanding = self._waiting.pop(p, None)
        if p not in self._catching_up:
            order = wire.read_duty(wire.split(outstanding)[2]).order if outstanding else None
            self._catching_up[p] = (self._duty_horizon[p], order) if outstanding else None
        keys, sample_keys, sample_mv = (b"".join(part[i] for part in self._history[p]) for i in range(3))
        stimuli = [row for part in self._history[p] for row in part[3] or ()]
        self._send(p, self._done_to[p], keys, sample_keys, sample_mv, stimuli or None, Order.CATCH_UP)

    # -- duties and answers -----------------------------------------------------------------------

    def _send(
        self,
        p: int,
        horizon: int,
        keys: bytes,
        sample_keys: bytes,
        sample_mv: bytes,
        stimuli: Any,
        order: Order | None,
    ) -> None:
        self.duties += 1
        number = self._duty_number[p] = self._duty_number[p] + 1
        payload = wire.duty(number, horizon, keys, sample_keys, sample_mv, stimuli, order)
        data = self._duty_topic[p] + payload
        self._waiting[p] = data
        self._duty_horizon[p] = horizon
        self._outward.send(data)

    def _dispatch(self, p: int, horizon: int, order: Order | None = None) -> None:
        taken = self._schedule.take(p)
        if taken[0] or taken[1] or taken[3]:
            self._history[p].append(taken)
        self._send(p, horizon, *taken, order)

    def _answered(self, data: bytes) -> None:
        head, _, payload = data.partition(b"\0")
        p = self._answering.get(head)
        if p is None:
            raise wire.Malformed("an answer from nobody")
        answer = wire.answer(payload)
        if p not in self._waiting or answer.number != self._duty_number[p]:
            return  # of a process that died after it had answered, or an answer twice
        if not (0 <= answer.next_step < MOST_NS and answer.epoch < MOST_FRAMES and answer.seq < MOST_FRAMES):
            raise wire.Malformed("an answer beyond what a run counts")
        del self._waiting[p]
        self._done_to[p] = self._duty_horizon[p]
        if p in self._catching_up and (again := self._catching_up.pop(p)):
            self._send(p, again[0], b"", b"", b"", None, again[1])
        name = self._score.names[p]
        n = len(answer.keys) // 8
        known = self._ledger.accounts.get(name)
        if (n or known is None) and self._ledger.accept(name, answer.epoch, answer.seq, n) == REFUSED:
            return
        n_mv = len(answer.sample_keys) // 8
        if n_mv:
            self._sample_ledger.accept(name, answer.epoch, answer.sample_seq, n_mv)
        self._over |= answer.next_step > NEVER
        self._schedule.answer(
            p, answer.next_step, answer.first, answer.keys, answer.sample_keys, answer.sample_mv
        )
        if answer.first >= 0 and (self._watchers[self._outward] or self._watchers[self._tap]):
            self._show(p, answer)

    def _show(self, p: int, answer: Answer) -> None:
        """Publish an answer's spikes and samples for whoever observes."""
        dt, name, single = self._score.dt_ns, self._score.names[p], self._score.single[p]
        if answer.keys:
            keys = np.frombuffer(answer.keys, np.int64)
            t = (keys >> 32) * dt
            event = Spikes(
                name,
                answer.epoch,
                answer.seq,
                t.tolist() if single else t,
                None if single else keys & 0xFFFFFFFF,
            )
            self._observe(wire.encode(event))
        if answer.sample_keys:
            keys, mv = np.frombuffer(answer.sample_keys, np.int64), np.frombuffer(answer.sample_mv)
            t = (keys >> 32) * dt
            samples = Samples(
                name,
                answer.epoch,
                answer.sample_seq,
                t.tolist() if single else t,
                mv.tolist() if single else mv,
                None if single else keys & 0xFFFFFFFF,
            )
            self._observe(wire.encode(samples))

    def _collect(self) -> None:
        """Until every duty is answered: waits in ZeroMQ's own call, as nothing else matters meanwhile."""
        inward, waiting, told_at = self._inward, self._waiting, 0.0
        while waiting:
            data = await_frame(inward)
            if data is not None:
                self._handle(data)
            elif not self._alive():
                return
            else:
                told_at = told_at or time.monotonic() + SILENT_S
                if time.monotonic() > told_at:
                    told_at = float("inf")
                    self._tell_silent()
        now = time.monotonic()
        if now > self._subscriptions_due:
            self._subscriptions_due = now + 0.02
            self._subscriptions(self._outward)
            self._subscriptions(self._tap)

    def _tell_silent(self) -> None:
        names = sorted(self._score.names[p] for p in self._waiting)
        if names and not self._silent_told.issuperset(names):
            self._silent_told.update(names)
            word = f"no answer from {some(names)} for {SILENT_S:g} s, and the run waits (is it stopped?)"
            self._report(verbs.Trouble(word))

    # -- the run ------------------------------------------------------------------------------------

    def run(self) -> None:
        """Wait for all processes, then conduct until the limit or a stop."""
        while self._alive() and (len(self._ready) < len(self._score.names) or not self._started):
            for data in self._frames(POLL_MS):
                self._handle(data)
        for step, neuron, weight in self._score.stimuli:
            p, index = self._score.owner[neuron]
            self._schedule.at(p, step, index, weight)
            self._publish(wire.encode(Stimulus(neuron, step * self._score.dt_ns, weight, "log")))
        ahead = AHEAD_MS * 1_000_000 // self._score.dt_ns
        schedule, sources = self._schedule, self._score.sources
        all_sources = np.flatnonzero(sources)
        while self._alive():
            self._collect()
            if time.monotonic() >= self._snapshot_due:
                self._snapshot()
            if not self._paced():
                continue
            active = schedule.round(min(self._limit, self._weigh_at))
            if not active:
                if self._weigh_at <= self._limit and not self._idle():
                    self._weigh()
                    continue
                if self._endless and self._over:
                    self._report(verbs.Trouble(THE_END))
                    break
                if not self._endless:
                    break
                for data in self._frames(POLL_MS):
                    self._handle(data)
                continue
            # No farther than all may have to stand: a snapshot is of where the sources are.
            to = min(schedule.horizon + ahead, self._limit, self._weigh_at)
            if any(sources[p] for p in active):
                self._source_horizon = max(self._source_horizon, to)
                active = schedule.joined(active, all_sources, to)
            for p in active:
                self._dispatch(p, to if sources[p] else schedule.horizon)
        self._finish()

    def _paced(self) -> bool:
        """Handle what arrives until the next round may be released. False: look again, things changed."""
        if not self._pace:
            for data in self._frames(0):
                self._handle(data)
            return True
        first = min(self._schedule.next_step(), self._limit, self._weigh_at)
        due = self._t0 + (first - self._score.begin) * self._score.dt_ns * 1e-9 / self._pace
        left = min(due, self._snapshot_due) - time.monotonic()
        if left <= 0:
            return True
        frames = self._frames(max(1, min(int(left * 1000), POLL_MS)))
        for data in frames:
            self._handle(data)
        return False

    def _everyone(self, horizon: int, order: Order) -> None:
        for p in range(len(self._score.names)):
            self._dispatch(p, max(horizon, self._done_to[p]), order)
        self._collect()
        self._schedule.horizon = max(self._schedule.horizon, horizon)

    def _idle(self) -> bool:
        """At rest for good and in no hurry to an end: model time would only be counted."""
        return not self._pace and self._endless and self._schedule.next_step() >= NEVER

    def _weigh(self) -> None:
        """Have the weights told that are recorded, all at one step: nothing happens before it any more."""
        for p in self._score.weighed:
            self._dispatch(p, self._weigh_at, Order.RECORD)
        self._collect()
        self._schedule.horizon = max(self._schedule.horizon, self._weigh_at)
        self._weigh_at += self._score.weigh_every

    def _snapshot(self) -> None:
        """Run everybody to one step, write all states there, and forget the history before."""
        step = min(max(self._schedule.horizon, self._source_horizon), self._limit)
        while self._alive() and (active := self._schedule.round(step)):
            for p in active:
                self._dispatch(p, self._schedule.horizon)
            self._collect()
        self._everyone(step, Order.SNAPSHOT)
        self._history = [[] for _ in self._history]
        self._snapshot_due = time.monotonic() + self._score.snapshot_every_s
        self._report(verbs.SnapshotTaken(step))

    def _finish(self) -> None:
        if not self._alive():
            return
        if self._score.snapshot_every_s:
            self._snapshot()
        self._everyone(self._limit, Order.STOP)
        for p, name in enumerate(self._score.names):
            end = self._ledger.accounts[name]
            last = Spikes(name, end.epoch, end.expected, [], None if self._score.single[p] else [], True)
            self._observe(wire.encode(last))
        self._report(verbs.ConductorFinal(*self._figures(self._limit)))

    def _figures(self, step: int) -> tuple[Any, ...]:
        """`verbs.ConductorFigures`, for live views and for the summary."""
        return (
            min(step, self._limit), self._schedule.rounds, self.duties, self.malformed,
            verbs.Totals(**self._ledger.totals()), self._ledger.gaps(),
            verbs.Totals(**self._sample_ledger.totals()),
        )  # fmt: skip

    def serve_until_exit(self) -> None:
        """Go on forwarding (reports, farewells) until told to exit."""
        while self._alive() and not self._exit:
            for data in self._frames(POLL_MS):
                self._handle(data)

    def close(self) -> None:
        self._context.destroy(2000)
