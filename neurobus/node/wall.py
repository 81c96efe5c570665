"""A process under the clock on the wall: it sleeps until a frame arrives or its core must act. Nothing ticks.

Two paths, with the same spikes. A neuron alone *attends* in compiled code: frames in, spikes out, until
something comes that is not for it. All else goes the plain path: a frame is decoded and put into the inbox
(`_frame`), the core takes it in (`take_in`), acts where it is due (`_act`), and what it emits is published
(`_emit`). A neuron looked over by somebody (a snapshot, a board) goes this path.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np

from neurobus.events import Samples, Spikes, Stimulus
from neurobus.node import cut, process
from neurobus.node.core import Core
from neurobus.node.interface import STEP_BITS, AnyCore, Emission
from neurobus.node.kernel import layout as T
from neurobus.node.lease_steps import EndPassed, RunEnded
from neurobus.node.process import Process
from neurobus.node.role import Role
from neurobus.node.snapshot import write_snapshot
from neurobus.wire import bus as wire
from neurobus.wire import verbs
from neurobus.wire.bus import NEVER
from neurobus.wire.message import Control, ControlMessage

LONGEST_STAY = 16
"""So often on end a process waits for the next frame by the bus."""
ATTENDS_NS = 250_000_000
"""A neuron that attends in compiled code stays there no longer than this."""
KEEPS_NS = 20_000_000
"""The same where what it learns is to be written down at once: to write after each spike takes longer than a
spike."""
SHADOW_BEHIND_NS = 20_000_000
"""A shadow is in no hurry: what comes late to it by less than this is felt when it should have been."""
END_SHADOW_NS = 100_000_000
"""How long a shadow that has reached the end waits for its board to give the neuron back."""
HEARING_S = 0.05
"""How long after a snapshot's step, and the grace, its file waits for what was sent before that step."""
END_TIMEOUT_S = 2.0
"""How long a neuron that has reached the end waits for the last spikes of those it listens to."""


