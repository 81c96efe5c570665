"""Weights that a model cannot hold as they are written: refused, or told with the size of the error. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import numpy.typing as npt

from neurobus.config.schema import Transfer
from neurobus.model import Array, Model
from neurobus.words import counted

if TYPE_CHECKING:
    from neurobus.network.builder import Network
    from neurobus.network.population import Population


TRANSFERS = get_args(Transfer)
FASTEST_PER_MS = 1e5
"""Conductance over capacitance: a solver that controls its error takes steps as short as its inverse."""


def _capacity_pf(model: type[Model], p: Mapping[str, Array]) -> Array | None:
    return next((p[name] for name, param in model.params().items() if param.unit == "pF"), None)


def too_fast(model: type[Model], p: Mapping[str, Array]) -> str | None:
    """What would be right where conductances make a membrane so fast that no solver follows it."""
    C = _capacity_pf(model, p)
    names = [name for name, param in model.params().items() if param.unit == "nS"]
    if C is None or not names:
        return None
    g = np.sum([np.abs(p[name]) for name in names], axis=0)
    for i in np.flatnonzero(g > FASTEST_PER_MS * C)[:1].tolist():
        return f"{' + '.join(names)} is {g[i]:g} nS; at most {FASTEST_PER_MS * C[i]:g} nS at {C[i]:g} pF"
    return None


def fault(
    model: type[Model], p: Mapping[str, Array], w: Array, receptor: npt.NDArray[Any]
) -> tuple[int, str] | None:
    """The first weight that neurons of this model cannot have, and what would be right. `p`: name → (n,), of
    the neuron each ends on; w (n,) in the model's unit; receptor (n,)."""
    faults = list(model.check_weights(p, w, receptor))
    if model.weight_unit == "nS" and (C := _capacity_pf(model, p)) is not None:
        for j in np.flatnonzero(beyond := np.abs(w) > FASTEST_PER_MS * C)[:1]:
            faults.append((beyond, f"at most {FASTEST_PER_MS * C[j]:g} nS at {C[j]:g} pF"))
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


def summed_extremes(currents: list[tuple[int, int, float]]) -> tuple[float, float]:
    """The least and the largest that currents (first step, step at which it ends or -1, pA) come to together,
    with none at all for 0."""
    changes: dict[int, float] = {}
    for start, stop, pa in currents:
        changes[start] = changes.get(start, 0.0) + pa
        if stop >= 0:
            changes[stop] = changes.get(stop, 0.0) - pa
    sums = np.cumsum([0.0, *(changes[step] for step in sorted(changes))])
    return float(sums.min()), float(sums.max())


def electrodes_fault(who: Population, currents: list[tuple[int, int, int, float]]) -> tuple[int, str] | None:
    """The last of the currents (as in `Network`) on a neuron that holds each of them but not their sum,
    and what would be right."""
    of: dict[int, list[int]] = {}
    for k, current in enumerate(currents):
        model = who.models[who.model_of[current[0]]]
        if issubclass(model, Model) and model.current_range is not Model.current_range:
            of.setdefault(current[0], []).append(k)
    for neuron, mine in of.items():
        if len(mine) > 1:
            for pa in summed_extremes([currents[k][1:] for k in mine]):
                if (word := current_fault(who, np.array([neuron]), pa)) is not None:
                    return mine[-1], f"with the others on '{who.ids[neuron]}', {word}"
    return None


def saturating(network: Network) -> Iterator[str]:
    """Where a current that depends on potentials may go beyond what a chip holds, and is bounded there."""
    graded = network.graded
    bounded = np.isnan(graded.reversal) & (graded.transfer == TRANSFERS.index("sigmoid"))
    for number, model in enumerate(network.models):
        if not issubclass(model, Model):
            continue
        held = model.current_range(network.params[number], network.dt_ns / 1e6)
        if held is None:
            continue
        members = np.flatnonzero(network.model_of == number)
        low, high = np.zeros(len(network.ids)), np.zeros(len(network.ids))
        weight = np.where(bounded, graded.weight, np.inf)
        np.add.at(high, graded.post, np.where(bounded, np.maximum(weight, 0.0), np.inf))
        np.add.at(low, graded.post, np.where(bounded, np.minimum(weight, 0.0), -np.inf))
        for end in (network.junctions.a, network.junctions.b):
            high[end], low[end] = np.inf, -np.inf
        over = (high[members] > held[1]) | (low[members] < held[0])
        for j in np.flatnonzero(over)[:1].tolist():
            more = f" and {counted(int(over.sum()) - 1, 'more', 'more')}" if over.sum() > 1 else ""
            yield (
                f"currents of junctions and graded synapses into {network.ids[members[j]]}{more} are bounded "
                f"where {network.model_names[number]} holds no more: {held[0][j]:.6g} to {held[1][j]:.6g} pA"
            )


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
        post = network.synapses.post[mine]
        found = fault(
            model,
            params_of(network, number, post),
            network.synapses.weight[mine],
            network.synapses.receptor[mine],
        )
        if found is not None:
            pre = network.ids[network.synapses.pre[mine][found[0]]]
            yield f"the synapse {pre} → {network.ids[post[found[0]]]}: {found[1]}"


def inexact(network: Network) -> list[str]:
    """What acts otherwise than it is written, and by how much at most."""
    words = list(saturating(network))
    for number, model, mine in _models(network):
        post, w = network.synapses.post[mine], network.synapses.weight[mine]
        words += told_by(network.model_names[number], model, params_of(network, number, post), w)
        noisy = np.flatnonzero((network.model_of == number) & (network.background.rate_hz > 0))
        if len(noisy) and (grain := model.grain(params_of(network, number, noisy))) is not None:
            w = network.background.weight[noisy]
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
    ends = network.model_of[network.synapses.post]
    for number, model in enumerate(network.models):
        if issubclass(model, Model):
            yield number, model, (ends == number) & (network.synapses.receptor < len(model.receptors))


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
