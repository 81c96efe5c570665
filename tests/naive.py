"""A core of plain Python, without any cleverness: every update of every neuron, one after the other.

What `neurobus.node.core` and its compiled code come to is held against it. Chemical synapses without memory,
pokes, currents that change, background noise; one neuron a process.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from neurobus import streams
from neurobus.exact import exp
from neurobus.network import Network
from neurobus.node.kernel.codegen import TINY
from neurobus.node.source_core import SourceCore
from neurobus.parts import NeuronPart
from neurobus.placement import place


def arrivals(key: int, k: int, mean: float) -> int:
    """Spikes of a background in update k: the Poisson distribution inverted, by the word of update k."""
    with np.errstate(over="ignore"):
        word = int(streams.mixed(np.uint64(key ^ (k * int(streams.COUNTER) & (1 << 64) - 1))))
    u, n, p = (word >> 11) / 2.0**53, 0, float(exp(np.array([-mean]))[0])
    total = p
    while u >= total:
        n += 1
        p *= mean / n
        total += p
    return n


class NaiveCore:
    """One neuron. Effects wait in `due` by the update in which they act."""

    def __init__(self, part: NeuronPart):
        self.part, model = part, part.model
        self.states = np.zeros((len(model.states()), 1))
        for name, values in model.initial(part.params).items():
            self.states[list(model.states()).index(name)] = values
        constants = model.prepare(part.params, part.dt_ns / 1e6).values()
        self.constants = np.array([np.broadcast_to(value, 1) for value in constants], float)
        self.current, self.fired = np.zeros(1), np.zeros(1, np.uint8)
        self.due: defaultdict[int, list[tuple[int, int, int, int, float]]] = defaultdict(list)
        self.pokes: list[tuple[int, float]] = []

    def hear(self, stamp: int, source: int) -> None:
        part = self.part
        for j in range(part.row[source], part.row[source + 1]):
            effect = stamp, source, j, int(part.target[j]), float(part.weight[j])
            self.due[stamp + int(part.delay[j]) - 1].append(effect)

    def update(self, k: int) -> bool:
        """Update k, from step k to k + 1; whether the neuron fires."""
        part = self.part
        x = np.zeros((len(part.model.receptors), 1))
        for _, _, _, receptor, weight in sorted(self.due.pop(k, [])):
            x[receptor, 0] += weight
        for step, pa in zip(part.currents.step.tolist(), part.currents.pa.tolist(), strict=True):
            self.current[0] += pa if step == k else 0.0
        for _, weight in sorted(poke for poke in self.pokes if poke[0] == k):
            x[0, 0] += weight
        mean = float(part.background.rate_hz[0]) * (part.dt_ns / 1e6) * 1e-3
        if mean > 0:
            x[0, 0] += arrivals(int(part.background.key[0]), k, mean) * part.background.weight[0]
        part.model.step(k, self.states, self.constants, x, self.current, part.key, self.fired)
        if (k + 1) % 1024 == 0:
            self.states[np.abs(self.states) < TINY] = 0.0
        assert math.isfinite(self.states.sum())
        return bool(self.fired[0])


def naive_keys(network: Network, to: int, pokes: Sequence[tuple[int, str, float]] = ()) -> list[int]:
    """The keys of all spikes up to step `to`, ascending."""
    plan = place(network)
    cores: dict[int, NaiveCore] = {}
    keys = []
    for process in plan.processes:
        if plan.is_source(process.number):
            keys += SourceCore(plan.source_part(process.number)).advance(to).keys.tolist()
        else:
            part = plan.neuron_part(process.number)
            cores[int(part.index[0])] = NaiveCore(part)
    for step, name, weight in pokes:
        cores[network.ids.index(name)].pokes.append((step, weight))
    for key in keys:
        for core in cores.values():
            core.hear(key >> 32, key & 0xFFFFFFFF)
    for k in range(to):
        fired = [index for index, core in cores.items() if core.update(k)]
        keys += [(k + 1) << 32 | index for index in fired]
        for index in fired:
            for core in cores.values():
                core.hear(k + 1, index)
    return sorted(keys)
