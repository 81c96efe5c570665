"""What a manifest tells of neurons: their potentials at rest and threshold, and how they feel a poke."""

from __future__ import annotations

import numpy as np

from neurobus.model import Array, Model, Source
from neurobus.network import Network
from neurobus.wire.verbs import Guest

Level = tuple[float, float]


def levels_mv(net: Network) -> list[Level | None]:
    """Potential at rest and threshold by neuron, mV; None for sources."""
    levels: list[Level | None] = [None] * len(net.ids)
    for number, model in enumerate(net.models):
        members = np.flatnonzero(net.model_of == number)
        if issubclass(model, Model) and len(members):
            found = _levels(model, net.params[number], len(members))
            for i, level in zip(members.tolist(), found, strict=True):
                levels[i] = level
    return levels


def _levels(model: type[Model], p: dict[str, Array], n: int) -> list[Level]:
    """Of n neurons of one model; the threshold is `V_th`, or 15 mV above rest where a model has none."""
    if model.potential_zero:
        rest = p[model.potential_zero]
    else:
        rest = np.broadcast_to(model.initial(p).get(model.potential, 0.0), n)
    threshold = p.get("V_th", rest + 15.0)
    return list(zip(rest.tolist(), threshold.tolist(), strict=True))


def as_guest(model: type[Model] | type[Source], p: dict[str, Array]) -> Guest:
    """What a neuron started by hand tells of itself. `p`: name → (1,)."""
    if not issubclass(model, Model):
        return Guest(neuron=False)
    grain = model.grain(p)
    felt = None if grain is None else (float(grain.unit[0]), int(grain.felt))
    return Guest(neuron=True, unit=model.weight_unit, level_mv=_levels(model, p, 1)[0], grain=felt)
