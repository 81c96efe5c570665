"""The weights of a network, gathered from its processes: from their snapshots, in the network's order."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import numpy as np

from neurobus import placement
from neurobus.bus.peer import Peer
from neurobus.cluster.folder import Manifest
from neurobus.cluster.resume import resume_step, state_at
from neurobus.config.schema import Run
from neurobus.errors import InputError, RunError
from neurobus.model import Array, Model
from neurobus.network import Network
from neurobus.wire import bus as wire
from neurobus.wire import verbs
from neurobus.wire.message import Control, Report

PATIENCE_S = 10.0


def read_weights(state: Path, network: Network, run: Run) -> Array:
    """All weights (synapses,), from the snapshots in `state`. Raises InputError where one is missing."""
    step = resume_step(state)
    plan = placement.place(network, run.neurons_per_process, run.processes)
    found = network.synapses.weight.copy()
    for process in plan.processes:
        if plan.is_source(process.number):
            continue
        saved = state_at(state, process.name, step)
        try:
            synapses, weights = plan.weights_in(process.number, saved["core"])
            found[synapses] = weights
        except (ValueError, KeyError, IndexError) as error:
            raise InputError(f"the snapshot of '{process.name}' is of another network", state) from error
    return found


def ask_weights(manifest: Manifest, network: Network) -> tuple[Array, int]:
    """The weights (synapses,) of a running cluster as its processes have them now, and the latest step that
    one of them is of. Raises RunError when one does not answer."""
    waiting = set(manifest.streams[: network.n_neurons]) - set(manifest.external)
    peer, step = Peer(manifest.bus, observer=True), 0
    rows: list[Array] = []
    try:
        peer.subscribe(wire.REPORT + b"/")
        peer.join(f"weights-{os.getpid()}")
        peer.send(wire.encode(Control(wire.EVERYONE, verbs.AskWeights())))
        give_up = time.monotonic() + PATIENCE_S
        while waiting:
            data = peer.wait(max(0.0, give_up - time.monotonic()))
            if data is None:
                raise RunError(f"{len(waiting)} neurons did not say their weights, {min(waiting)} among them")
            with contextlib.suppress(wire.Malformed, ValueError):
                match wire.decode(data):
                    case Report(origin, verbs.Weights() as told) if origin in waiting:
                        rows.append(np.array([told.post, told.pre, told.weight], np.float64))
                        step = max(step, told.step)
                        waiting.remove(origin)
    finally:
        peer.close()
    return ordered(network, np.concatenate(rows, axis=1)), step


def ordered(network: Network, rows: Array) -> Array:
    """(post, pre, weight) of every synapse as neurons tell them, as weights in the network's order."""
    post, pre, weight = rows
    owner = np.array([issubclass(m, Model) and m.arrive is not None for m in network.models])
    n_receptors = np.array([len(m.receptors) if issubclass(m, Model) else 0 for m in network.models])
    synapses = network.synapses
    model = network.model_of[synapses.post]
    # A neuron tells those without memory first where it has several from one source.
    memory = (synapses.kind >= 0) | owner[model] | (synapses.receptor >= n_receptors[model])
    place = np.lexsort((memory, synapses.pre, synapses.post))
    told = np.lexsort((np.arange(len(pre)), pre, post))
    if not (
        np.array_equal(synapses.post[place], post[told]) and np.array_equal(synapses.pre[place], pre[told])
    ):
        raise RunError("the neurons' synapses are not those of their config")
    found = np.empty(len(place))
    found[place] = weight[told]
    return found
