"""What a process runs: a core, of neurons or of sources. What goes in and what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from neurobus.model import Array
from neurobus.wire.bus import NEVER

Keys = npt.NDArray[np.int64]
"""`step << STEP_BITS | neuron`, the neuron by its wire index."""
Poke = tuple[int, int, float]
"""Step of the update in which it acts, wire index of the neuron, weight in the neuron's unit."""

STEP_BITS = 32
NEURON_MASK = 0xFFFFFFFF
NO_KEYS: Keys = np.empty(0, np.int64)
NO_MV: Array = np.empty(0)


@dataclass(slots=True)
class Emission:
    """What a core emitted: spikes as keys, samples likewise with mV; ascending."""

    keys: Keys = field(default_factory=lambda: NO_KEYS)
    sample_keys: Keys = field(default_factory=lambda: NO_KEYS)
    sample_mv: Array = field(default_factory=lambda: NO_MV)

    @property
    def first(self) -> int:
        """Step of the earliest emission, -1 for none."""
        steps = [int(keys[0]) >> STEP_BITS for keys in (self.keys, self.sample_keys) if len(keys)]
        return min(steps, default=-1)

    def __bool__(self) -> bool:
        return bool(len(self.keys) or len(self.sample_keys))


NOTHING = Emission()


def joined(parts: Sequence[Emission]) -> Emission:
    """Emissions of successive stretches of time as one."""
    parts = [part for part in parts if part]
    if len(parts) < 2:
        return parts[0] if parts else NOTHING
    return Emission(
        np.concatenate([part.keys for part in parts]),
        np.concatenate([part.sample_keys for part in parts]),
        np.concatenate([part.sample_mv for part in parts]),
    )


class AnyCore(Protocol):
    """What `Core` and `SourceCore` have in common. Times are steps; everything stamped up to `k` has been
    emitted and cannot be taken back."""

    k: int
    limit: int
    """Nobody wants to know what lies beyond this step."""
    acts: int
    nearest: int
    """What the last look found: whether anything is emitted at step `nearest`, or that nothing is before
    it."""
    late: int
    deliveries: int
    epoch: int
    seq: int
    sample_seq: int
    """Spikes and samples sent in this epoch."""
    duty_number: int
    """Of the last duty carried out."""

    @property
    def spikes_sent(self) -> int:
        """Spikes that left by compiled code."""

    @property
    def samples_sent(self) -> int:
        """Samples that did."""

    @property
    def kernel_only(self) -> bool:
        """Whether compiled code can do all there is to do: receive, react and send."""

    @property
    def looks_ahead(self) -> bool:
        """False: it is advanced window by window."""

    @property
    def window(self) -> int:
        """Steps after which something that is put out now can act elsewhere, at the earliest."""

    def answers_as(self, head: bytes, epoch: int) -> None:
        """Answers begin with `head`, their topic, and are of this epoch, as are the duties."""

    def deliver(self, keys: Keys, sample_keys: Keys, sample_mv: Array, pokes: Sequence[Poke]) -> None:
        """What has arrived, in any order."""

    def advance(self, to: int) -> Emission:
        """Commit up to step `to`; what was emitted on the way."""

    def look(self, again: bool = False, through: int = 0, limit: int = NEVER) -> int:
        """The step of the next emission if nothing more arrives; `acts` tells whether there is one.

        Where there is none, nothing is emitted before the step returned, which lies beyond `through`; ask
        once more then. NEVER: at rest for good. `again`: nothing arrived since the last look, so look
        farther. Nobody wants to know of what lies beyond `limit`.
        """

    def predicts(self, step: int) -> bool:
        """Whether the last look ended with an emission at this step, and nothing has arrived since."""

    def duty(
        self, to: int, keys: bytes, sample_keys: bytes, sample_mv: bytes, stimuli: list[list[float]] | None
    ) -> tuple[Emission, int]:
        """Take inputs as the conductor packs them, all that act before `to` and perhaps later ones too,
        commit to `to`, and look ahead. Returns what was emitted and the step before which nothing more will
        be."""

    def potential_mv(self, at: int = 0) -> Array:
        """Membrane potentials (K,), absolute mV: at the committed step, or at step `at` if that is later, as
        they will be when nothing more arrives and nothing is emitted before."""

    def dump(self) -> dict[str, Any]:
        """The committed state with everything that waits: plain values for a snapshot."""

    def restore(self, saved: dict[str, Any]) -> None:
        """Take a state from `dump`. Raises ValueError when it is of another network."""
