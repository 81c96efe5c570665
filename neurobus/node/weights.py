"""The synapses of a core in columns, with their weights at one step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neurobus.config.schema import STATIC
from neurobus.model import Array
from neurobus.node.interface import Keys
from neurobus.parts import NeuronPart
from neurobus.wire import verbs


@dataclass(frozen=True, slots=True)
class Weights:
    """Synapses in columns: wire index of both neurons, row of the receptor, delay in steps, weight in the
    neuron's unit, and which of `types` it is (-1: the last). Where the delay is dendritic, a
    synapse's own time is that delay behind."""

    pre: Keys
    post: Keys
    receptor: Keys
    delay: Keys
    weight: Array
    kind: Keys
    types: tuple[str, ...]


def columns(part: NeuronPart, now: Array) -> Weights:
    """Every synapse of a core in the order (post, pre, declaration); `now`: weights of those with memory, in
    the order of `part.stateful`."""
    owned, K, plain = part.stateful, len(part.index), len(part.weight)
    pre = np.repeat(np.arange(len(part.row) - 1), np.diff(part.row))
    found: list[tuple[npt.NDArray[Any], ...]] = [
        (pre, part.target % K, part.target // K, part.delay, part.weight, np.full(plain, -1))
    ]
    if owned:
        found.append((owned.source, owned.neuron, owned.receptor, owned.delay, now, owned.type_of))
    pre, local, receptor, delay, weight, kind = (np.concatenate(c) for c in zip(*found, strict=True))
    place = np.arange(len(pre))
    if owned and part.remembering is not None:
        kept = np.flatnonzero(part.remembering)[owned.given]
        place = np.concatenate([np.flatnonzero(~part.remembering), kept])
    order = np.lexsort((place, local))
    last = part.model_name if part.model.arrive is not None else STATIC
    return Weights(
        pre[order], part.index[local[order]], receptor[order], delay[order], weight[order], kind[order],
        (*part.types, last),
    )  # fmt: skip


def recorded(now: Weights, neurons: Sequence[int], step: int, dt_ns: int) -> verbs.RecordedWeights:
    """For a log: those that end on `neurons` (wire indices) and may change, in the order of `now`."""
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
