"""The weights of a network, gathered from its processes: from their snapshots, in the network's order."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neurobus import placement
from neurobus.config.schema import Run
from neurobus.errors import InputError
from neurobus.model import Array
from neurobus.network import Network
from neurobus.node.runtime import read_snapshot
from neurobus.placement import NeuronPart, Plan


def numbered(network: Network, run: Run) -> Plan:
    """The network's plan with each synapse's weight its number: it says where each has gone."""
    labelled = replace(network, weight=np.arange(len(network.weight), dtype=np.float64))
    return placement.place(labelled, run.neurons_per_process, run.processes)


def gather(part: NeuronPart, core: dict[str, Any], into: Array) -> None:
    """Put a process's weights, from its dumped core, where `part` (of `numbered`) says."""
    into[part.weight.astype(np.int64)] = np.frombuffer(core["weight"], np.float64)
    if part.owned is not None:
        n, buffer = part.owned.n, np.frombuffer(core["buffer"], np.float64)
        first = len(buffer) - len(part.owned.start)
        into[part.owned.start[:n].astype(np.int64)] = buffer[first : first + n]


def read_weights(state: Path, network: Network, run: Run) -> Array:
    """All weights (synapses,) as the snapshots in `state` have them. Raises InputError where one is missing."""
    try:
        step = int(json.loads((state / "resume.json").read_text())["step"])
    except (OSError, ValueError, KeyError) as error:
        raise InputError("holds no snapshots", state) from error
    plan, found = numbered(network, run), network.weight.copy()
    for process in plan.processes:
        if plan.is_source(process.number):
            continue
        saved = read_snapshot(state, process.name, step)
        if saved is None:
            raise InputError(f"no snapshot of '{process.name}' at step {step}", state)
        try:
            gather(plan.neuron_part(process.number), saved["core"], found)
        except (ValueError, KeyError, IndexError) as error:
            raise InputError(f"the snapshot of '{process.name}' is of another network", state) from error
    return found
