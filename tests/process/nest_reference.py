"""Run a config in NEST; spikes `[[step, neuron index], …]` and weights are the last line printed, as JSON.

    python nest_reference.py CONFIG MODEL_MS

A program of its own: NEST's kernel is global and its threads stay. The network is the very one that
neurobus builds: the same synapses in the same order.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nest
import numpy as np

from neurobus.config import load
from neurobus.network import Network, build

MODELS = {
    "nodes.lif": "iaf_psc_exp",
    "nodes.lif_delta": "iaf_psc_delta",
    "nodes.lif_alpha": "iaf_psc_alpha",
    "nodes.lif_cond": "iaf_cond_exp",
    "nodes.adex": "aeif_cond_exp",
    "nodes.hodgkin_huxley": "hh_psc_alpha",
}
THEIR_NAMES = {"C": "C_m", "V_T": "V_th", "V_r": "V_reset", "w_0": "w", "tol": "gsl_error_tol"}


SYNAPSES = {
    "nodes.stdp": ("stdp_synapse", {"lambda_": "lambda", "W_max": "Wmax"}),
    "nodes.stdp_triplet": ("stdp_triplet_synapse", {
        "A2_plus": "Aplus", "A3_plus": "Aplus_triplet", "A2_minus": "Aminus", "A3_minus": "Aminus_triplet",
        "tau_x": "tau_plus_triplet", "W_max": "Wmax",
    }),
    "nodes.tsodyks": ("tsodyks_synapse", {}),
}  # fmt: skip
"""Our type → NEST's, and its parameters that NEST calls otherwise. tau_minus and tau_y are neurons' there."""


def connect(net: Network, gids: np.ndarray, h: float) -> None:
    """All synapses; those of one type and source in the order of the network."""
    chosen = net.synapses.kind < 0
    synapses = {"synapse_model": "static_synapse", "weight": net.synapses.weight[chosen],
                "delay": np.round(net.synapses.delay[chosen] * h, 6)}  # fmt: skip
    if chosen.any():
        nest.Connect(gids[net.synapses.pre[chosen]], gids[net.synapses.post[chosen]], "one_to_one", synapses)
    for kind, name in enumerate(net.kinds.names):
        chosen, (model, names) = net.synapses.kind == kind, SYNAPSES[name]
        of_neuron = {"tau_minus": "tau_minus", "tau_y": "tau_minus_triplet"}
        params = {key: values[net.synapses.row[chosen]] for key, values in net.kinds.params[kind].items()}
        for key in params.keys() & of_neuron.keys():
            neurons = nest.NodeCollection(sorted(set(gids[net.synapses.post[chosen]].tolist())))
            neurons.set({of_neuron[key]: float(params.pop(key)[0])})
        synapses = {names.get(key, key): values for key, values in params.items()}
        synapses |= {
            "weight": net.synapses.weight[chosen],
            "delay": np.round(net.synapses.delay[chosen] * h, 6),
        }
        nest.Connect(gids[net.synapses.pre[chosen]], gids[net.synapses.post[chosen]], "one_to_one",
                     {"synapse_model": model, **synapses})  # fmt: skip


def weights(net: Network, gids: np.ndarray) -> list[float]:
    """By index in the network, where pairs are joined once."""
    at = {
        (gids[pre], gids[post]): n
        for n, (pre, post) in enumerate(zip(net.synapses.pre, net.synapses.post, strict=True))
    }
    found = np.full(len(net.synapses.pre), np.nan)
    for name in {"static_synapse", *(SYNAPSES[name][0] for name in net.kinds.names)}:
        got = nest.GetConnections(synapse_model=name).get(["source", "target", "weight"])
        columns = (np.atleast_1d(got[key]).tolist() if got else [] for key in ("source", "target", "weight"))
        for source, target, weight in zip(*columns, strict=True):
            if (source, target) in at:
                found[at[source, target]] = weight
    return found.tolist()


def main(config: Path, model_ms: float) -> tuple[list[list[int]], list[float]]:
    net = build(load(config))
    h = net.dt_ns / 1e6
    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.ResetKernel()
    nest.resolution = h
    nest.set(min_delay=round(net.min_delay * h, 6), max_delay=round(net.max_delay * h, 6))
    gids = np.zeros(len(net.ids), int)
    for number, name in enumerate(net.model_names):
        if name not in MODELS:
            continue
        members = np.flatnonzero(net.model_of == number)
        made = nest.Create(MODELS[name], len(members))
        known = made[0].get()
        params = {THEIR_NAMES.get(key, key): values for key, values in net.params[number].items()}
        made.set({key: values.tolist() for key, values in params.items() if key in known})
        gids[members] = made.tolist()
    for index, steps in net.times.items():
        plastic = bool(np.any(net.synapses.kind[net.synapses.pre == index] >= 0))
        # Only neurons have plastic synapses: a parrot repeats the source, a delay later.
        ahead = net.min_delay if plastic else 0
        made = nest.Create("spike_generator", params={"spike_times": np.round((steps - ahead) * h, 6)})
        if plastic:
            parrot = nest.Create("parrot_neuron")
            nest.Connect(made, parrot, syn_spec={"delay": round(ahead * h, 6)})
            made = parrot
        gids[index] = made.tolist()[0]
    connect(net, gids, h)
    for index, start, stop, amplitude in net.currents:
        # A current leaves its generator in update `start` and acts a delay later.
        params = {"amplitude": amplitude, "start": round((start - net.min_delay) * h, 6)}
        if stop >= 0:
            params["stop"] = round((stop - net.min_delay) * h, 6)
        generator = nest.Create("dc_generator", params=params)
        neuron = nest.NodeCollection([int(gids[index])])
        nest.Connect(generator, neuron, syn_spec={"delay": round(net.min_delay * h, 6)})
    recorder = nest.Create("spike_recorder")
    nest.Connect(nest.NodeCollection(sorted(gids[: net.n_neurons].tolist())), recorder)
    nest.Simulate(model_ms)
    events = recorder.get("events")
    index_of = {gid: index for index, gid in enumerate(gids.tolist())}
    steps = np.rint(events["times"] / h).astype(int).tolist()
    spikes = sorted(
        [step, index_of[gid]] for step, gid in zip(steps, events["senders"].tolist(), strict=True)
    )
    return spikes, weights(net, gids)


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), float(sys.argv[2]))))
