"""Run a config in NEST; its spikes are the last line printed, as JSON `[[step, neuron index], …]`.

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
from neurobus.network import build

MODELS = {
    "nodes.lif": "iaf_psc_exp",
    "nodes.lif_delta": "iaf_psc_delta",
    "nodes.lif_cond": "iaf_cond_exp",
    "nodes.adex": "aeif_cond_exp",
    "nodes.hodgkin_huxley": "hh_psc_alpha",
}
THEIR_NAMES = {"C": "C_m", "V_T": "V_th", "V_r": "V_reset", "w_0": "w", "tol": "gsl_error_tol"}


def main(config: Path, model_ms: float) -> list[list[int]]:
    net = build(load(config))
    h = net.dt_ns * 1e-6
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
        made = nest.Create("spike_generator", params={"spike_times": np.round(steps * h, 6)})
        gids[index] = made.tolist()[0]
    synapses = {"synapse_model": "static_synapse", "weight": net.weight, "delay": np.round(net.delay * h, 6)}
    nest.Connect(gids[net.pre], gids[net.post], "one_to_one", synapses)
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
    return sorted([step, index_of[gid]] for step, gid in zip(steps, events["senders"].tolist(), strict=True))


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), float(sys.argv[2]))))
