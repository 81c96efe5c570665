"""The core of sources: what they emit is known without inputs, as far ahead as one likes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neurobus.model import Array
from neurobus.node.interface import NO_KEYS, NOTHING, STEP_BITS, Emission, Keys, Poke
from neurobus.node.kernel.layout import FIRST_LOOK, LONGEST_LOOK
from neurobus.parts import SourcePart
from neurobus.wire.bus import EPOCH_BITS, NEVER

BLOCK = 1000
"""Steps that sources are asked for at a time, at least."""


class SourceCore:
    """K sources, as `interface.AnyCore`; a poke makes one fire."""

    kernel_only, looks_ahead, window = False, True, NEVER
    deliveries = sample_seq = spikes_sent = samples_sent = 0
    """Nothing acts on a source, and it has no potential."""

    def __init__(self, part: SourcePart):
        self.part, self.k, self.late = part, 0, 0
        self.acts, self.nearest, self.limit = 0, 0, NEVER
        self.seq, self.epoch, self.duty_number = 0, 0, 0
        self._poked = NO_KEYS
        self._block = 0, 0, NO_KEYS

    def answers_as(self, head: bytes, epoch: int) -> None:
        self.epoch, self.duty_number = epoch, epoch << EPOCH_BITS

    def deliver(self, keys: Keys, sample_keys: Keys, sample_mv: Array, pokes: Sequence[Poke]) -> None:
        for poke in pokes:
            self.poke(*poke)

    def poke(self, step: int, neuron: int, weight: float) -> bool:
        """The source fires in update `step`, whatever the weight. False: late, it fires at once."""
        late = step < self.k
        self.late += late
        self.acts = 0
        self._poked = np.append(self._poked, (max(step, self.k) + 1) << STEP_BITS | neuron)
        return not late

    def advance(self, to: int) -> Emission:
        if to <= self.k:
            return NOTHING
        emission = Emission(self._stamps(self.k, to))
        self.k = to
        if len(self._poked):
            self._poked = self._poked[self._poked >> STEP_BITS > to]
        return emission

    def look(self, again: bool = False, through: int = 0, limit: int = NEVER) -> int:
        k0, length, self.acts = self.k, FIRST_LOOK, 0
        while not self.acts and k0 < min(limit, max(through, self.k + 64 * LONGEST_LOOK)):
            keys = self._stamps(k0, k0 + length)
            self.acts = int(len(keys) > 0)
            k0, length = (int(keys[0]) >> STEP_BITS if self.acts else k0 + length), length * 4
        self.nearest = k0 if self.acts else min(k0 + 1, NEVER)
        return self.nearest

    def predicts(self, step: int) -> bool:
        return bool(self.acts) and self.nearest == step

    def duty(
        self, to: int, keys: bytes, sample_keys: bytes, sample_mv: bytes, stimuli: list[list[float]] | None
    ) -> tuple[Emission, int]:
        for step, neuron, weight in stimuli or ():
            self.poke(int(step), int(neuron), weight)
        return self.advance(to), self.look(limit=self.limit)

    def potential_mv(self, at: int = 0) -> Array:
        return np.zeros(len(self.part.index))

    def dump(self) -> dict[str, Any]:
        return {"k": self.k, "poked": self._poked.tobytes()}

    def restore(self, saved: dict[str, Any]) -> None:
        self.k, self._poked = saved["k"], np.frombuffer(saved["poked"], np.int64).copy()

    def _stamps(self, k0: int, k1: int) -> Keys:
        """What is emitted at steps k0 < s <= k1, by plan and by pokes."""
        first, last, keys = self._block
        if k0 < first or k1 > last:
            # Looked at again and again while time goes on, and each source costs some 30 µs a question.
            first, last = min(k0, self.k), max(k1, self.k + BLOCK)
            keys = self._planned(first, last)
            self._block = first, last, keys
        lo, hi = np.searchsorted(keys, ((k0 + 1) << STEP_BITS, (k1 + 1) << STEP_BITS))
        keys = keys[lo:hi]
        if len(self._poked):
            stamps = self._poked >> STEP_BITS
            keys = np.sort(np.concatenate([keys, self._poked[(stamps > k0) & (stamps <= k1)]]))
        return keys

    def _planned(self, k0: int, k1: int) -> Keys:
        part, found = self.part, []
        for n, index in enumerate(part.index.tolist()):
            p: dict[str, Any] = {name: float(values[n]) for name, values in part.params.items()}
            if n in part.times:
                p["times"] = part.times[n]
            if n in part.shown:
                p["shown"] = part.shown[n]
            steps = part.model.stamps(p, part.keys[n], part.dt_ns, k0, k1)
            found.append(steps << STEP_BITS | index)
        return found[0] if len(found) == 1 else np.sort(np.concatenate(found))
