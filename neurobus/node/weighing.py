"""What a process reports of its weights for a log: the synapses that may change, at one step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurobus.config.schema import STATIC
from neurobus.node.weights import Weights
from neurobus.wire import verbs


def recorded(now: Weights, neurons: Sequence[int], step: int, dt_ns: int) -> verbs.RecordedWeights:
    """Of the synapses that end on `neurons` (wire indices) and may change, in the order of `now`."""
    kept = np.isin(now.post, np.asarray(neurons, np.int64))
    if now.types[-1] == STATIC:
        kept &= now.kind >= 0
    return verbs.RecordedWeights(
        step=step,
        t_ns=step * dt_ns,
        pre=now.pre[kept].astype("<u4").tobytes(),
        post=now.post[kept].astype("<u4").tobytes(),
        weight=now.weight[kept].astype("<f8").tobytes(),
    )
