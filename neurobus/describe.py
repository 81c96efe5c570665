"""What `check` says about a network: figures, an estimate of memory, and what looks like a mistake."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from neurobus.grid import off_grid_ms, steps_up
from neurobus.model import Model
from neurobus.network import Network
from neurobus.network.held import inexact
from neurobus.placement import Plan, place
from neurobus.plausible import implausible
from neurobus.words import counted, some

PROCESS_MB = 6.0
"""PSS of a forked process with its sockets and compiled kernels, before any neuron."""

BUS_NS = 500_000
"""What a bus in real time needs to bring a potential, with some reserve."""


STEP_NS = 6.0
"""What a step of one `nodes.lif` without input takes on one core of today, alone or packed; other models and
inputs take more."""


def describe(network: Network) -> dict[str, Any]:
    """Plain figures of a network, ready for JSON. Raises InputError where it does not fit its processes."""
    run = network.config.run
    n, ms = len(network.ids), network.dt_ns / 1e6
    plan = place(network, run.neurons_per_process, run.processes)
    members = np.bincount(network.model_of[network.model_of >= 0], minlength=len(network.models))
    return {
        "config": network.config.places.name,
        "neurons": network.n_neurons,
        "sources": n - network.n_neurons,
        "external": int(np.sum(network.model_of < 0)),
        "processes": len(plan.processes),
        "synapses": int(network.synapses.pre.size),
        "synapse_types": {
            name: int(np.sum(network.synapses.kind == kind)) for kind, name in enumerate(network.kinds.names)
        },
        "joined_again": _joined_again(network),
        "electrical": int(network.junctions.a.size),
        "potential_delay_ms": network.potentials.delay * ms,
        "graded": int(network.graded.pre.size),
        "delay_ms": [network.min_delay * ms, network.max_delay * ms] if network.synapses.pre.size else None,
        "inputs_per_neuron": round(network.synapses.pre.size / max(network.n_neurons, 1), 1),
        "models": {name: int(count) for name, count in zip(network.model_names, members, strict=True)},
        "clock": run.clock,
        "dt_ms": ms,
        "duration_s": None if run.duration_ns is None else run.duration_ns / 1e9,
        "seed": network.seed,
        "switches": network.config.switches,
        "memory_mb": round(PROCESS_MB * len(plan.processes) + array_mb(network, len(plan.processes)), 1),
        "rows_skipped": network.account.skipped,
        "warnings": [*told(network), *_warnings(network), *slower_than_real_time(network, plan)],
    }


def told(network: Network) -> Iterable[str]:
    """Where what acts is not exactly what was written, and by how much: known before a run."""
    yield from network.account.notes
    yield from inexact(network)
    dt_ms = network.dt_ns / 1e6
    for number, (name, model) in enumerate(zip(network.model_names, network.models, strict=True)):
        mine = np.flatnonzero(network.model_of == number)
        for key, param in model.params().items():
            if not param.steps or not len(mine):
                continue
            values = network.params[number][key]
            late = off_grid_ms(values, dt_ms)
            (off,) = np.nonzero(late)
            if len(off):
                of = network.ids[mine[off[0]]] + (f" and {len(off) - 1:,} more" if len(off) > 1 else "")
                worst = off[np.argmax(late[off])]
                acts = steps_up(values[worst], dt_ms) * network.dt_ns / 1e6
                told = f"{values[worst]:g} ms acts as {acts:g} ms"
                yield f"{key} of {of} ({name}) is rounded up to steps of {dt_ms:g} ms: {told}"
    if len(network.telling):
        ns = network.config.run.potential_interval_ns
        acts_ns = network.potentials.interval * network.dt_ns
        if acts_ns != ns:
            yield f"potential_interval {ns / 1e6:g} ms acts as {acts_ns / 1e6:g} ms, whole steps"


def slower_than_real_time(network: Network, plan: Plan, cores: int | None = None) -> Iterable[str]:
    """A line where not even steps without input are done within the wall clock's time."""
    if network.config.run.clock != "wall":
        return
    members = np.bincount(plan.process_of[: network.n_neurons], minlength=1)
    cores = cores or os.cpu_count() or 1
    busiest = max(float(members.max()), network.n_neurons / cores)
    if (load := busiest * STEP_NS / network.dt_ns) > 1:
        yield (
            f"steps of {network.dt_ns / 1e6:g} ms alone take about {load:.2g} times real time "
            f"({STEP_NS:g} ns a neuron, {counted(cores, 'core')}), so the wall clock leaves this run behind; "
            'say a longer run.dt, or clock = "virtual"'
        )


