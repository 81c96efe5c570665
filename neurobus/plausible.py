"""What in a network is so large that it may be a slip of the unit, such as nA for pA. For `check` to tell."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from neurobus.model import Array, Model
from neurobus.network import Network
from neurobus.words import counted

USUAL_PF = 250.0
"""Membrane capacitance where a model declares none."""
FASTEST_MV_PER_MS = 100.0
"""Currents of cells move a membrane by some 10 mV in a ms; a spike's upstroke, by a few hundred."""
SHORTEST_MS = 0.1
"""A synapse that by itself makes the membrane faster than this is stronger than that of any cell."""
SHORTEST_OF_CHANNELS_MS = 1e-4
"""All channels of a membrane, open at the peak of a spike, may be faster than that, but not than this."""
LARGEST_MV = 1000.0
"""Of a potential, or what one spike adds to it."""


def implausible(network: Network) -> Iterator[str]:
    """A line for each parameter, and for weights and electrodes, that has such values."""
    capacity_pf = np.full(len(network.ids), USUAL_PF)
    for number, model in enumerate(network.models):
        for name, param in model.params().items():
            if param.unit.endswith("F"):
                capacity_pf[network.model_of == number] = network.params[number][name]
    for number, model in enumerate(network.models):
        members = np.flatnonzero(network.model_of == number)
        for name, param in model.params().items():
            values = network.params[number][name]
            channels = SHORTEST_MS / SHORTEST_OF_CHANNELS_MS if param.unit.endswith("S") else 1.0
            wrong = members[_too_large(values / channels, param.unit, capacity_pf[members])]
            if wrong.size:
                value = values[np.searchsorted(members, wrong[0])]
                yield _line(network, wrong, f"{name} is {value:g} {param.unit}")
    units = [model.weight_unit if issubclass(model, Model) else "" for model in network.models]
    for unit in dict.fromkeys(units):
        mine = np.isin(network.model_of[network.synapses.post], [i for i, u in enumerate(units) if u == unit])
        large = _too_large(network.synapses.weight, unit, capacity_pf[network.synapses.post])
        for synapse in np.flatnonzero(mine & large)[:1].tolist():
            pre, post = (
                network.ids[network.synapses.pre[synapse]],
                network.ids[network.synapses.post[synapse]],
            )
            n = counted(int(np.sum(mine & large)), "synapse")
            weight = f"{pre} → {post} is {network.synapses.weight[synapse]:g} {unit}"
            yield f"{n} as strong as no cell's: {weight}; is the unit right?"
    graded = network.graded
    kinds = np.where(np.isnan(graded.reversal), "pA", "nS")
    for kind in ("pA", "nS"):
        of_kind = kinds == kind
        beyond = (
            of_kind
            & _too_large(graded.weight, kind, capacity_pf[graded.post])
            & _of_cells(network)[graded.post]
        )
        for j in np.flatnonzero(beyond)[:1].tolist():
            ends = f"{network.ids[graded.pre[j]]} → {network.ids[graded.post[j]]}"
            n = counted(int(beyond.sum()), "graded synapse")
            yield f"{n} as strong as no cell's: {ends} is {graded.weight[j]:g} {kind}; is the unit right?"
    strong = [(i, pa) for i, _, _, pa in network.currents if abs(pa) > FASTEST_MV_PER_MS * capacity_pf[i]]
    if strong:
        wrong = np.unique([i for i, _ in strong])
        yield _line(network, wrong, f"a current is {strong[0][1]:g} pA")


def _of_cells(network: Network) -> npt.NDArray[np.bool_]:
    """Which have a membrane in mV: what graded synapses pass to others is a plain number."""
    yes = [
        issubclass(m, Model) and any(p.unit.endswith("V") for p in m.params().values())
        for m in network.models
    ]
    return np.array([number >= 0 and yes[number] for number in network.model_of.tolist()], bool)


def _line(network: Network, members: npt.NDArray[np.int64], what: str) -> str:
    first = network.ids[members[0]]
    more = f" and {counted(len(members) - 1, 'more', 'more')}" if len(members) > 1 else ""
    return f"{what} in {first}{more}, more than any cell's; is the unit right?"


def _too_large(values: Array, unit: str, capacity_pf: Array) -> npt.NDArray[np.bool_]:
    """By the unit's kind; units as models write them, pA, nS, mV."""
    sizes = {"pA": FASTEST_MV_PER_MS * capacity_pf, "nA": FASTEST_MV_PER_MS * capacity_pf * 1e-3,
             "nS": capacity_pf / SHORTEST_MS, "mV": np.full_like(capacity_pf, LARGEST_MV)}  # fmt: skip
    return np.abs(values) > sizes[unit] if unit in sizes else np.zeros(len(values), bool)
