"""A neuron on loan to a board: what its process, the *shadow*, knows of it. Pure.

A loan has three stages.

    preparing   the process owns its neuron, and keeps what it hears: after `max_delay` steps that is all a
                board needs beside the state (spikes whose effect is still to come)
    ceding      agreed: the process publishes its spikes up to and with step `from_step`, the board later ones
    shadow      the board owns; the process runs on with the same inputs and withholds its spikes

A withheld spike that the board published too is matched. One of either side alone, at a step up to which
the board has told everything, is a disagreement. When the board fails, the withheld spikes that it had not
published are published late; so none is lost, and none comes twice.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.int64]
STEP_BITS = 32


class Stage(Enum):
    PREPARING = "preparing"
    CEDING = "ceding"
    SHADOW = "shadow"


@dataclass(slots=True)
class Loan:
    """`claim` names who asked (one bridge and board), `epoch` is the board's. Steps are integers."""

    claim: str
    board: str
    epoch: int
    since: int
    stage: Stage = Stage.PREPARING
    from_step: int = 0
    horizon: int = 0
    """The board has told all it did up to here."""
    beside: bool = False
    """The board has been given the state: it runs beside the process, or catches up."""
    agreed: int = 0
    disagreements: int = 0
    mine: list[int] = field(default_factory=list)
    theirs: list[int] = field(default_factory=list)
    _keys: list[Keys] = field(default_factory=list)
    _pokes: list[tuple[int, int, float]] = field(default_factory=list)

    # -- spikes -----------------------------------------------------------------------------------

    def cede(self, step: int) -> None:
        """The board's spikes are those after `step`."""
        self.stage, self.from_step, self.horizon = Stage.CEDING, step, step

    def fired(self, steps: list[int]) -> None:
        """The shadow fired, in ascending order."""
        self.mine += steps

    def heard(self, steps: list[int]) -> None:
        """The board published these."""
        self.theirs += steps

    def compare(self, horizon: int, committed: int) -> tuple[list[int], list[int]]:
        """The board has told everything up to `horizon`, the shadow has run to `committed`. Returns the steps
        at which only the shadow, and only the board, fired; they are counted and forgotten."""
        self.horizon = max(self.horizon, horizon)
        to = min(self.horizon, committed)
        self.theirs.sort()
        mine, self.mine = self.mine[: bisect_right(self.mine, to)], self.mine[bisect_right(self.mine, to) :]
        at = bisect_right(self.theirs, to)
        theirs, self.theirs = self.theirs[:at], self.theirs[at:]
        both = set(mine) & set(theirs)
        self.agreed += len(both)
        alone = [s for s in mine if s not in both], [s for s in theirs if s not in both]
        self.disagreements += len(alone[0]) + len(alone[1])
        return alone

    @property
    def told(self) -> int:
        """The last step of which the board has told something."""
        return max(self.horizon, max(self.theirs, default=0))

    def has(self, step: int) -> bool:
        """Whether the board has told whether it fired at this step."""
        return step <= self.horizon or step in self.theirs

    def withheld(self) -> list[int]:
        """The shadow's spikes that the board has not published and can no more: those after its horizon."""
        return [step for step in self.mine if not self.has(step)]

    # -- inputs -----------------------------------------------------------------------------------

    def keep(self, keys: Keys) -> None:
        """Spikes that arrived, keys `stamp << 32 | source`."""
        if len(keys):
            self._keys.append(keys.copy())

    def keep_poke(self, step: int, neuron: int, weight: float) -> None:
        """A stimulus that acts in update `step`."""
        self._pokes.append((step, neuron, weight))

    def inputs(self, step: int, max_delay: int) -> tuple[Keys, list[tuple[int, int, float]]]:
        """What a neuron that stands at `step` has yet to feel: every spike stamped after `step - max_delay`
        (the effects of some of them are past, by their synapse's delay), and every stimulus from there."""
        keys = np.concatenate(self._keys) if self._keys else np.empty(0, np.int64)
        keys = np.sort(keys[keys >> STEP_BITS > step - max_delay])
        return keys, [poke for poke in self._pokes if poke[0] >= step]

    def forget(self, step: int, max_delay: int) -> None:
        """Nobody will ask for what a neuron before `step` had to feel."""
        if len(self._keys) > 64 or len(self._pokes) > 64:
            keys, self._pokes = self.inputs(step, max_delay)
            self._keys = [keys]
