"""Which process hosts which neurons, and what each of them needs to know: pure, from a `Network`.

A process hosts neurons of one model. Its arrays hold only what acts on its own neurons: the
postsynaptic side owns its incoming weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from neurobus.errors import InputError
from neurobus.model import Array, Model, Source
from neurobus.network import Network
from neurobus.parts import Background, Coupling, Currents, NeuronPart, SourcePart
from neurobus.stateful_synapses import StatefulSynapses, Type, lay_out
from neurobus.streams import Use, keys

Ints = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Process:
    """One process of the plan. `name` is its stream on the bus: the neuron's id, or `@n` for several."""

    number: int
    name: str
    members: Int32s
    model: int

    @property
    def single(self) -> bool:
        return len(self.members) == 1


@dataclass(frozen=True)
class Plan:
    """A network cut into processes. `external`: neuron indices that no process here owns."""

    network: Network
    processes: list[Process]
    process_of: Int32s
    external: frozenset[int] = field(default=frozenset())

    @cached_property
    def number_of(self) -> dict[str, int]:
        """Stream name → process number."""
        return {process.name: process.number for process in self.processes}

    @cached_property
    def stream_of(self) -> list[str]:
        """Neuron index → name of the stream that carries its spikes."""
        return [
            self.processes[p].name if p >= 0 else self.network.ids[i] for i, p in enumerate(self.process_of)
        ]

    def _sources(self, pre: Int32s, post: Int32s) -> list[list[str]]:
        here = self.process_of[post]
        heard: list[set[str]] = [set() for _ in self.processes]
        pairs = np.unique(here.astype(np.int64) << 32 | pre)
        for pair in pairs.tolist():
            heard[pair >> 32].add(self.stream_of[pair & 0xFFFFFFFF])
        return [sorted(names) for names in heard]

    @cached_property
    def spikes_heard(self) -> list[list[str]]:
        """Process number → the streams whose spikes it subscribes to (its own among them, if packed)."""
        return self._sources(self.network.synapses.pre, self.network.synapses.post)

    @cached_property
    def samples_heard(self) -> list[list[str]]:
        """Process number → the streams whose potentials it subscribes to."""
        return self._sources(*self._telling_pairs)

    def targets(self) -> tuple[list[list[tuple[int, int]]], list[list[tuple[int, int]]]]:
        """For spikes and for samples: process → (other process, smallest delay in steps to it)."""
        net = self.network
        spikes = _links(
            self.process_of[net.synapses.pre],
            self.process_of[net.synapses.post],
            net.synapses.delay,
            len(self.processes),
        )
        teller, hearer = self._telling_pairs
        delay = np.full(len(teller), net.potentials.delay)
        here = self.process_of
        return spikes, _links(here[teller], here[hearer], delay, len(self.processes))

    @cached_property
    def publishes_potential(self) -> npt.NDArray[np.bool_]:
        """Neuron index → whether its potential is told: to partners, or to a log."""
        return np.isin(np.arange(len(self.network.ids)), self.network.telling)

    @cached_property
    def _telling_pairs(self) -> tuple[Int32s, Int32s]:
        """Whose potential acts on whom: both ways across a junction, one way across a graded synapse."""
        a, b, graded = self.network.junctions.a, self.network.junctions.b, self.network.graded
        return np.concatenate([a, b, graded.pre]), np.concatenate([b, a, graded.post])

    @cached_property
    def _order(self) -> tuple[Ints, Ints]:
        """Synapses stably ordered by the process of their target, and where each process's begin."""
        here = self.process_of[self.network.synapses.post]
        order = np.argsort(here, kind="stable")
        return order, np.searchsorted(here[order], np.arange(len(self.processes) + 1))

    @cached_property
    def _local(self) -> Int32s:
        """Neuron index → its place within its process."""
        local = np.zeros(len(self.network.ids), np.int32)
        for process in self.processes:
            local[process.members] = np.arange(len(process.members))
        return local

    @cached_property
    def _member_of_model(self) -> Int32s:
        """Neuron index → its place within its model's parameter arrays."""
        place = np.zeros(len(self.network.ids), np.int32)
        for model in range(len(self.network.models)):
            mine = np.flatnonzero(self.network.model_of == model)
            place[mine] = np.arange(len(mine))
        return place

    @cached_property
    def initial_mv(self) -> Array:
        """As the function of that name."""
        return initial_mv(self.network)

    @cached_property
    def _peak_mv(self) -> Array:
        """What junctions see of a spike of each neuron, (N,) mV; NaN: its potential."""
        peak, net = np.full(len(self.network.ids), np.nan), self.network
        for number, model in enumerate(net.models):
            if issubclass(model, Model) and model.peak:
                peak[net.model_of == number] = net.params[number][model.peak]
        return peak

    def _params(self, process: Process) -> dict[str, Array]:
        place = self._member_of_model[process.members]
        return {name: values[place] for name, values in self.network.params[process.model].items()}

    def source_part(self, number: int) -> SourcePart:
        process, net = self.processes[number], self.network
        model = net.models[process.model]
        assert issubclass(model, Source)
        members = process.members.tolist()
        return SourcePart(
            process.name,
            model,
            process.members.astype(np.int64),
            [net.ids[i] for i in members],
            self._params(process),
            {n: net.times[i] for n, i in enumerate(members) if i in net.times},
            {n: net.shown[i] for n, i in enumerate(members) if i in net.shown},
            keys(net.seed, Use.SOURCE, net.tag[members]).tolist(),
            net.dt_ns,
        )

    def neuron_part(self, number: int) -> NeuronPart:
        process, net = self.processes[number], self.network
        model = net.models[process.model]
        assert issubclass(model, Model)
        n, members = len(process.members), process.members
        order, begins = self._order
        mine = order[begins[number] : begins[number + 1]]
        stateful, remembering = self._stateful(number, mine), None
        if stateful is not None:
            remembering = ~self._plain(model, mine)
            mine = mine[~remembering]
        return NeuronPart(
            name=process.name,
            model_name=net.model_names[process.model],
            model=model,
            index=members.astype(np.int64),
            ids=[net.ids[i] for i in members],
            params=self._params(process),
            key=keys(net.seed, Use.NOISE, net.tag[members]),
            dt_ns=net.dt_ns,
            min_delay=net.min_delay,
            max_delay=net.max_delay,
            row=np.searchsorted(net.synapses.pre[mine], np.arange(len(net.ids) + 1)).astype(np.int64),
            target=self._local[net.synapses.post[mine]] + net.synapses.receptor[mine] * np.int32(n),
            delay=net.synapses.delay[mine],
            weight=net.synapses.weight[mine],
            coupling=self._coupling(process),
            currents=self._currents(number),
            background=Background(
                net.background.rate_hz[members],
                net.background.weight[members],
                keys(net.seed, Use.BACKGROUND, net.tag[members]),
            ),
            watched=np.flatnonzero(self.publishes_potential[members]).astype(np.int32),
            potential_delta_mv=net.potentials.delta_mv,
            potential_interval=net.potentials.interval,
            sample_delay=net.potentials.delay,
            stateful=stateful,
            remembering=remembering,
        )

    def _coupling(self, process: Process) -> Coupling:
        net, here = self.network, self.process_of
        to_b, to_a = here[net.junctions.b] == process.number, here[net.junctions.a] == process.number
        graded = net.graded.only(here[net.graded.post] == process.number)
        other = np.concatenate([net.junctions.a[to_b], net.junctions.b[to_a], graded.pre])
        me = self._local[np.concatenate([net.junctions.b[to_b], net.junctions.a[to_a], graded.post])]
        weight = np.concatenate([net.junctions.ns[to_b], net.junctions.ns[to_a], graded.weight])
        none = np.zeros(len(other) - len(graded.pre))
        f = np.array([np.concatenate([none, 1.0 + graded.transfer]), np.concatenate([none, graded.threshold]),
                      np.concatenate([none, graded.slope]), np.zeros(len(other)),
                      self._peak_mv[other]])  # fmt: skip
        f[3] = transferred(f, self.initial_mv[other])
        reversal_mv = np.concatenate([none + np.nan, graded.reversal])
        by_target = np.lexsort((other, me))
        other, me = other[by_target], me[by_target]
        by_source = np.argsort(other, kind="stable")
        return Coupling(
            row=np.searchsorted(other[by_source], np.arange(len(net.ids) + 1)).astype(np.int64),
            order=by_source.astype(np.int32),
            at=np.searchsorted(me, np.arange(len(process.members) + 1)).astype(np.int64),
            target=me.astype(np.int32),
            weight=weight[by_target],
            transfer=np.ascontiguousarray(f[:, by_target]),
            reversal_mv=reversal_mv[by_target],
            delta_mv=net.potentials.junction_delta_mv[process.members],
        )

    def _currents(self, number: int) -> Currents:
        plan = []
        for neuron, start, stop, pa in self.network.currents:
            if self.process_of[neuron] == number:
                plan.append((start, self._local[neuron], pa))
                if stop >= 0:
                    plan.append((stop, self._local[neuron], -pa))
        plan.sort(key=lambda entry: (entry[0], entry[1]))
        step, local, pa_ = zip(*plan, strict=True) if plan else ((), (), ())
        return Currents(np.array(step, np.int64), np.array(local, np.int32), np.array(pa_, np.float64))

    def weights_in(self, number: int, saved: Mapping[str, Any]) -> tuple[Ints, Array]:
        """The synapses (by index in the network) that end in a process, and their weights in its dump."""
        model = self.network.models[self.processes[number].model]
        assert issubclass(model, Model)
        order, begins = self._order
        mine = order[begins[number] : begins[number + 1]]
        plain = self._plain(model, mine)
        stateful = self._stateful(number, mine)
        weight = np.empty(len(mine))
        weight[plain] = np.frombuffer(saved["weight"], np.float64)
        if stateful is not None:
            remembered = np.frombuffer(saved["weight_now"], np.float64)
            weight[np.flatnonzero(~plain)[stateful.given]] = remembered
        return mine, weight

    def _plain(self, model: type[Model], synapses: Ints) -> npt.NDArray[np.bool_]:
        """Which of these synapses on neurons of a model are nothing but a weight and a delay."""
        net = self.network
        if model.arrive is not None:
            return np.zeros(len(synapses), bool)
        return (net.synapses.kind[synapses] < 0) & (net.synapses.receptor[synapses] < len(model.receptors))

    def types(self, number: int) -> tuple[str, ...]:
        """The synapse types in use in a process, as `NeuronPart.types`."""
        order, begins = self._order
        kind = self.network.synapses.kind[order[begins[number] : begins[number + 1]]]
        return tuple(sorted(self.network.kinds.names[k] for k in np.unique(kind[kind >= 0]).tolist()))

    def _stateful(self, number: int, mine: Ints) -> StatefulSynapses | None:
        """The synapses with memory among those (by index) that end in a process."""
        process, net = self.processes[number], self.network
        model = net.models[process.model]
        assert issubclass(model, Model)
        kept = mine[~self._plain(model, mine)]
        if not len(kept) and model.arrive is None:
            return None
        kinds, on = net.kinds, net.synapses.only(kept)
        types = [Type(*of) for of in zip(kinds.names, kinds.types, kinds.params, strict=True)]
        return lay_out(
            model, len(process.members), len(net.ids), net.dt_ns, types, kinds.modulators, on.pre,
            self._local[on.post], on.receptor, on.delay, on.weight, on.kind, on.row,
        )  # fmt: skip

    def learns(self, number: int) -> bool:
        """Whether a process has synapses that may change: those of a type, or of a model that owns them."""
        model = self.network.models[self.processes[number].model]
        return bool(self.types(number)) or (issubclass(model, Model) and model.arrive is not None)

    def is_source(self, number: int) -> bool:
        return issubclass(self.network.models[self.processes[number].model], Source)


