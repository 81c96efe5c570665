"""What each process of a run is given, and what others are told of the run. All follows from the build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neurobus.bus.peer import Endpoints
from neurobus.bus.rounds import ConductorPlan
from neurobus.classroom.brain import INITIAL_WEIGHTS
from neurobus.cluster.build import Build
from neurobus.cluster.folder import Built, Manifest
from neurobus.cluster.levels import levels_mv
from neurobus.cluster.options import ObserverContext
from neurobus.describe import told
from neurobus.model import Model
from neurobus.network.held import grains
from neurobus.node.core import Core
from neurobus.node.role import Role
from neurobus.node.source_core import SourceCore
from neurobus.placement import Process


def role(build: Build, process: Process, troubles: Path) -> Role:
    """Of a process of neurons or sources. `troubles`: where tracebacks go."""
    plan, net, number = build.plan, build.network, process.number
    source = plan.is_source(number)
    return Role(
        name=process.name,
        ids=[net.ids[i] for i in process.members],
        index=process.members.tolist(),
        dt_ns=net.dt_ns,
        wall=build.wall,
        grace_ns=build.config.run.grace_ns,
        spikes_heard=[] if source else [s for s in plan.spikes_heard[number] if s != process.name],
        samples_heard=[] if source else [s for s in plan.samples_heard[number] if s != process.name],
        index_of=build.single_streams,
        n_ids=len(net.ids),
        sends_samples=not source and bool(plan.publishes_potential[process.members].any()),
        weighed=np.intersect1d(process.members, net.weighed.neurons).tolist(),
        weigh_every=net.weighed.interval,
        snapshots=build.state,
        troubles=troubles,
        keeps=not source and build.wall and build.state is not None and plan.learns(number),
    )


def core(build: Build, number: int) -> Core | SourceCore:
    """What computes in process `number`."""
    if build.plan.is_source(number):
        return SourceCore(build.plan.source_part(number))
    return Core(build.plan.neuron_part(number))


def conductor_plan(build: Build) -> ConductorPlan:
    """What the conductor of the virtual clock needs to know."""
    plan, net = build.plan, build.network
    spike_targets, sample_targets = plan.targets()
    return ConductorPlan(
        names=[p.name for p in plan.processes],
        single=[p.single for p in plan.processes],
        sources=[plan.is_source(p.number) for p in plan.processes],
        dt_ns=net.dt_ns,
        min_delay=net.min_delay,
        spike_targets=spike_targets,
        sample_targets=sample_targets,
        owner={net.ids[i]: (p, i) for i, p in enumerate(plan.process_of.tolist()) if p >= 0},
        begin=build.begin,
        stimuli=[(t // net.dt_ns, name, weight) for t, name, weight in build.options.stimuli],
        snapshot_every_s=build.config.run.snapshot_every_ns * 1e-9 if build.state else 0.0,
        recorded=np.unique(plan.process_of[net.weighed.neurons]).tolist(),
        weight_interval=net.weighed.interval,
    )


def observer_context(build: Build, name: str, arguments: dict[str, Any], where: Manifest, folder: Path,
                     lifeline_fd: int) -> ObserverContext:  # fmt: skip
    """Of the program `name`. `where`: the run's manifest; `lifeline_fd`: reads EOF when the run is over."""
    net, options = build.network, build.options
    header = {
        "config_name": build.config.path.name if build.config.path else options.config_name,
        "config_text": build.config.text,
        "files": build.config.files | ({INITIAL_WEIGHTS: options.weights} if options.weights else {}),
        "overrides": list(build.config.overrides),
        "replaced": sorted(options.replaced),
        "seed": net.seed,
        "dt_ns": net.dt_ns,
        "clock": build.clock,
        "ids": net.ids,
        "n_neurons": net.n_neurons,
        "started_unix_ns": where.started_unix_ns,
        "groups": where.groups,
    }
    return ObserverContext(
        name=name,
        folder=folder,
        endpoints=where.endpoints,
        lifeline_fd=lifeline_fd,
        arguments={"on_log_failure": build.config.run.on_log_failure, **arguments},
        header=header,
        streams=[p.name for p in build.plan.processes] + build.external,
        single=build.single_streams,
    )


def manifest(build: Build, folder: Path, launcher: int, started_unix_ns: int) -> Manifest:
    """As others find the run. `launcher`: its process number."""
    net = build.network
    models = [net.models[m] if m >= 0 else None for m in net.model_of.tolist()]
    return Manifest(
        name=folder.name,
        pid=launcher,
        config=str(build.config.path or build.options.config_name),
        clock=build.clock,
        seed=net.seed,
        dt_ns=net.dt_ns,
        endpoints=Endpoints.in_folder(folder).as_dict(),
        ids=net.ids,
        n_neurons=net.n_neurons,
        streams=build.plan.stream_of,
        processes=len(build.plan.processes),
        external=build.external,
        weight_units=[m.weight_unit if m is not None and issubclass(m, Model) else "" for m in models],
        started_unix_ns=started_unix_ns,
        min_delay=net.min_delay,
        levels_mv=levels_mv(net),
        groups={name: members.tolist() for name, members in net.groups.items()},
        grains=grains(net),
    )


def built(build: Build, where: Manifest) -> Built:
    """What the launcher is told once the network is built."""
    run = build.config.run
    return Built(
        manifest=where,
        begin=build.begin,
        restarts=run.restarts,
        snapshot_every_s=run.snapshot_every_ns * 1e-9,
        duration_ns=run.duration_ns,
        told=list(told(build.network)),
    )