class WallProcess(Process):
    def __init__(self, role: Role, core: AnyCore):
        super().__init__(role, core)
        self._t0_ns: int | None = None
        self._bound: tuple[Any, ...] = ()
        self.next_step = NEVER
        """When the core must act again, as far as is known (a step)."""
        self._timer: asyncio.TimerHandle | None = None
        self._reported = False
        self._capture: dict[str, Any] | None = None
        """A snapshot under way: the state at its step."""
        self._capture_at = self._weigh_at = NEVER
        """The next steps at which the state is taken, and weights are recorded."""
        self._kept: Any = None
        self._kept_in: Path | None = None

    # -- compiled code ------------------------------------------------------------------------------

    def _open(self) -> None:
        if self._alone:
            self._set_streams()

    @property
    def _alone(self) -> bool:
        return self.role.single and self.core.kernel_only

    def _bind(self) -> None:
        if self._t0_ns is not None and self._lines is not None and isinstance(self.core, Core):
            fds = self.bus.fd, -1 if self._lifeline_fd is None else self._lifeline_fd
            self.core.bind_clock(self._lines, fds, (self._t0_ns, self.role.dt_ns, self.role.grace))

    def _set_streams(self) -> None:
        """Tell the core which streams it hears, and as whom it speaks."""
        assert isinstance(self.core, Core)
        self.core.set_streams(self.outbox.spike_topic, self.outbox.sample_topic, self.inbox.accounts())
        self._bound = self._streams_now()

    def _streams_now(self) -> tuple[Any, ...]:
        """What `_set_streams` goes by: another core, other accounts, or one stream more."""
        books = [ledger.accounts for ledger in self.inbox.ledgers]
        return self.core, *books, *map(len, books)

    def _attentive(self) -> bool:
        """Whether compiled code can receive, react and send by itself."""
        return (
            self._alone
            and self._t0_ns is not None
            and self._lines is not None
            and self._lines[-1] != 0
            and not (self.ended or self.inbox.waits or self._done.is_set())
            and self._capture is None
            and self._capture_at == NEVER
            and (self._weigh_at == NEVER or self.step() < self._weigh_at)
            and not self.lease.looks_on
        )

    def _attend(self) -> bool:
        """Live in compiled code until nothing comes for long (True: the timer is armed) or something comes
        that it leaves to us. Weights that are recorded stop it at their step."""
        core = self.core
        assert isinstance(core, Core) and self._t0_ns is not None
        if self._bound != self._streams_now():
            self._set_streams()
            self._bind()
        limit, until_ns = core.limit, process.now_ns() + (KEEPS_NS if self.role.keeps else ATTENDS_NS)
        if self._weigh_at < limit:
            core.limit = self._weigh_at
            until_ns = min(until_ns, self._t0_ns + self._weigh_at * self.role.dt_ns)
        outcome = core.attend(until_ns)
        core.limit = limit
        if outcome == T.NOBODY:
            if self.role.keeps:
                self._keep(core)
            self.next_step = core.nearest
            self._sleep_for_next(self.step())
            return True
        self.inbox.add(*core.unadmitted())
        if outcome == T.OTHER:
            self._handle(core.frame())
            if not (self.inbox.waits or self.ended or self._done.is_set() or self._attentive()):
                self._act(False)  # compiled code knew when to act next, and will not be asked again
        elif not self.inbox.waits:
            self._act(True)
        return False

    # -- frames -----------------------------------------------------------------------------------

    def _inputs(self) -> list[bytes]:
        role = self.role
        heard = (
            (wire.SPIKES, role.spikes_heard),
            (wire.SAMPLES, role.samples_heard),
            (wire.STIMULUS, role.ids),
        )
        return [wire.topic(kind, name) for kind, names in heard for name in names]

    def _readable(self) -> None:
        """Take the frames that wait, act, and while traffic is dense stay by the bus for more."""
        if not self._joined or not (self._attentive() and self._attend()):
            self._stay_by_the_bus() if self._joined else self.hear()

    def _stay_by_the_bus(self) -> None:
        left = LONGEST_STAY
        while True:
            # All of them, then one act: under load a wake serves many spikes. Whoever returns has found the
            # queue empty, for the socket's fd tells of no frame that was there before.
            self.hear()
            if self._attentive():
                if self._attend():
                    return
            elif not left or not self._may_stay():
                return
            while left and self._may_stay() and not self._attentive():
                if (data := self.bus.linger()) is None:
                    return
                left -= 1
                self._handle(data)  # it came alone: answered before the queue is asked for more
                self._respond()

    def hear(self) -> None:
        while (data := self.bus.receive()) is not None:
            self._handle(data)
        self._respond()

    def _respond(self) -> None:
        """Act on what was heard, if the run has begun."""
        if self.inbox.waits and self._t0_ns is not None:
            self.take_in()
            self._act(False)

    def _may_stay(self) -> bool:
        """Whether to wait for the next frame in ZeroMQ's own call, a wake through the event loop saved: where
        no act is due meanwhile. What comes alone costs one wake more for it."""
        when = self.wakes_at_s
        return when is None or when - self.loop.time() > 2 * self.LINGER_MS * 1e-3

    def _frame(self, data: bytes) -> None:
        event = wire.decode(data)
        if isinstance(event, Spikes) and event.stream == self.role.name:
            self.lease.heard(event)
        elif isinstance(event, Spikes | Samples):
            self.inbox.spikes(event) if isinstance(event, Spikes) else self.inbox.samples(event)
            if event.last:
                self._maybe_end()
        elif isinstance(event, Stimulus) and self._t0_ns is not None:
            step = event.t_ns // self.role.dt_ns if event.t_ns >= 0 else self.step()
            self.inbox.poke(step, event.neuron, event.weight)
        elif isinstance(event, Control):
            self._control(event.message)

    def _control(self, message: ControlMessage) -> None:
        match message:
            case verbs.Start() if self._t0_ns is None:
                self._start(message)
            case verbs.TakeSnapshot(step) if self.role.snapshots and self._t0_ns is not None:
                self._begin_capture(step)
            case verbs.Stop(step=int(step)):
                self.core.limit = min(self.core.limit, max(step, self.core.k))
                self._act(False)
            case _:
                super()._control(message)

    def _start(self, start: verbs.Start) -> None:
        core, role = self.core, self.role
        self._t0_ns = start.t0_ns
        self._bind()
        core.limit = NEVER if start.stop_step is None else start.stop_step
        if role.late_start and isinstance(core, Core):
            core.resume_at(max(0, self.step() - role.grace))
        elif role.late_start:
            core.advance(max(0, self.step()))
        if role.weighed:
            self._weigh_at = -(-core.k // role.weigh_every) * role.weigh_every
            self._weigh()
        self._act(False)

    # -- time -------------------------------------------------------------------------------------

    @property
    def started(self) -> bool:
        return self._t0_ns is not None

    def step(self) -> int:
        return 0 if self._t0_ns is None else (process.now_ns() - self._t0_ns) // self.role.dt_ns

    def time_of(self, step: int) -> float:
        assert self._t0_ns is not None
        return (self._t0_ns + step * self.role.dt_ns) * 1e-9

    @property
    def wakes_at_s(self) -> float | None:
        """When its timer rings, on the event loop's clock; None: at no time."""
        return None if self._timer is None else self._timer.when()

    @property
    def _behind(self) -> int:
        """Steps that the committed state stays behind the present: what comes later than that is late."""
        grace = self.role.grace
        return max(grace, SHADOW_BEHIND_NS // self.role.dt_ns) if self.lease.shadow else grace

    def take_in(self) -> None:
        """Hand what was heard to the core, after committing what none of it can change any more."""
        if not self.inbox.waits or self._t0_ns is None:
            return
        self.settle()
        keys, sample_keys, sample_mv, pokes = self.inbox.take()
        self.core.deliver(keys, sample_keys, sample_mv, pokes)
        self.lease.protocol.keep(keys, pokes)
        if self._capture is not None and isinstance(self.core, Core):
            captured = self._capture["core"]
            in_time = self.core.in_time(keys[keys >> STEP_BITS <= captured["k"]], captured["k"])
            cut.capture_more(captured, in_time, sample_keys, sample_mv)

    def settle(self) -> None:
        if self._t0_ns is not None:
            self._advance(min(self.step() - self._behind, self.next_step - 1, self.core.limit))

    def commit(self, step: int) -> None:
        self._advance(step)

    def act(self) -> None:
        if self._t0_ns is not None and not self.ended:
            self._act(False)

    def _act(self, again: bool) -> None:
        """Emit what is due, and sleep until the core must act again. `again`: nothing arrived meanwhile."""
        now, limit, core = self.step(), self.core.limit, self.core
        if self.lease.shadow:
            self._follow(now, limit)
            return
        due = min(now, limit)
        if not core.looks_ahead:
            self._advance(due)
            self.next_step = core.k + core.window
        else:
            if again and core.predicts(self.next_step) and self.next_step <= due:
                self._advance(self.next_step)
            elif again:
                # Nothing came up to here: a slow decay is not run anew from where it began at every look.
                self._advance(min(now - self.role.grace, self.next_step - 1, limit))
            self.next_step = NEVER
            nearest = core.look(again, due, limit)
            while core.acts and nearest <= due:
                self._advance(nearest)
                nearest = core.look(again, due, limit)
            self.next_step = nearest
        self._sleep_for_next(now)

    def _follow(self, now: int, limit: int) -> None:
        """A shadow has nobody waiting for it: it runs well behind, and wakes for inputs and questions."""
        self._advance(min(now - self._behind, limit))
        self.next_step = NEVER
        if limit < NEVER and not self.ended:
            self.next_step = limit + self.role.grace + END_SHADOW_NS // self.role.dt_ns
            if now >= self.next_step:
                self.lease.happened(EndPassed())  # with the neuron its own it comes to the end at once
            else:
                self._sleep_until(self.time_of(self.next_step))

    def _sleep_for_next(self, now: int) -> None:
        """Until `_next`, when the core must act again; or end, if that lies beyond the end."""
        if self.next_step > self.core.limit:
            self.next_step = self.core.limit + self.role.grace
            if now >= self.next_step and not self.ended:
                self._end()
        if self.next_step < NEVER and not self.ended:
            self._sleep_until(self.time_of(self.next_step))

    def _sleep_until(self, when: float) -> None:
        """Arm the timer. One that is armed for earlier stays: it wakes, sees the time, and arms again."""
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = self.loop.call_at(when, self._wake)

    def _wake(self) -> None:
        self._timer = None
        if not self._attentive():
            self.hear()  # an act is due
            if self._timer is None and not self.ended:
                self._act(True)
        if self._attentive():
            self._readable()

    def _advance(self, to: int) -> None:
        """Commit, and publish what comes of it; stand still where weights or the state are wanted."""
        while self.role.weighed and self._weigh_at <= to:
            self._advance_past_capture(self._weigh_at)
            self._report_recorded()
            self._weigh_at += self.role.weigh_every
        self._advance_past_capture(to)

    def _advance_past_capture(self, to: int) -> None:
        if self.core.k < self._capture_at <= to:
            self._emit(self.core.advance(self._capture_at))
            self._take_capture()
        self._emit(self.core.advance(to))
        if self.role.keeps and isinstance(self.core, Core):
            self._keep(self.core)

    def _emit(self, emission: Emission) -> None:
        if len(emission.keys):
            keys = self.lease.protocol.withhold(emission.keys)
            self.outbox.count(keys)
            self.outbox.publish(keys)
        self.outbox.publish_samples(emission.sample_keys, emission.sample_mv)

    # -- the end ------------------------------------------------------------------------------------

    def _end(self) -> None:
        """The limit is reached and what was under way has had its grace: commit, and say that was all."""
        self._advance(self.core.limit)
        self.ended = True
        self.lease.happened(RunEnded())
        self.outbox.end()
        self._end_timer = self.loop.call_later(END_TIMEOUT_S, self._final)
        self._maybe_end()

    def _maybe_end(self) -> None:
        if self.ended and self.inbox.all_ended:
            self._final()

    def _final(self) -> None:
        if not self._reported:
            self._reported = True
            self._end_timer.cancel()
            self._report_final(self.inbox.gaps(), self.inbox.unended())

    # -- weights and snapshots -------------------------------------------------------------------------

    def _weigh(self) -> None:
        """Stand at the next step of which weights are recorded as soon as nothing in time can change it."""
        self.hear()
        if self.ended:
            return
        now = self.step() - self._behind
        if now >= self._weigh_at:
            self._advance(min(now, self.core.limit))
            self._act(False)
        self.loop.call_at(self.time_of(self._weigh_at + self._behind + 1), self._weigh)

    def _keep(self, core: Core) -> None:
        """Write a snapshot where weights have changed since the last."""
        now = core.learnt()
        if self._kept is not None and np.array_equal(now, self._kept):
            return
        first, self._kept = self._kept is None, now.copy()
        if first or self.role.snapshots is None:
            return
        try:
            path = write_snapshot(self.role.snapshots, self.role.name, core.k, self.state())
        except OSError:
            return  # the next of the regular ones says so
        if self._kept_in is not None and self._kept_in != path:
            self._kept_in.unlink(missing_ok=True)
        self._kept_in = path

    def _begin_capture(self, step: int) -> None:
        self._capture_at, self.outbox.sent = max(step, self.core.k), cut.Sent()
        due_s = self.time_of(self._capture_at + self.role.grace) - process.now_ns() * 1e-9
        hearing_s = 0.0 if self.ended and self.inbox.all_ended else HEARING_S
        self.loop.call_later(max(0.0, due_s + hearing_s), self._write_capture)

    def _take_capture(self) -> None:
        """The state at the step agreed on, without inputs stamped later: their senders will repeat them."""
        state = self.state()
        if isinstance(self.core, Core):
            state["core"] = cut.without_later(state["core"])
        if self.outbox.sent is not None:
            self.outbox.sent.at = self.role.epoch, self.core.seq, self.core.sample_seq
        self._capture, self._capture_at = state, NEVER

    def _write_capture(self) -> None:
        self.hear()
        self.take_in()
        if self._capture_at < NEVER:
            self._advance(self._capture_at)
            if self._capture_at < NEVER:
                self._take_capture()
            self._act(False)
        state, self._capture = self._capture, None
        if state is None:
            return
        # As of now, not of the step: what has been heard since, and is stamped up to it, is in the state.
        state["ledgers"] = self.inbox.dump()
        sent, self.outbox.sent = self.outbox.sent, None
        if sent is not None:
            if self.lease.shadow:
                sent.at = None  # only the board knows how many it has sent
            state["sent"] = sent.dump(state["core"]["k"])
        self.save(state)
