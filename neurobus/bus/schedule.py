"""The conductor's rule, pure: who may run how far, given what everybody has said so far.

Every process p has said `bound[p]`: it emits nothing stamped before that step unless it is told more.
A process with waiting inputs counts with the earliest step at which they can make it emit. Let d[p] be the
smallest delay of what p emits: that of spikes, or of potentials, where it tells any that are sooner. What is
emitted acts in no update before h = min(bound + d) - 1, so every process with bound <= h may run to the state
of step h at once: one message with all its inputs, one answer. Time jumps over every step at which nobody had
anything to do.

The spikes do not depend on who answers first: inputs of one step are summed in the order of their
sources (see `node.kernel.lookahead`), and a round is complete before the next begins. (Conservative parallel
simulation with lookahead: Chandy & Misra 1979, doi:10.1109/TSE.1979.230182.)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neurobus.wire.bus import NEVER


class Schedule:
    """Bounds and inboxes of all processes. Steps are integers; keys and potentials stay packed bytes."""

    def __init__(
        self,
        n: int,
        min_delay: int,
        spike_targets: list[list[tuple[int, int]]],
        sample_targets: list[list[tuple[int, int]]],
    ):
        """`…_targets[p]`: (process, smallest delay in steps from p to it), without p itself."""
        # What p emits acts elsewhere no sooner than `_reach[p]` steps later.
        samples = [min((delay for _, delay in links), default=min_delay) for links in sample_targets]
        self._reach: npt.NDArray[np.int64] = np.minimum(np.array(samples, np.int64), min_delay)
        self.bound: npt.NDArray[np.int64] = np.ones(n, np.int64)
        # What waits in an inbox bounds its process whatever the process itself says: an answer to a
        # duty sent before that arrived must not lift the bound.
        self._waiting = [NEVER] * n
        self.horizon = 0
        self.rounds = 0
        self._spike_targets, self._sample_targets = spike_targets, sample_targets
        self._keys: list[list[bytes]] = [[] for _ in range(n)]
        self._sample_keys: list[list[bytes]] = [[] for _ in range(n)]
        self._sample_mv: list[list[bytes]] = [[] for _ in range(n)]
        self._stimuli: list[list[list[float]]] = [[] for _ in range(n)]

    def next_step(self) -> int:
        """t*: nothing happens before this step."""
        return int(self.bound.min())

    def round(self, limit: int) -> list[int]:
        """The processes to run now, to `self.horizon` <= `limit`. Empty: nothing happens up to `limit`."""
        if int(self.bound.min()) > limit:
            return []
        # NEVER leaves room for a delay.
        self.horizon = max(self.horizon, min(int((self.bound + self._reach).min()) - 1, limit))
        self.rounds += 1
        return np.flatnonzero(self.bound <= self.horizon).tolist()

    def joined(self, active: list[int], sources: npt.NDArray[np.int64], to: int) -> list[int]:
        """The round with all sources that would act up to `to`: where one runs ahead, all do, else each would
        wake their common targets at a time of its own."""
        return sorted({*active, *sources[self.bound[sources] <= to].tolist()})

    def take(self, p: int) -> tuple[bytes, bytes, bytes, list[list[float]] | None]:
        """Empty the inbox of p: spikes, sample keys, sample potentials, stimuli."""
        keys, sample_keys, sample_mv, stimuli = (
            b"".join(self._keys[p]),
            b"".join(self._sample_keys[p]),
            b"".join(self._sample_mv[p]),
            self._stimuli[p],
        )
        self._keys[p], self._stimuli[p] = [], []
        if sample_keys:
            self._sample_keys[p], self._sample_mv[p] = [], []
        self._waiting[p] = NEVER
        return keys, sample_keys, sample_mv, stimuli or None

    def answer(
        self, p: int, next_step: int, first: int, keys: bytes, sample_keys: bytes, sample_mv: bytes
    ) -> None:
        """Process p ran to the horizon and emitted this, the earliest of it at step `first` (-1: nothing)."""
        self.bound[p] = min(next_step, self._waiting[p])
        if first < 0:
            return
        if keys:
            for q, delay in self._spike_targets[p]:
                self._keys[q].append(keys)
                self._waits(q, first + delay)
        if sample_keys:
            for q, delay in self._sample_targets[p]:
                self._sample_keys[q].append(sample_keys)
                self._sample_mv[q].append(sample_mv)
                self._waits(q, first + delay)

    def _waits(self, p: int, step: int) -> None:
        if step < self._waiting[p]:
            self._waiting[p] = step
            if step < self.bound[p]:
                self.bound[p] = step

    def stimulus(self, p: int, neuron: int, weight: float) -> int:
        """A poke that arrived now: it acts in the first update nobody has run. Returns its step."""
        step = self.horizon
        self.at(p, step, neuron, weight)
        return step

    def at(self, p: int, step: int, neuron: int, weight: float) -> None:
        """A stimulus at a step not yet run: a spike it causes is stamped `step + 1` at the earliest."""
        self._stimuli[p].append([step, neuron, weight])
        self._waits(p, step + 1)
