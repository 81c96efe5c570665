"""The network a config describes, as arrays.

What is random is drawn from the words of its owner (`neurobus.streams`), so that the same seed gives the
same network anywhere, a further group or projection leaves the others as they were, and whoever builds what
ends on some neurons gets what these have in the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from neurobus import units
from neurobus.config import Config
from neurobus.config.locate import Place
from neurobus.config.schema import Background, Current
from neurobus.model import Array, Model, Shown, Source
from neurobus.network.chemical import Chemical, Kinds, Synapses
from neurobus.network.electrical import Junctions, electrical
from neurobus.network.graded import Graded, graded
from neurobus.network.held import current_fault, electrodes_fault
from neurobus.network.population import Int32s, Population
from neurobus.network.projection import Projections
from neurobus.network.quantities import Quantities
from neurobus.network.space import Space
from neurobus.network.stability import followed
from neurobus.streams import Use, Words


class BackgroundTrains(NamedTuple):
    """Each neuron's own Poisson train, 0 where it has none: shapes (N,), the weight in its model's unit."""

    rate_hz: Array
    weight: Array


@dataclass(frozen=True)
class Potentials:
    """Which potentials are published, when, and how exactly.

    `recorded`: neurons whose potential a log has. `interval`: steps between two samples at least. They act
    `delay` steps after they are published. `delta_mv`: what a sample may be off in a log;
    `junction_delta_mv` (N,): what it may be off for partners, infinity without a junction.
    """

    recorded: Int32s
    interval: int
    delay: int
    delta_mv: float
    junction_delta_mv: Array


class Weighed(NamedTuple):
    """The neurons whose weights a log has, every `interval` steps."""

    neurons: Int32s
    interval: int


class Places(NamedTuple):
    """`spaces`: group, or member of one → where it stands. `at_mm` (N, 2): NaN where there is no place."""

    spaces: dict[str, Space]
    at_mm: Array


@dataclass(frozen=True)
class Account:
    """What is told of a build. `skipped`: file → rows with unknown ids. `drew`: what words are in use for,
    also in the run. `notes`: what is no mistake, but should be known before a run."""

    skipped: dict[str, int]
    drew: frozenset[Use]
    notes: list[str]


@dataclass(frozen=True)
class Network:
    """Neurons (the first `n_neurons` of `ids`), then sources; all arrays by neuron index or by synapse.

    `model_of` (N,) index into `models`, -1: external. `params[model]`: name → (members,) in the
    parameter's unit, members in order of neuron index. `times`: source → spike steps, ascending.
    `shown`: encoder → what it is shown.
    `synapses` and `graded` are sorted by (pre, post, order in the config).
    `currents`: (neuron, first step, step at which it ends or -1, pA).
    `groups`: what a config may call by name (group, neuron, source, pattern) → its members.
    `patterns`: group → (patterns, members).
    `tag` (N,): what stands for each as the owner of random words.
    """

    config: Config
    seed: int
    ids: list[str]
    n_neurons: int
    model_names: list[str]
    models: list[type[Model] | type[Source]]
    model_of: Int32s
    params: list[dict[str, Array]]
    times: dict[int, npt.NDArray[np.int64]]
    shown: dict[int, Shown]
    synapses: Synapses
    kinds: Kinds
    junctions: Junctions
    graded: Graded
    currents: list[tuple[int, int, int, float]]
    background: BackgroundTrains
    potentials: Potentials
    weighed: Weighed
    min_delay: int
    max_delay: int
    account: Account
    groups: dict[str, Int32s]
    places: Places
    patterns: dict[str, npt.NDArray[np.bool_]]
    tag: Words

    @property
    def dt_ns(self) -> int:
        return self.config.run.dt_ns

    @property
    def telling(self) -> Int32s:
        """The neurons whose potential somebody hears: a partner, a graded synapse, the log."""
        ends = (self.junctions.a, self.junctions.b, self.graded.pre, self.potentials.recorded)
        return np.unique(np.concatenate(ends)).astype(np.int32)


def build(
    config: Config, seed: int | None = None, on: Callable[[list[str]], npt.NDArray[np.bool_]] | None = None
) -> Network:
    """The network a config describes; `seed` instead of its own. Raises InputError with file and line.

    `on`: of the ids, in order of index, which are wanted. The network then has the synapses, chemical and
    graded, that end on them, and the junctions that touch them, each as in the whole. Its `min_delay` and
    `max_delay` are those of its part.
    """
    read = Quantities(config, config.run.seed if seed is None else seed)
    who = Population(read)
    projections = Projections(who, None if on is None else on(who.ids))
    chemical = Chemical(projections)
    synapses = chemical.synapses()
    junctions, tables = electrical(projections)
    background = _background(who, projections)
    if any(issubclass(model, Model) and model.stochastic for model in who.models):
        read.drew.add(Use.NOISE)
    graded_ = graded(projections)
    one_ms = max(1, 1_000_000 // read.dt_ns)
    delay = synapses.delay
    min_delay = int(delay.min(initial=delay.max(initial=0))) or one_ms
    sample_delay = _sample_delay(who, bool(junctions.a.size), min_delay)
    return Network(
        config=config,
        seed=read.seed,
        ids=who.ids,
        n_neurons=who.n_neurons,
        model_names=list(who.model_number),
        models=who.models,
        model_of=who.model_of,
        params=who.params,
        times=who.times,
        shown=who.shown,
        synapses=synapses,
        kinds=chemical.kinds,
        junctions=junctions,
        graded=graded_,
        currents=_currents(who),
        background=background,
        potentials=Potentials(
            recorded=_recorded(who),
            interval=-(-config.run.potential_interval_ns // read.dt_ns),
            delay=sample_delay,
            delta_mv=config.run.potential_delta_mv,
            junction_delta_mv=followed(who, junctions, graded_, sample_delay, tables),
        ),
        weighed=Weighed(_weighed(who, synapses), _weight_interval(read)),
        min_delay=min_delay,
        max_delay=int(delay.max(initial=0)) or one_ms,
        account=Account(projections.skipped, frozenset(read.drew), read.notes),
        groups=who.groups,
        places=Places(who.spaces, who.at_mm),
        patterns=who.patterns,
        tag=who.tag,
    )


def _weight_interval(read: Quantities) -> int:
    """Steps; a multiple of dt, unless it is the default and nobody asks for weights."""
    run = read.config.run
    if run.record_weights or run.weight_interval != type(run)().weight_interval:
        return read.steps(("run", "weight_interval"), run.weight_interval, least=1)
    return -(-units.to_ns(run.weight_interval) // read.dt_ns)


def _sample_delay(who: Population, joined: bool, min_delay: int) -> int:
    """Steps from a potential's being told to its effect."""
    run = who.config.run
    if run.potential_delay is not None:
        return who.read.steps(("run", "potential_delay"), run.potential_delay, least=1)
    return 1 if joined and run.clock == "virtual" else min_delay


