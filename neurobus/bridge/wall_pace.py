"""A board under the wall clock: it catches up with the present, then keeps time by itself. Sans-IO."""

from __future__ import annotations

from neurobus.bridge.handover import Event, HandOver, Stage
from neurobus.bridge.lease import LeaseTerms
from neurobus.bridge.pace import Pace, Trial, Trials
from neurobus.bridge.replica import Replica
from neurobus.events import Spikes, Stimulus
from neurobus.wire import bus as wire
from neurobus.wire import lease as messages

BESIDE_S = 0.2
"""How long board and process must agree before anything changes hands."""
CEDE_LEAD_S = 0.01
SETTLED_S = 0.03
"""What a process fired has been heard after so long."""
UNHEARD_S = 0.2
"""What has not been heard after so long never will be: on a busy machine a side may be slow to tell."""
MARGIN_S = 0.002
"""A board that catches up goes no nearer to what may still arrive than this."""
CLOSE_S = 0.02
"""So near to the present it goes on by its own clock."""
LAG_MORE_S, LAG_MOST_S = 0.002, 0.025
"""Where inputs come late the board is let run farther behind, unless somebody has said how far."""


class WallPace(Pace):
    """`lag_s`: how far behind the bus, if somebody has said; None: by the network's smallest delay."""

    def __init__(self, hand: HandOver, replica: Replica, lag_s: float | None):
        super().__init__(hand, replica)
        self._given_lag_s = lag_s
        self._dt_s = self.lease.port.dt_ns * 1e-9
        self._goal = self._reported = self._seq = self._from_step = 0
        self._beside_from, self._beside_s = 0, 0.0
        self._board: list[int] = []
        """Steps at which the board fired: those that are not compared yet, or held back."""
        self._owner: list[int] = []

    def _step(self, now: float) -> int:
        return int((now - self.lease.port.t0_s) * 1e9) // self.lease.port.dt_ns

    # -- the hand-over ----------------------------------------------------------------------------------

    def begin(self, terms: LeaseTerms) -> list[str]:
        self._reported = self._seq = 0
        usual_s = usual_lag_s(terms.min_delay * self.lease.port.dt_ns)
        self.lag_s = usual_s if self._given_lag_s is None else self._given_lag_s
        return [*terms.heard, self.lease.neuron]

    def restart(self) -> None:
        self._owner.clear()

    def catch_up(self, now: float) -> None:
        self._board.clear()
        self._chase(now)

    def _chase(self, now: float) -> None:
        """As far as all inputs are known: what acts in an update was fired a smallest delay before."""
        spare_s = min((self.lease.granted.min_delay - 1) * self._dt_s, 2 * MARGIN_S)
        known_s = now - self.lease.port.t0_s - MARGIN_S + spare_s
        self._goal = max(int((known_s - self.lag_s) / self._dt_s), self.session.at)
        self.session.go(self._goal, now)

    def done(self, tick: int, now: float) -> Trials:
        stage = self.hand.stage
        if self.hand.owns:
            self._reported = max(self._reported, tick)
        elif stage is Stage.CATCHING_UP and tick >= self._goal:
            behind_s = now - self.lease.port.t0_s - tick * self._dt_s
            if behind_s > CLOSE_S + self.lag_s or not self.session.sync.ready:
                self._chase(now)
                return
            # Update k ends at step k + 1, and what acts in it may come until then.
            self.session.run(self.lease.port.t0_s + self._dt_s + self.lag_s, self._dt_s, now)
            self._beside_s, self._beside_from = now, tick
            yield Trial(Event.CAUGHT_UP)
        elif stage is Stage.BESIDE:
            yield from self._compare(now)

    def _compare(self, now: float) -> Trials:
        """Side by side: the same spikes for a while, then the neuron changes hands."""
        to = min(self.session.at, self._step(now - SETTLED_S))
        mine = {step for step in self._board if self._beside_from < step <= to}
        theirs = {step for step in self._owner if self._beside_from < step <= to}
        if alone := mine ^ theirs:
            if min(alone) <= self._step(now - UNHEARD_S):
                yield Trial(Event.DISTURBED, len(alone))
            return
        self._beside_from = max(self._beside_from, to)
        self._board = [step for step in self._board if step > to]
        self._owner = [step for step in self._owner if step > to]
        if now - self._beside_s >= BESIDE_S:
            yield Trial(Event.AGREED)

    def cede(self, now: float) -> int:
        return self._step(now + CEDE_LEAD_S)

    def own(self, from_step: int, now: float) -> None:
        self._from_step, held, self._board = from_step, self._board, []
        held = [step for step in held if step > from_step]
        self._publish(held)
        waited_s = now - self.lease.port.t0_s - held[0] * self._dt_s - self.lag_s if held else 0.0
        self.figures.gap_ms = round(max(waited_s, 0.0) * 1000, 3)

    def leave(self, now: float) -> bool:
        return True

    def compared(self, now: float) -> Trials:
        yield Trial(Event.COMPARED)

    # -- what happens -----------------------------------------------------------------------------------

    @property
    def horizon(self) -> int:
        """The session is ahead of it by what has come and is not handled yet."""
        return self._reported

    def fired(self, tick: int) -> None:
        if not self.hand.owns:
            self._board.append(tick)
            return
        self.figures.spikes += 1
        if tick > self._from_step:
            self._publish([tick])

    def _publish(self, ticks: list[int]) -> None:
        if ticks:
            self.lease.spikes(self._seq, ticks)
            self._seq += len(ticks)

    def late(self) -> None:
        if self._given_lag_s is None:
            self.lag_s = min(self.lag_s + LAG_MORE_S, LAG_MOST_S)

    def owner_spikes(self, event: Spikes) -> None:
        if self.lease.terms is not None and event.epoch < self.lease.terms.epoch:
            self._owner += [t // self.lease.port.dt_ns for t in event.t_ns]

    def stimulus(self, event: Stimulus) -> None:
        self.replica.poke(event.t_ns // self.lease.port.dt_ns, event.weight)

    def cede_came_back(self) -> None: ...

    def duty(self, duty: wire.Duty, now: float) -> None: ...

    def shadow(self, answer: messages.ShadowAnswer, now: float) -> Trials:
        yield from ()

    def poke_ns(self, tick: int) -> int:
        return tick * self.lease.port.dt_ns

    def strip_ns(self, now: float) -> int:
        return max(0, int((now - self.lease.port.t0_s) * 1e9))


def usual_lag_s(min_delay_ns: int) -> float:
    """Half of what the smallest delay leaves beyond 2 ms for the bus and the line, at most 5 ms. What listens
    can be late by its grace and still be exact; a board cannot."""
    return min(max(min_delay_ns * 1e-9 - 0.002, 0.0) / 2, 0.005)