def initial_mv(network: Network) -> Array:
    """Absolute membrane potential of every neuron at the start, (N,) mV; 0 for sources."""
    v = np.zeros(len(network.ids))
    for number, model in enumerate(network.models):
        if issubclass(model, Model):
            mine, p = np.flatnonzero(network.model_of == number), network.params[number]
            v[mine] = model.initial(p).get(model.potential, 0.0)
            if model.potential_zero:
                v[mine] += p[model.potential_zero]
    return v


def transferred(f: Array, v: Array) -> Array:
    """What acts across each junction or graded synapse when the other side is at v mV; `f` as in
    `Coupling.transfer`; shape (n,)."""
    u = (v - f[1]) / np.where(f[2] > 0, f[2], 1.0)
    return np.select([f[0] == 0, f[0] == 1, f[0] == 2], [v, u, np.maximum(u, 0.0)], 1 / (1 + np.exp(-u)))


def _links(source: Int32s, target: Int32s, delay: npt.NDArray[Any], n: int) -> list[list[tuple[int, int]]]:
    links: list[list[tuple[int, int]]] = [[] for _ in range(n)]
    between = (source >= 0) & (target >= 0) & (source != target)
    pairs = source[between].astype(np.int64) << 32 | target[between]
    order = np.lexsort((delay[between], pairs))
    pairs, delay = pairs[order], delay[between][order]
    first = np.flatnonzero(np.diff(pairs, prepend=-1))
    for pair, shortest in zip(pairs[first].tolist(), delay[first].tolist(), strict=True):
        links[pair >> 32].append((pair & 0xFFFFFFFF, int(shortest)))
    return links