def _currents(who: Population) -> list[tuple[int, int, int, float]]:
    read = who.read
    found: list[tuple[int, int, int, float]] = []
    places: list[Place] = []
    for place, source in who.config.active("sources"):
        if not isinstance(source, Current):
            continue
        members = who.named((*place, "target"), source.target)
        pa = read.number((*place, "amplitude"), source.amplitude, "pA")
        if (word := current_fault(who, members, pa)) is not None:
            raise who.error((*place, "amplitude"), word)
        start = read.steps((*place, "start"), source.start) if source.start is not None else 0
        stop = read.steps((*place, "stop"), source.stop) if source.stop is not None else -1
        if 0 <= stop <= start:
            raise who.error((*place, "stop"), f"stop '{source.stop}' must come after start")
        found.extend((i, start, stop, pa) for i in members.tolist())
        places.extend([place] * len(members))
    if (fault := electrodes_fault(who, found)) is not None:
        raise who.error((*places[fault[0]], "amplitude"), fault[1])
    return found


def _background(who: Population, projections: Projections) -> BackgroundTrains:
    """Rate (Hz) and weight of each neuron's own Poisson train."""
    rate, weight = np.zeros(len(who.ids)), np.zeros(len(who.ids))
    for place, source in who.config.active("sources"):
        if not isinstance(source, Background):
            continue
        members = who.named((*place, "target"), source.target)
        for taken in members[rate[members] > 0][:1]:
            message = f"'{who.ids[taken]}' has a background already; make it one with the sum of the rates"
            raise who.error((*place, "target"), message)
        hz = who.rate_hz(place, source.rate)
        if hz <= 0:
            raise who.error((*place, "rate"), f"rate must be > 0 Hz, not '{source.rate}'")
        rate[members] = hz
        who.read.drew.add(Use.BACKGROUND)
        for model, mine in projections.models(members):
            weight[members[mine]] = who.read.number((*place, "weight"), source.weight, model.weight_unit)
    return BackgroundTrains(rate, weight)


def _weighed(who: Population, made: Synapses) -> Int32s:
    """The neurons of `record_weights`. Raises InputError where nothing that could change ends on a name's."""
    owns = [issubclass(model, Model) and model.arrive is not None for model in who.models]
    learning = made.post[(made.kind >= 0) | np.isin(who.model_of[made.post], np.flatnonzero(owns))]
    found = [np.empty(0, np.int32)]
    for n, name in enumerate(who.config.run.record_weights):
        place = ("run", "record_weights", n)
        found.append(who.named(place, name))
        if not np.isin(found[-1], learning).any():
            message = f"no synapse on '{name}' can change; it takes a type, such as synapse = \"nodes.stdp\""
            raise who.error(place, message)
    return np.unique(np.concatenate(found))


def _recorded(who: Population) -> Int32s:
    found = [np.empty(0, np.int32)]
    for n, name in enumerate(who.config.run.record_potentials):
        place = ("run", "record_potentials", n)
        found.append(who.named(place, name))
    return np.unique(np.concatenate(found))
