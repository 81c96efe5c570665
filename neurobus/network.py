"""From a config to a network: who there is, with which parameters, connected how. Pure.

Everything random comes from one stream per declaration (see `neurobus.draw`), so that the same seed
gives the same network anywhere and a further projection leaves the others as they were.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neurobus.config import Config
from neurobus.model import Array, Model, Source

Int32s = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Network:
    """Neurons (the first `n_neurons` of `ids`), then sources; all arrays by neuron index or by synapse.

    `model_of` (N,) index into `models`, -1: external. `params[model]`: name → (members,) in the
    parameter's unit, members in order of neuron index. `times`: source → spike steps, ascending.
    Synapses `pre post weight delay` (weight in the unit of the postsynaptic model, delay in steps) are
    sorted by (pre, post, order in the config). Junctions `gap_*` stand once each, in nS.
    `currents`: (neuron, first step, step at which it ends or -1, pA). `background_*` (N,), 0 where none.
    `min_delay` is also the delay of electrical samples. `skipped`: file → rows with unknown ids.
    """

    config: Config
    seed: int
    dt_ns: int
    ids: list[str]
    n_neurons: int
    model_names: list[str]
    models: list[type[Model] | type[Source]]
    model_of: Int32s
    params: list[dict[str, Array]]
    times: dict[int, npt.NDArray[np.int64]]
    pre: Int32s
    post: Int32s
    weight: Array
    delay: Int32s
    gap_a: Int32s
    gap_b: Int32s
    gap_ns: Array
    currents: list[tuple[int, int, int, float]]
    background_rate_hz: Array
    background_weight: Array
    recorded: Int32s
    potential_delta_mv: float
    potential_interval: int
    min_delay: int
    max_delay: int
    skipped: dict[str, int]
    groups: dict[str, Int32s]


def build(config: Config, seed: int | None = None) -> Network:
    """The network a config describes; `seed` instead of its own. Raises InputError with file and line."""
    raise NotImplementedError
