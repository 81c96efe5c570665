"""What a process keeps while a board carries its neuron, or is about to: two books. Pure.

`Comparison`: a spike that the process withholds and the board publishes too is matched. One of either side
alone, at a step up to which the board has told everything, is a disagreement. When the board fails, the
withheld spikes that it had not published are published late; so none is lost, and none comes twice.

`KeptInputs`: what the neuron hears. After `max_delay` steps that is all a board needs beside the state:
spikes whose effect is still to come.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np

from neurobus.node.interface import STEP_BITS, Keys, Poke

FEW = 64
"""Batches of inputs that are kept before old ones are looked for."""


@dataclass(slots=True)
class Comparison:
    """Spikes of one neuron by both sides. All are steps."""

    horizon: int = 0
    """The board has told all it did up to here."""
    agreed: int = 0
    disagreements: int = 0
    mine: list[int] = field(default_factory=list)
    theirs: list[int] = field(default_factory=list)

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
        at_mine, at_theirs = bisect_right(self.mine, to), bisect_right(self.theirs, to)
        mine, self.mine = self.mine[:at_mine], self.mine[at_mine:]
        theirs, self.theirs = self.theirs[:at_theirs], self.theirs[at_theirs:]
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


@dataclass(slots=True)
class KeptInputs:
    """Spikes and stimuli that arrived."""

    keys: list[Keys] = field(default_factory=list)
    pokes: list[Poke] = field(default_factory=list)

    def keep(self, keys: Keys, pokes: list[Poke]) -> None:
        """Spikes as int64 keys `stamp << 32 | source`."""
        if len(keys):
            self.keys.append(keys.copy())
        self.pokes += pokes

    def inputs(self, step: int, max_delay: int) -> tuple[Keys, list[Poke]]:
        """What a neuron that stands at `step` has yet to feel: every spike stamped after `step - max_delay`
        (the effects of some of them are past, by their synapse's delay), and every stimulus from there."""
        keys = np.concatenate(self.keys) if self.keys else np.empty(0, np.int64)
        keys = np.sort(keys[keys >> STEP_BITS > step - max_delay])
        return keys, [poke for poke in self.pokes if poke[0] >= step]

    def forget(self, step: int, max_delay: int) -> None:
        """Nobody will ask for what a neuron before `step` had to feel."""
        if len(self.keys) > FEW or len(self.pokes) > FEW:
            keys, self.pokes = self.inputs(step, max_delay)
            self.keys = [keys]
