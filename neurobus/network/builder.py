"""The network a config describes, as arrays.

What is random is drawn from the words of its owner (`neurobus.streams`), so that the same seed gives the
same network anywhere, a further group or projection leaves the others as they were, and whoever builds what
ends on some neurons gets what these have in the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neurobus import units
from neurobus.config import Config
from neurobus.config.locate import Place
from neurobus.config.schema import Background, Current
from neurobus.model import Array, Model, Shown, Source
from neurobus.network.held import current_fault, electrodes_fault
from neurobus.network.junctions import followed
from neurobus.network.population import Int32s, Population
from neurobus.network.quantities import Quantities
from neurobus.network.space import Space
from neurobus.network.wiring import Chemical, Graded, Kinds, Wiring
from neurobus.streams import Use, Words


@dataclass(frozen=True)
class Network:
    """Neurons (the first `n_neurons` of `ids`), then sources; all arrays by neuron index or by synapse.

    `model_of` (N,) index into `models`, -1: external. `params[model]`: name → (members,) in the
    parameter's unit, members in order of neuron index. `times`: source → spike steps, ascending.
    `shown`: encoder → what it is shown.
    Synapses `pre post weight delay receptor kind row` are sorted by (pre, post, order in the config): weight
    in the unit of the postsynaptic model, delay in steps, receptor and kind as in `wiring.Chemical`.
    Junctions `gap_*` stand once each, in nS. `graded`: as in `wiring.Graded`.
    `currents`: (neuron, first step, step at which it ends or -1, pA). `background_*` (N,), 0 where none.
    `weighed`: neurons whose weights a log is told every `weight_interval` steps.
    Potentials act `sample_delay` steps after they are told. `junction_delta_mv` (N,): how far what partners
    take a neuron's potential for may be off, infinity without a junction.
    `skipped`: file → rows with unknown ids.
    `groups`: what a config may call by name (group, neuron, source, pattern) → its members.
    `spaces`: group, or member of one → where it stands. `at_mm` (N, 2): places, NaN where there are none.
    `patterns`: group → (patterns, members).
    `tag` (N,): what stands for each as the owner of random words. `drew`: what words are in use for, also in
    the run. `notes`: what is no mistake, but should be known before a run.
    """

    config: Config
    seed: int
    dt_ns: int
    ids: list[str]
    n_neurons: int
    model_names: list[str]
    models: list[type[Model] | type[Source]]
    model_of: Int32s
    params: list[dict[str, Array]]
    times: dict[int, npt.NDArray[np.int64]]
    shown: dict[int, Shown]
    pre: Int32s
    post: Int32s
    weight: Array
    delay: Int32s
    receptor: Int32s
    kind: Int32s
    row: Int32s
    kinds: Kinds
    gap_a: Int32s
    gap_b: Int32s
    gap_ns: Array
    graded: Graded
    currents: list[tuple[int, int, int, float]]
    background_rate_hz: Array
    background_weight: Array
    recorded: Int32s
    weighed: Int32s
    weight_interval: int
    potential_delta_mv: float
    potential_interval: int
    junction_delta_mv: Array
    sample_delay: int
    min_delay: int
    max_delay: int
    skipped: dict[str, int]
    groups: dict[str, Int32s]
    spaces: dict[str, Space]
    at_mm: Array
    patterns: dict[str, npt.NDArray[np.bool_]]
    tag: Words
    drew: frozenset[Use]
    notes: list[str]

    @property
    def telling(self) -> Int32s:
        """The neurons whose potential somebody hears: a partner, a graded synapse, the log."""
        ends = (self.gap_a, self.gap_b, self.graded.pre, self.recorded)
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
    wiring = Wiring(who, None if on is None else on(who.ids))
    made = wiring.synapses()
    delay = made.delay
    gap_a, gap_b, gap_ns = wiring.electrical()
    background_rate_hz, background_weight = _background(who, wiring)
    if any(issubclass(model, Model) and model.stochastic for model in who.models):
        read.drew.add(Use.NOISE)
    graded = wiring.graded()
    one_ms = max(1, 1_000_000 // read.dt_ns)
    min_delay = int(delay.min(initial=delay.max(initial=0))) or one_ms
    sample_delay = _sample_delay(who, bool(gap_a.size), min_delay)
    tables = wiring.junction_tables
    junction_delta_mv = followed(who, gap_a, gap_b, gap_ns, graded, sample_delay, tables)
    return Network(
        config=config,
        seed=read.seed,
        dt_ns=read.dt_ns,
        ids=who.ids,
        n_neurons=who.n_neurons,
        model_names=list(who.model_number),
        models=who.models,
        model_of=who.model_of,
        params=who.params,
        times=who.times,
        shown=who.shown,
        **made._asdict(),
        kinds=wiring.kinds,
        gap_a=gap_a,
        gap_b=gap_b,
        gap_ns=gap_ns,
        graded=graded,
        currents=_currents(who),
        background_rate_hz=background_rate_hz,
        background_weight=background_weight,
        recorded=_recorded(who),
        weighed=_weighed(who, made),
        weight_interval=_weight_interval(read),
        potential_delta_mv=config.run.potential_delta_mv,
        potential_interval=-(-config.run.potential_interval_ns // read.dt_ns),
        junction_delta_mv=junction_delta_mv,
        sample_delay=sample_delay,
        min_delay=min_delay,
        max_delay=int(delay.max(initial=0)) or one_ms,
        skipped=wiring.skipped,
        groups=who.groups,
        spaces=who.spaces,
        at_mm=who.at_mm,
        patterns=who.patterns,
        tag=who.tag,
        drew=frozenset(read.drew),
        notes=read.notes,
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


def _background(who: Population, wiring: Wiring) -> tuple[Array, Array]:
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
        for unit, mine in wiring.weight_units(members):
            weight[members[mine]] = who.read.number((*place, "weight"), source.weight, unit)
    return rate, weight


def _weighed(who: Population, made: Chemical) -> Int32s:
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
