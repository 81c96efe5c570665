"""A board under the virtual clock: the conductor's duties take the place of time. Sans-IO.

Board and shadow both do each duty. Until the board owns the neuron the process answers, once we have
acknowledged that the board is through; then we answer, when both have done it, with the board's spikes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from neurobus.bridge.handover import Event, HandOver, Stage
from neurobus.bridge.lease import LeaseTerms
from neurobus.bridge.pace import Pace, Trial, Trials
from neurobus.bridge.replica import STEP_BITS, Replica, of_keys
from neurobus.bridge.session import Stage as SessionStage
from neurobus.bridge.weight_check import Resync, WeightCheck
from neurobus.events import Spikes, Stimulus
from neurobus.wire import bus as wire
from neurobus.wire import lease as messages

BESIDE_DUTIES = 20
"""So many duties board and process must have done side by side before anything changes hands."""


@dataclass(slots=True)
class Under:
    """A duty on its way. `ours` to answer; `ticks` at which the board fired in it; `done` by the board."""

    duty: wire.Duty
    ours: bool
    ticks: list[int] = field(default_factory=list)
    done: bool = False


class SteppedPace(Pace):
    def __init__(self, hand: HandOver, replica: Replica, resync: Resync, check: WeightCheck):
        super().__init__(hand, replica)
        self._resync, self._check = resync, check
        self._duties: deque[Under] = deque()
        self._doing: Under | None = None
        self._shadow: dict[int, messages.ShadowAnswer] = {}
        self._agreed = 0
        self._cede_marked = False
        self._seq = self._sample_seq = 0
        self._strip_ns = 0

    # -- the hand-over ----------------------------------------------------------------------------------

    def begin(self, terms: LeaseTerms) -> list[str]:
        self._cede_marked = False
        self._seq = self._sample_seq = 0
        return []

    def restart(self) -> None:
        self._duties.clear()
        self._shadow.clear()
        self._doing, self._agreed = None, 0

    def catch_up(self, now: float) -> None:
        self._next(now)

    def cede(self, now: float) -> int:
        return 0

    def own(self, from_step: int, now: float) -> None:
        self.figures.gap_ms = 0.0

    def leave(self, now: float) -> bool:
        return False  # at the end of a duty board and shadow stand at one step

    def compared(self, now: float) -> Trials:
        if self._doing is not None:
            yield from self._maybe_answer(now)
        else:
            yield Trial(Event.COMPARED)

    # -- duties -----------------------------------------------------------------------------------------

    def cede_came_back(self) -> None:
        self._cede_marked = True  # duties from here on are ours

    def duty(self, duty: wire.Duty, now: float) -> None:
        off = self.hand.stage in (Stage.AWAY, Stage.OVER, Stage.LENDING)
        if self.replica.marked and not off and duty.order is not wire.Order.CATCH_UP:
            self._duties.append(Under(duty, self._cede_marked))
            self._next(now)

    def _next(self, now: float) -> None:
        if self._doing is not None or not self._duties or self.replica.base is None:
            return
        if self.session.stage is not SessionStage.STEPPED:
            return
        self._doing = self._duties.popleft()
        duty = self._doing.duty
        self.replica.feed(of_keys(duty.keys))
        for step, _, weight in duty.stimuli or ():
            self.replica.kick(int(step), float(weight))
        self._strip_ns = duty.horizon * self.lease.port.dt_ns
        self.session.go(duty.horizon, now)

    def fired(self, tick: int) -> None:
        if self._doing is not None:
            self._doing.ticks.append(tick)

    def done(self, tick: int, now: float) -> Trials:
        doing = self._doing
        if doing is None:
            return
        if doing.ours:
            doing.done = True
            yield from self._maybe_answer(now)
            return
        # The process answers, and what it fired is heard as anybody hears it.
        self._doing = None
        self.lease.send(messages.Acknowledge(self.lease.claim, doing.duty.number))
        self._shadow.pop(doing.duty.number, None)
        self._agreed += 1
        if self.hand.stage is Stage.CATCHING_UP and not self._duties:
            self._agreed = 0
            yield Trial(Event.CAUGHT_UP)
        if self.hand.stage is Stage.BESIDE and not self._duties and self._agreed >= BESIDE_DUTIES:
            yield Trial(Event.AGREED)
        self._next(now)

    def shadow(self, answer: messages.ShadowAnswer, now: float) -> Trials:
        self._shadow[answer.number] = answer
        yield from self._maybe_answer(now)

    def _maybe_answer(self, now: float) -> Trials:
        """Answer the duty under way, if board and shadow have both done it."""
        doing = self._doing
        if doing is None or not doing.done or self._check.under_way:
            return
        shadow = self._shadow.get(doing.duty.number)
        if shadow is None:
            return
        ends = doing.duty.order is wire.Order.STOP or self.hand.stage is Stage.LEAVING
        if ends and not (self._check.begun or self._resync.under_way):
            # Both stand at the end of this duty, and get no other before it is answered.
            self._check.start(now)
            return
        del self._shadow[doing.duty.number]
        yield from self._answer(doing, shadow)
        self._doing = None
        if self.hand.stage is Stage.LEAVING:
            yield Trial(Event.COMPARED)
        else:
            self._next(now)

    def _answer(self, doing: Under, shadow: messages.ShadowAnswer) -> Trials:
        """The board's spikes; all else is the shadow's."""
        index, next_step = self.lease.granted.index, shadow.next_step
        keys = np.array([tick << STEP_BITS | index for tick in doing.ticks], np.int64).tobytes()
        if keys != shadow.keys:
            alone = np.setxor1d(np.frombuffer(keys, np.int64), np.frombuffer(shadow.keys, np.int64))
            next_step = min(next_step, doing.duty.horizon + 1)
            yield Trial(Event.DISTURBED, len(alone))
        samples = shadow.sample_keys
        firsts = [int(np.frombuffer(k, np.int64)[0]) >> STEP_BITS for k in (keys, samples) if k]
        answer = wire.Answer(
            doing.duty.number, self.lease.granted.epoch, next_step, min(firsts, default=-1), self._seq, keys,
            self._sample_seq, samples, shadow.sample_mv,
        )  # fmt: skip
        self._seq += len(doing.ticks)
        self._sample_seq += len(samples) // 8
        self.figures.spikes += len(doing.ticks)
        if doing.duty.order is wire.Order.STOP:
            self.lease.port.answered_last()
        self.lease.port.publish(wire.frame(wire.topic(wire.ANSWER, self.lease.neuron), tuple(answer)))

    # -- what a duty brings, or the process says ------------------------------------------------------

    def late(self) -> None: ...

    def owner_spikes(self, event: Spikes) -> None: ...

    def stimulus(self, event: Stimulus) -> None: ...

    # -- stamps -----------------------------------------------------------------------------------------

    @property
    def horizon(self) -> int:
        return 0

    def poke_ns(self, tick: int) -> int:
        return -1  # the conductor says when, and a duty brings it

    def strip_ns(self, now: float) -> int:
        return self._strip_ns
