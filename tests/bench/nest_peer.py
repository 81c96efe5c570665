"""NEST as a peer: `python -m tests.bench.nest_peer NETWORK.npz`, then a line of milliseconds each time.

Each is answered by a line of JSON. The first one is recorded and answered with its spikes, [step, neuron]
each; then the network is built anew without a recorder, so that recording is in nobody's time.
"""

from __future__ import annotations

import json
import sys
import time

import nest
import numpy as np

THREADS = 2
RESOLUTION_MS = 0.1
WARM_UP_MS = 100.0


def build(path: str) -> nest.NodeCollection:
    nest.ResetKernel()
    nest.set_verbosity("M_ERROR")
    nest.SetKernelStatus({"resolution": RESOLUTION_MS, "local_num_threads": THREADS, "print_time": False})
    given = np.load(path)
    names = ("C_m", "tau_m", "t_ref", "E_L", "V_reset", "V_th", "V_m", "I_e")
    neurons = nest.Create("iaf_psc_delta", len(given["V_m"]), params={name: given[name] for name in names})
    synapses = {"synapse_model": "static_synapse", "weight": given["weight"], "delay": given["delay_ms"]}
    nest.Connect(given["pre"] + 1, given["post"] + 1, "one_to_one", synapses)
    return neurons


def main() -> None:
    neurons = build(sys.argv[1])
    recorder = nest.Create("spike_recorder")
    nest.Connect(neurons, recorder)
    nest.Simulate(float(sys.stdin.readline()))
    events = recorder.events
    steps = np.rint(events["times"] / RESOLUTION_MS).astype(int)
    spikes = [[int(k), int(i) - 1] for k, i in zip(steps, events["senders"], strict=True)]
    print(json.dumps({"spikes": spikes}), flush=True)
    build(sys.argv[1])
    nest.Prepare()
    nest.Run(WARM_UP_MS)
    for line in sys.stdin:
        begun = time.perf_counter()
        nest.Run(float(line))
        print(json.dumps({"wall_s": time.perf_counter() - begun}), flush=True)


if __name__ == "__main__":
    main()
