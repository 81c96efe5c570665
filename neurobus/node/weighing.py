"""What a process tells of its weights for a log: the synapses that may change, at one step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurobus.config.schema import STATIC
from neurobus.node.core import Weights

VERB = "recorded"
"""The report that carries weights to a log."""
ORDER = "record"
"""The word of a duty that asks for it."""


def told(now: Weights, neurons: Sequence[int]) -> dict[str, bytes]:
    """Columns of the synapses that end on `neurons` (wire indices) and may change, in the order of `now`:
    `pre` and `post` as little-endian uint32, `weight` as float64, in the neuron's unit."""
    kept = np.isin(now.post, np.asarray(neurons, np.int64))
    if now.types[-1] == STATIC:
        kept &= now.kind >= 0
    return {
        "pre": now.pre[kept].astype("<u4").tobytes(),
        "post": now.post[kept].astype("<u4").tobytes(),
        "weight": now.weight[kept].astype("<f8").tobytes(),
    }