def place(network: Network, neurons_per_process: int = 1, processes: int | None = None) -> Plan:
    """Cut a network into processes of at most `neurons_per_process`, or into about `processes` of equal size.

    Neurons of one model that stand together in the config go together. Sources get processes of their
    own. Raises InputError when `processes` cannot hold all models.
    """
    if processes is not None:
        kinds = len({int(m) for m in network.model_of if m >= 0})
        if processes < kinds:
            raise InputError(
                f"run.processes = {processes}, but the network has {kinds} models; "
                f"at least {kinds} are needed",
                network.config.path,
            )
    made: list[Process] = []
    process_of = np.full(len(network.ids), -1, np.int32)
    shares = _shares(network, processes) if processes is not None else {}
    for model in range(len(network.models)):
        members = np.flatnonzero(network.model_of == model).astype(np.int32)
        if not len(members):
            continue
        if processes is None:
            parts = [
                members[i : i + neurons_per_process] for i in range(0, len(members), neurons_per_process)
            ]
        else:
            parts = [part for part in np.array_split(members, shares[model]) if len(part)]
        for part in parts:
            number = len(made)
            name = network.ids[part[0]] if len(part) == 1 else f"@{number}"
            made.append(Process(number, name, part, model))
            process_of[part] = number
    external = frozenset(np.flatnonzero(network.model_of < 0).tolist())
    return Plan(network, made, process_of, external)


def _shares(network: Network, processes: int) -> dict[int, int]:
    """How many of `processes` each model gets: in proportion to its neurons, at least one."""
    counts = {m: int(np.sum(network.model_of == m)) for m in range(len(network.models))}
    counts = {m: n for m, n in counts.items() if n}
    shares = dict.fromkeys(counts, 1)
    for _ in range(processes - len(counts)):
        most = max(counts, key=lambda m: counts[m] / shares[m])
        shares[most] += 1
    return shares
