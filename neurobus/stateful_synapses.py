"""Synapses with memory, laid out for the kernel: who owns which, when each acts, and how they start. Pure.

Two orders are needed. The neuron walks through *its* synapses, so they are numbered by (neuron, type, set of
parameters, source, declaration); the synapses of one neuron with one type and one set of parameters are a
*site* and share its traces. A spike goes through *its source's* synapses, so `entry` lists them by (source,
delay, declaration): those that act in update k are one stretch of it for each stamp k + 1 - delay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neurobus.model import Array, Model, Synapse

Ints = npt.NDArray[np.int64]

HEAD = 16
SIZES = (
    "n_synapses", "n_z", "n_sites", "n_g", "n_history", "n_delays", "n_c", "n_rows", "longest", "n_seen",
)  # fmt: skip
SIZE, ACTED, DELAYS_AT, CURSORS_AT = range(len(SIZES), len(SIZES) + 4)
"""Integers at the front of `StatefulSynapses.integers`: of synapses, their states, sites, traces, spikes
that a site remembers, delays, constants, rows of `entry`; the longest delay; counts of spikes known; numbers
of the state; how many synapses acted in a run; where delays and cursors begin."""
SHORTEST_HISTORY = 64
SEVERAL = 8
"""Spikes a step, on average over two delays, that a site remembers where the model may have several."""


@dataclass(frozen=True)
class StatefulSynapses:
    """Synapses with memory as the kernel is given them (`node.kernel.synapse_codegen`).

    `integers` and `constants` do not change; `start` is the part of the state that holds weights, states and
    traces (in that order), as they are at the beginning. By synapse: `given` (its place in the order it was
    given), `source`, `neuron` (local), `receptor`, `delay`, `type_of` (index into `types`; -1 a modulator's,
    or an owning model's)."""

    types: tuple[str, ...]
    integers: Ints
    constants: Array
    start: Array
    given: Ints
    source: Ints
    neuron: Ints
    receptor: Ints
    delay: Ints
    type_of: Ints

    @property
    def n(self) -> int:
        return len(self.source)


@dataclass(frozen=True)
class Type:
    """A synapse type with the sets of parameters that a network has of it: name → (sets,)."""

    name: str
    kind: type[Synapse]
    params: dict[str, Array]


def lay_out(
    model: type[Model], n_neurons: int, n_sources: int, dt_ns: int, types: Sequence[Type],
    modulators: Sequence[str], source: npt.NDArray[Any], neuron: npt.NDArray[Any],
    receptor: npt.NDArray[Any], delay: npt.NDArray[Any], weight: Array, kind: npt.NDArray[Any],
    row: npt.NDArray[Any],
) -> StatefulSynapses:  # fmt: skip
    """Synapses of `n_neurons` neurons, in the order (source, declaration). `kind` is an index into `types`;
    -1 for those of a model that owns its synapses, and for a modulator's: `receptor` is then that many and
    its number in `modulators`."""
    used = sorted({int(k) for k in kind if k >= 0}, key=lambda k: types[k].name)
    number = {k: n for n, k in enumerate(used)}
    mine = [types[k] for k in used]
    heard = modulators_of([t.kind for t in mine])
    kind = np.array([number.get(int(k), -1) for k in kind], np.int64)
    owner = model.arrive is not None
    modulating = np.zeros(len(kind), bool) if owner else kind < 0

    order = np.lexsort((np.arange(len(source)), source, row, kind, modulating, neuron))
    source, neuron, receptor, delay = source[order], neuron[order], receptor[order], delay[order]
    weight, kind, row, modulating = weight[order], kind[order], row[order], modulating[order]
    n = len(source)
    typed = np.flatnonzero(kind >= 0)
    sites, site_of_typed = np.unique(
        np.stack([neuron[typed], kind[typed], row[typed]], axis=1).astype(np.int64), axis=0,
        return_inverse=True,
    )  # fmt: skip
    site = np.zeros(n, np.int64)
    site[typed] = site_of_typed.ravel()
    n_receptors = len(model.receptors)
    for j in np.flatnonzero(modulating).tolist():
        site[j] = -1 - heard.index(modulators[int(receptor[j]) - n_receptors])
    # Sites stand in the order of their synapses; only modulators' synapses lie between, at a neuron's end.
    begins = np.searchsorted(site[typed], np.arange(len(sites)))
    ends = np.append(begins[1:], len(typed))
    site_at = np.stack([typed[begins], typed[ends - 1] + 1], axis=1) if len(sites) else np.zeros((0, 2), int)

    entry = np.lexsort((np.arange(n), delay, source))
    delays = np.unique(delay)[::-1]
    longest = int(delays.max(initial=1))
    history = any(t.kind.post is not None for t in mine)
    dendritic = any(t.kind.dendritic for t in mine)
    slots = 0
    if history:
        slots = SHORTEST_HISTORY
        while dendritic and slots < 2 * longest * (SEVERAL if model.several else 1) + 4:
            slots *= 2
    n_z = len(model.synapse_states()) if owner else max([len(t.kind.states()) for t in mine], default=0)
    n_g = max([len(t.kind.traces()) for t in mine], default=0)

    prepared = [[np.asarray(c) for c in t.kind.prepare(t.params, dt_ns / 1e6).values()] for t in mine]
    n_c = max([len(p) for p in prepared], default=0)
    constants = np.zeros((len(sites), n_c))
    traces, states = np.zeros((len(sites), n_g)), np.zeros((n_z, n))
    for k, t in enumerate(mine):
        here = np.flatnonzero(sites[:, 1] == k)
        for c, values in enumerate(prepared[k]):
            constants[here, c] = values[sites[here, 2]] if values.ndim else values
        p = {name: values[sites[here, 2]] for name, values in t.params.items()}
        for name, values in t.kind.initial_traces(p).items():
            traces[here, list(t.kind.traces()).index(name)] = values
        there = np.flatnonzero(kind == k)
        p = {name: values[row[there]] for name, values in t.params.items()}
        for name, values in t.kind.initial(p, weight[there]).items():
            states[list(t.kind.states()).index(name), there] = values

    seen, n_sites = (n if history else 0), len(sites)
    size = n + n_z * n + seen + n_sites * n_g + 2 * n_sites + n_sites * slots + n_sites * (slots + 1) * n_g
    start = np.zeros(size)
    start[:n] = weight
    start[n : n + n_z * n] = states.ravel()
    at = n + n_z * n + seen
    start[at : at + n_sites * n_g] = traces.ravel()
    head = np.zeros(HEAD, np.int64)
    head[: SIZE + 1] = n, n_z, n_sites, n_g, slots, len(delays), n_c, n_sources + 1, longest, seen, size
    head[DELAYS_AT] = HEAD + n_sources + 1 + 6 * n
    head[CURSORS_AT] = head[DELAYS_AT] + len(delays) + 3 * n_sites + 2 * (n_neurons + 1)
    integers = np.concatenate([
        head, np.searchsorted(source[entry], np.arange(n_sources + 1)), entry, delay[entry], receptor, neuron,
        site, delay, delays, site_at.ravel(), np.searchsorted(sites[:, 0], np.arange(n_neurons + 1)),
        np.searchsorted(neuron, np.arange(n_neurons + 1)), sites[:, 1], np.zeros(len(delays)),
    ]).astype(np.int64)  # fmt: skip
    floats = np.concatenate([[dt_ns / 1000, dt_ns / 1e6], constants.ravel()])
    as_ints = (a.astype(np.int64) for a in (order, source, neuron, receptor, delay, kind))
    return StatefulSynapses(tuple(t.name for t in mine), integers, floats, start, *as_ints)


def modulators_of(kinds: Sequence[type[Synapse]]) -> list[str]:
    """What types listen to, in the order of their numbers in a kernel of these types."""
    heard: list[str] = []
    for kind in kinds:
        heard += [name for name in kind.modulators if name not in heard]
    return heard
