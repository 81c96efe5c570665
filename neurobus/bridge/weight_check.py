"""The board's state, read back: to put its shadow right, and to compare their weights. Sans-IO.

Spikes tell nothing of a weight that no sample has asked for since it was learnt. So when a board is detached,
or the run ends, its weights are read, the process is asked for the shadow's, and the two are compared. Only
what differs where both stand at one step is counted: by the wall clock the shadow may have learnt on already.
"""

from __future__ import annotations

import numpy as np

from neurobus.bridge.handover import NEVER, RETURN_S
from neurobus.bridge.image import State
from neurobus.bridge.replica import Replica
from neurobus.wire import lease as messages


class Resync:
    """Copies the board's state to its shadow."""

    def __init__(self, replica: Replica):
        self._lease, self._replica = replica.lease, replica
        self.under_way = False
        self.step = 0
        """The shadow has been put right up to here."""

    def start(self, now: float) -> None:
        if not self.under_way:
            self.under_way = True
            self._replica.read(now)

    def read(self, state: State, now: float) -> None:
        """The board's state has come."""
        if state.waiting:
            # Inputs of the next update stand in it already: the shadow would feel them twice. Once more.
            self._replica.read(now)
            return
        self.step = state.tick
        self._replica.figures.mended += 1
        self._lease.resync(state)


class WeightCheck:
    """One comparison a lease, begun by `start`."""

    def __init__(self, replica: Replica):
        self._lease, self._replica = replica.lease, replica
        self.under_way = self.begun = False
        self.deadline_s = NEVER
        self._mine: State | None = None

    def start(self, now: float) -> None:
        self.under_way = self.begun = True
        self._mine, self.deadline_s = None, now + RETURN_S
        self._replica.read(now)

    def stop(self) -> None:
        self.under_way, self.deadline_s = False, NEVER

    def read(self, state: State) -> None:
        """The board's state has come."""
        self._mine = state
        self._lease.send(messages.AskWeights(self._lease.claim, state.tick))

    def compare(self, theirs: messages.ShadowWeights) -> int:
        """How many weights of the board are not its shadow's."""
        mine, terms, figures = self._mine, self._lease.terms, self._replica.figures
        if mine is None or terms is None:
            return 0
        ours, shadow = terms.chip.whole(mine.weight), terms.chip.whole(np.frombuffer(theirs.weight))
        off = int(np.count_nonzero(ours != shadow))
        if off and (theirs.step != mine.tick or mine.waiting):
            return 0
        figures.weighed += len(shadow)
        figures.weights_off += off
        return off
