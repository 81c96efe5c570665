"""What the fork server builds of a run's options: the network, and how it is cut into processes. Pure.

Nothing here is changed afterwards: every process of the run is forked with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from neurobus import config as configs
from neurobus import modelpath, network, placement
from neurobus.classroom.brain import INITIAL_WEIGHTS, weights_from, with_weights
from neurobus.cluster import room
from neurobus.cluster.options import Options
from neurobus.config import Config
from neurobus.describe import array_mb
from neurobus.errors import InputError
from neurobus.network import Network
from neurobus.network.recorded import with_recorded
from neurobus.placement import Plan, Process
from neurobus.streams import drawn_otherwise


@dataclass(frozen=True)
class Build:
    """`state`: where the run keeps its snapshots, if it does. `resume_step`: None for a new run."""

    options: Options
    config: Config
    network: Network
    plan: Plan
    clock: str
    state: Path | None
    resume_step: int | None

    @property
    def wall(self) -> bool:
        return self.clock == "wall"

    @property
    def begin(self) -> int:
        """The step at which the run begins."""
        return self.resume_step or 0

    @cached_property
    def single_streams(self) -> dict[str, int]:
        """Streams of one neuron or source → its index."""
        own = {process.name: int(process.members[0]) for process in self.plan.processes if process.single}
        return own | {self.network.ids[i]: i for i in self.plan.external}

    @property
    def external(self) -> list[str]:
        """Ids that no process of the run owns."""
        return [self.network.ids[i] for i in sorted(self.plan.external)]

    @cached_property
    def one_of_each(self) -> list[Process]:
        """One process for each kind of code that runs: a model with the synapse types in use."""
        kinds = {
            (process.model, self.plan.types(process.number)): process
            for process in reversed(self.plan.processes)
        }
        return list(kinds.values())


def build(options: Options, resume_step: int | None, machine: room.Room) -> Build:
    """Read the config, build the network and place it. `machine`: what it has room for. Raises InputError."""
    modelpath.look_in(options.python_path)
    modelpath.leave_out(options.left_out)
    modelpath.guard(options.guarded)
    config = read_config(options)
    run = config.run
    made = network.build(config, options.seed)
    if word := drawn_otherwise(options.streams, made.account.drew):
        raise InputError(f"{word}; it cannot be resumed", options.resume)
    weights = options.weights or options.files.get(INITIAL_WEIGHTS)
    if weights is not None:
        made = with_weights(made, weights_from(weights))
    made = with_recorded(made, options.replaced)
    plan = placement.place(made, run.neurons_per_process, run.processes)
    state = Path(options.state) if options.state and options.snapshots else None
    found = Build(options, config, made, plan, options.clock or run.clock, state, resume_step)
    n = len(plan.processes)
    for word in room.missing(n, made.n_neurons, array_mb(made, n), machine):
        raise InputError(word, config.path)
    if not found.wall and plan.external:
        raise InputError(
            f"source '{found.external[0]}' is external, and the virtual clock knows no one outside; "
            "use --clock wall",
            config.path,
        )
    return found


def read_config(options: Options) -> Config:
    """The config that the options name or hold. Raises InputError."""
    if options.config_file:
        return configs.load(options.config_file, options.overrides)
    return configs.loads(options.config_text or "", options.config_name, options.files, options.overrides)


def network_of(options: Options) -> Network:
    """The network that a run's options describe. Raises InputError."""
    return network.build(read_config(options), options.seed)