def _joined_again(network: Network) -> int:
    """Synapses beyond the first from one neuron to another."""
    return int(np.sum((np.diff(network.synapses.pre) == 0) & (np.diff(network.synapses.post) == 0)))


def array_mb(network: Network, processes: int) -> float:
    """Synapses, their row indices in every process, states, constants (about as many) and ring buffers."""
    slots = 1 << (2 * network.max_delay - 1).bit_length()
    size = 16 * network.synapses.pre.size + 40 * network.junctions.a.size + 72 * network.graded.pre.size
    size += 8 * len(network.ids) * processes
    for number, model in enumerate(network.models):
        if issubclass(model, Model):
            per_neuron = 2 * len(model.states()) + slots * len(model.receptors)
            size += 8 * per_neuron * int(np.sum(network.model_of == number))
    return size / 1e6


def _warnings(network: Network) -> Iterable[str]:
    n, soon = len(network.ids), BUS_NS / network.dt_ns
    driven = np.isin(np.arange(n), network.synapses.post) | (network.background.rate_hz > 0)
    driven[[current[0] for current in network.currents]] = True
    driven[network.junctions.a] = driven[network.junctions.b] = driven[network.graded.post] = True
    for number, model in enumerate(network.models):
        mine = np.flatnonzero(network.model_of == number)
        for name, param in model.params().items():
            if param.unit.endswith("A"):
                driven[mine[network.params[number][name] != 0]] = True
    yield from _some(network, np.flatnonzero(~driven[: network.n_neurons]), "neuron", "without any input")
    silent = np.setdiff1d(np.arange(network.n_neurons, n), network.synapses.pre)
    yield from _some(network, silent, "source", "that no neuron listens to")
    if network.junctions.a.size and network.config.run.clock == "wall" and network.potentials.delay < soon:
        yield (
            f"potentials act after {network.potentials.delay * network.dt_ns / 1e6:g} ms, sooner than a bus "
            'in real time brings them: they come late; say run.potential_delay = "1 ms" or clock = "virtual"'
        )
    quiet = [i for i, steps in sorted(network.times.items()) if not len(steps)]
    yield from _some(network, quiet, "source", "without a single spike")
    yield from implausible(network)


def _some(network: Network, members: Iterable[int], what: str, which: str) -> Iterable[str]:
    names = [network.ids[i] for i in members]
    if names:
        yield f"{counted(len(names), what)} {which}: {some(names)}"


def _seen_after(facts: dict[str, Any]) -> str:
    if not facts["electrical"]:
        return ""
    return f", where a turn or a spike is seen after {facts['potential_delay_ms']:g} ms"


def render(facts: dict[str, Any]) -> str:
    """The same as text for a terminal."""
    delays = facts["delay_ms"]
    external = f", {facts['external']} of them external" if facts["external"] else ""
    span = "" if delays is None else f", delays {delays[0]:g} to {delays[1]:g} ms"
    lasts = "" if facts["duration_s"] is None else f", for {facts['duration_s']:g} s"
    rows = [
        ("neurons", f"{facts['neurons']:,}"),
        ("sources", f"{facts['sources']:,}{external}"),
        ("models", ", ".join(f"{name} {count:,}" for name, count in facts["models"].items())),
        ("synapses", f"{facts['synapses']:,} ({facts['inputs_per_neuron']:g} per neuron){span}"),
        ("", f"{facts['joined_again']:,} of them join a pair that has one" if facts["joined_again"] else ""),
        ("learning", ", ".join(f"{name} {count:,}" for name, count in facts["synapse_types"].items())),
        ("electrical", f"{facts['electrical']:,}{_seen_after(facts)}"),
        ("graded", f"{facts['graded']:,}" if facts["graded"] else ""),
        ("processes", f"{facts['processes']:,}, about {facts['memory_mb']:,.0f} MB"),
        ("run", f"{facts['clock']} clock, dt {facts['dt_ms']:g} ms, seed {facts['seed']}{lasts}"),
        ("switches", ", ".join(f"{name} {'on' if on else 'off'}" for name, on in facts["switches"].items())),
        ("skipped", ", ".join(f"{count:,} rows of {file}" for file, count in facts["rows_skipped"].items())),
    ]
    lines = [str(facts["config"]), *(f"  {name:<11} {text}" for name, text in rows if text)]
    return "\n".join(lines + [f"  warning     {warning}" for warning in facts["warnings"]])
