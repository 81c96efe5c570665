"""Spikes, potentials, pokes and strips as plain values. Times are integer nanoseconds of model time.

The rest of what travels on the bus, controls and reports, is declared in `neurobus.wire`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

    Numbers = list[Any] | npt.NDArray[Any]
"""A column of a batch: a list for a stream of one neuron, an array for a stream of many."""


@dataclass(frozen=True, slots=True)
class Spikes:
    """A batch of spikes of one stream (one process). `seq` counts the spikes sent before this batch.

    `neurons` is None where the stream is one neuron; else the index of each spike's neuron.
    `last` marks the end of the stream: nothing follows in this epoch.
    """

    stream: str
    epoch: int
    seq: int
    t_ns: Numbers
    neurons: Numbers | None = None
    last: bool = False


@dataclass(frozen=True, slots=True)
class Samples:
    """Membrane potentials (mV) of one stream: send-on-delta for electrical synapses, or recorded."""

    stream: str
    epoch: int
    seq: int
    t_ns: Numbers
    v_mv: Numbers
    neurons: Numbers | None = None
    last: bool = False


@dataclass(frozen=True, slots=True)
class Stimulus:
    """A poke: at `t_ns` the neuron receives `weight` in its own weight unit. `t_ns` < 0: at once."""

    neuron: str
    t_ns: int
    weight: float
    origin: str = "poke"


@dataclass(frozen=True, slots=True)
class Led:
    """What the strip on a neuron's board shows: red, green, blue of each LED, 3 bytes a LED."""

    neuron: str
    t_ns: int
    rgb: bytes
