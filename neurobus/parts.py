"""What one process needs of a network: arrays of its neurons or sources, and of what acts on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neurobus.model import Array, Model, Shown, Source
from neurobus.stateful_synapses import StatefulSynapses

Ints = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Coupling:
    """How potentials act on K neurons: M junctions and graded synapses, sorted by (target, source).

    `row` (N + 1,) into `order` (M,): those of each source, by neuron index. `at` (K + 1,): where those of
    each target begin. `target` (M,): local. `weight` (M,): nS, or, where there is no `reversal_mv` (NaN), a
    graded synapse's current. `transfer` (5, M): 0 for a junction, or 1 + transfer; threshold; slope; what
    acts at the start; the peak (mV) that stands for a spike of the other side, NaN for none.
    `delta_mv` (K,): how far what partners take a potential for may be off, infinity without a junction.
    """

    row: Ints
    order: Int32s
    at: Ints
    target: Int32s
    weight: Array
    transfer: Array
    reversal_mv: Array
    delta_mv: Array


def uncoupled(n: int, k: int) -> Coupling:
    """`k` neurons, of a network of `n`, without junctions or graded synapses."""
    none, whole = np.empty(0), np.empty(0, np.int32)
    row, at = np.zeros(n + 1, np.int64), np.zeros(k + 1, np.int64)
    return Coupling(row, whole, at, whole, none, np.empty((5, 0)), none, np.full(k, np.inf))


@dataclass(frozen=True)
class Currents:
    """Changes of electrodes' currents: at `step`, ascending, into local `neuron`, by `pa`. Shapes (n,)."""

    step: Ints
    neuron: Int32s
    pa: Array

    @staticmethod
    def none() -> Currents:
        return Currents(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0))


@dataclass(frozen=True)
class Background:
    """The Poisson train of each neuron's own: rate 0 where it has none. Shapes (K,)."""

    rate_hz: Array
    weight: Array
    key: npt.NDArray[np.uint64]


@dataclass(frozen=True)
class NeuronPart:
    """What a process of K neurons needs.

    Synapses without state: `row` (N + 1,) by source, `target` (receptor * K + local neuron), `delay` steps,
    `weight`. Potentials act `sample_delay` steps after they are published. `watched`: local neurons that
    publish theirs.
    """

    name: str
    model_name: str
    model: type[Model]
    index: Ints
    ids: list[str]
    params: dict[str, Array]
    key: npt.NDArray[np.uint64]
    dt_ns: int
    min_delay: int
    max_delay: int
    row: Ints
    target: Int32s
    delay: Int32s
    weight: Array
    coupling: Coupling
    currents: Currents
    background: Background
    watched: Int32s
    potential_delta_mv: float
    potential_interval: int
    sample_delay: int
    stateful: StatefulSynapses | None = None
    remembering: npt.NDArray[np.bool_] | None = None
    """Which of all synapses that end here, in the order (source, target, declaration), are `stateful`."""

    @property
    def types(self) -> tuple[str, ...]:
        """The synapse types in use here; with the model's name they are what a kernel is made from."""
        return self.stateful.types if self.stateful else ()


@dataclass(frozen=True)
class SourcePart:
    """What a process of K sources needs. `times`: local source → spike steps, for kind `spikes`;
    `shown` likewise for encoders."""

    name: str
    model: type[Source]
    index: Ints
    ids: list[str]
    params: dict[str, Array]
    times: dict[int, Ints]
    shown: dict[int, Shown]
    keys: list[int]
    dt_ns: int
