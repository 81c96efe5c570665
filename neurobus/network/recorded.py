"""Neurons of a network replaced by a recording of their spikes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neurobus.errors import InputError
from neurobus.loading import load
from neurobus.network.builder import Network

RECORDED = "nodes.spikes"
"""The source that plays spikes back, by dotted name."""


def with_recorded(network: Network, times_ns: dict[str, list[int]]) -> Network:
    """The network with some neurons (or external sources) replaced by recordings of their spikes.

    What acts on a recorded neuron acts no more: its synapses and junctions are left out. Raises
    InputError for ids that are not in the network.
    """
    at = {name: i for i, name in enumerate(network.ids)}
    unknown = [name for name in times_ns if name not in at]
    if unknown:
        raise InputError(f"'{unknown[0]}' is in the recording, but not in the network", network.config.path)
    if not times_ns:
        return network
    chosen = np.array(sorted(at[name] for name in times_ns), np.int32)
    names, models, params = list(network.model_names), list(network.models), list(network.params)
    model_of = network.model_of.copy()
    for number in range(len(models)):
        mine = np.flatnonzero(model_of == number)
        stays = ~np.isin(mine, chosen)
        params[number] = {name: values[stays] for name, values in params[number].items()}
    if RECORDED not in names:
        names.append(RECORDED)
        models.append(load(RECORDED))
        params.append({})
    model_of[chosen] = names.index(RECORDED)
    times = {i: t for i, t in network.times.items() if network.ids[i] not in times_ns}
    for name, spikes in times_ns.items():
        times[at[name]] = np.array(sorted(spikes), np.int64) // network.dt_ns
    acts = ~np.isin(network.synapses.post, chosen)
    joined = ~(np.isin(network.junctions.a, chosen) | np.isin(network.junctions.b, chosen))
    noise = network.background.rate_hz.copy()
    noise[chosen] = 0.0
    return replace(
        network,
        model_names=names,
        models=models,
        params=params,
        model_of=model_of,
        times=times,
        shown={i: shown for i, shown in network.shown.items() if network.ids[i] not in times_ns},
        synapses=network.synapses.only(acts),
        junctions=network.junctions.only(joined),
        graded=network.graded.only(
            ~np.isin(network.graded.pre, chosen) & ~np.isin(network.graded.post, chosen)
        ),
        currents=[c for c in network.currents if c[0] not in set(chosen.tolist())],
        background=network.background._replace(rate_hz=noise),
        potentials=replace(
            network.potentials, recorded=np.setdiff1d(network.potentials.recorded, chosen).astype(np.int32)
        ),
        weighed=network.weighed._replace(
            neurons=np.setdiff1d(network.weighed.neurons, chosen).astype(np.int32)
        ),
    )
