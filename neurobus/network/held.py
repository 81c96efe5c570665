"""Weights that a model cannot hold as they are written: refused, or told with the size of the error. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from neurobus.model import Array, Model

if TYPE_CHECKING:
    from neurobus.network.builder import Network
    from neurobus.network.population import Population


def fault(
    model: type[Model], p: Mapping[str, Array], w: Array, receptor: npt.NDArray[Any]
) -> tuple[int, str] | None:
    """The first weight that neurons of this model cannot have, and what would be right. `p`: name → (n,), of
    the neuron each ends on; w (n,) in the model's unit; receptor (n,)."""
    faults = list(model.check_weights(p, w, receptor))
    if (grain := model.grain(p)) is not None:
        most = grain.most * grain.unit
        beyond = np.abs(np.rint(w / grain.unit)) > grain.most
        for j in np.flatnonzero(beyond)[:1]:
            faults.append((beyond, f"the chip's largest is {most[j]:.8g} {model.weight_unit}; raise I_max"))
    first: tuple[int, str] | None = None
    for off, right in faults:
        for j in np.flatnonzero(off)[:1].tolist():
            if first is None or j < first[0]:
                first = j, f"a weight of {w[j]:g} {model.weight_unit}".rstrip() + f": {right}"
    return first


def params_of(network: Network | Population, number: int, neurons: npt.NDArray[Any]) -> dict[str, Array]:
    """The parameters of some neurons of one model, name → (n,)."""
    at = np.searchsorted(np.flatnonzero(network.model_of == number), neurons)
    return {name: values[at] for name, values in network.params[number].items()}


def current_fault(who: Population, neurons: npt.NDArray[Any], pa: float) -> str | None:
    """What would be right where one of these neurons cannot hold a current of so many pA."""
    for number in np.unique(who.model_of[neurons]).tolist():
        model, mine = who.models[number], neurons[who.model_of[neurons] == number]
        if not issubclass(model, Model):
            continue
        held = model.current_range(params_of(who, number, mine), who.read.dt_ns / 1e6)
        if held is None:
            continue
        low, high = float(held[0].max()), float(held[1].min())
        if not low <= pa <= high:
            name = list(who.model_number)[number]
            return f"a current of {pa:g} pA: {name} holds {low:.6g} to {high:.6g} pA here"
    return None


def told_by(name: str, model: type[Model], p: Mapping[str, Array], w: Array) -> list[str]:
    """What neurons of a model round of these weights, by how much at most. `p`: name → (n,); w (n,)."""
    grain = model.grain(p)
    return [] if grain is None else list(_rounded(name, model, "weight", w, grain.held(w), grain.unit))


def faults(network: Network) -> Iterator[str]:
    """The first weight of each model that its neurons cannot have, of a network whose weights are not its
    config's."""
    for number, model, mine in _models(network):
        post = network.post[mine]
        found = fault(model, params_of(network, number, post), network.weight[mine], network.receptor[mine])
        if found is not None:
            pre = network.ids[network.pre[mine][found[0]]]
            yield f"the synapse {pre} → {network.ids[post[found[0]]]}: {found[1]}"


def inexact(network: Network) -> list[str]:
    """What acts otherwise than it is written, and by how much at most."""
    words: list[str] = []
    for number, model, mine in _models(network):
        post, w = network.post[mine], network.weight[mine]
        words += told_by(network.model_names[number], model, params_of(network, number, post), w)
        noisy = np.flatnonzero((network.model_of == number) & (network.background_rate_hz > 0))
        if len(noisy) and (grain := model.grain(params_of(network, number, noisy))) is not None:
            w = network.background_weight[noisy]
            words += _rounded(
                network.model_names[number], model, "background", w, grain.stimulus(w), grain.unit
            )
    return words


def grains(network: Network) -> list[tuple[float, int] | None]:
    """Of each neuron and source: the unit in which it feels a stimulus, and how many of it at most."""
    found: list[tuple[float, int] | None] = [None] * len(network.ids)
    for number, model in enumerate(network.models):
        if issubclass(model, Model) and (grain := model.grain(network.params[number])) is not None:
            members = np.flatnonzero(network.model_of == number).tolist()
            for i, unit in zip(members, grain.unit.tolist(), strict=True):
                found[i] = unit, grain.felt
    return found


def _models(network: Network) -> Iterator[tuple[int, type[Model], npt.NDArray[np.bool_]]]:
    """Models of neurons, each with the static synapses on them."""
    ends = network.model_of[network.post]
    for number, model in enumerate(network.models):
        if issubclass(model, Model):
            yield number, model, (ends == number) & (network.receptor < len(model.receptors))


def _rounded(name: str, model: type[Model], what: str, w: Array, held: Array, unit: Array) -> Iterator[str]:
    error = np.abs(held - w)
    off = error > 1e-9 * unit
    if not off.any():
        return
    worst, of = int(np.argmax(error)), model.weight_unit
    n, gone = int(off.sum()), int(np.sum((held == 0) & (w != 0)))
    yield (
        f"{name}: {n} {what}{'s' * (n > 1)} rounded to the chip's unit ({unit[worst]:.4g} {of}), by up to "
        f"{error[worst]:.3g} {of}: {w[worst]:.6g} acts as {held[worst]:.6g}"
        + (f"; {gone} act{'s' * (gone == 1)} as 0" if gone else "")
    )
