"""What a config may say: one struct per table, as written. Quantities are text with a unit."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct, field

from neurobus import units
from neurobus.bounds import MOST_SEED

Clock = Literal["wall", "virtual"]
OnLogFailure = Literal["continue", "stop"]
Rule = Literal["one_to_one", "all_to_all", "fixed_probability", "fixed_indegree", "small_world", "scale_free",
               "distance", "layered", "assemblies",
               "same_class", "same_class_lower", "same_class_higher", "other_class",
               "elders", "youngers"]  # fmt: skip
"""Elders and youngers are the old names of `same_class_lower` and `same_class_higher`."""
Transfer = Literal["linear", "rectified", "sigmoid"]
Kernel = Literal["gaussian", "exponential", "disc"]
Placed = Literal["grid", "random"]
Code = Literal["latency", "rank"]

STATIC = "static"
"""The synapse without memory: the default of `synapse`."""

ID_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}(?!\n)$"
"""An id is part of the name of a snapshot file. `$` alone would accept a newline at the end."""
ID_RULE = "use up to 200 letters, digits and _ . - (not . or - at the front)"
Id = Annotated[str, Meta(pattern=ID_PATTERN)]
RESERVED = {
    "conductor",
    "hub",
    "launcher",
    "recording",
    "recorder",
    "witness",
    "bridge",
    "neurobus",
}
"""Names on the bus, or of processes, that belong to a run's own programs."""
MOST = 1_000_000
"""The largest count: of neurons, of sources, of samples, and of other things."""
Count = Annotated[int, Meta(ge=1, le=MOST)]


def wrong_id(id: str) -> str | None:
    """What is wrong with the id of a neuron or source, or None."""
    if not re.fullmatch(ID_PATTERN, id):
        return f"{id!r} is no id; {ID_RULE}"
    if id in RESERVED:
        return f"the id '{id}' is the name of a program of the run; take another"
    return None


Plain = str | int | float
"""A quantity such as "20 ms", or a plain number for a value without unit."""


class Distribution(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A value that is drawn once for each neuron or synapse. Give exactly one of `uniform`, `normal`,
    `lognormal` and `choice`. `min` and `max` clip the value; with `redraw`, a value outside is drawn again
    instead."""

    uniform: tuple[Plain, Plain] | None = None
    normal: tuple[Plain, Plain] | None = None
    """Mean and standard deviation."""
    lognormal: tuple[Plain, float] | None = None
    """Median and sigma of the logarithm."""
    choice: Annotated[list[Plain], Meta(min_length=1)] | None = None
    min: Plain | None = None
    max: Plain | None = None
    redraw: bool = False


Value = Plain | Distribution


class Space(Struct, forbid_unknown_fields=True, kw_only=True):
    """The places of a group's members: on a `ring` of that length, or on a `sheet` (width, height). `placed`:
    evenly or at random. A `torus` is a sheet without edges.
    """

    ring: Plain | None = None
    sheet: tuple[Plain, Plain] | None = None
    torus: bool = False
    placed: Placed = "grid"


class Patterns(Struct, forbid_unknown_fields=True, kw_only=True):
    """`count` random patterns over the members of a group. In each, the fraction `activity` of the members is
    active. `cells#0` names the active members of pattern 0 of the group `cells`; it is accepted like a group.
    """

    count: Count
    activity: Annotated[float, Meta(gt=0, lt=1)] = 0.5


class Table(Struct, forbid_unknown_fields=True, kw_only=True):
    """Every table may have `when`: the switch (or "!switch") with which the table is used."""

    when: str | None = None


class Run(Struct, forbid_unknown_fields=True, kw_only=True):
    """How the network is run.

    `neurons_per_process` or `processes`: how neurons are packed. `grace`: how far a neuron stays behind the
    present under the wall clock. `snapshot_every`: 0 means no snapshots. `restarts`: how often one process
    may die. `on_log_failure`: what the run does if its log cannot be written.

    `record_potentials`, `record_weights`: neurons or groups. A potential is recorded when it has moved by
    `potential_delta`, at most once per `potential_interval`. The plastic synapses that end on a neuron are
    recorded every `weight_interval`.

    A partner across a gap junction knows a potential within `junction_delta`. It sees a change after
    `potential_delay`: by default one step with `clock = "virtual"`, else the smallest synaptic delay.
    """

    clock: Clock = "wall"
    dt: Plain = "0.1 ms"
    seed: Annotated[int, Meta(ge=0, le=MOST_SEED)] = 1
    duration: Plain | None = None
    neurons_per_process: Count = 1
    processes: Count | None = None
    grace: Plain = "20 ms"
    snapshot_every: Plain = "10 s"
    restarts: Annotated[int, Meta(ge=0, le=MOST)] = 3
    on_log_failure: OnLogFailure = "continue"
    record_potentials: list[str] = field(default_factory=list)
    record_weights: list[str] = field(default_factory=list)
    weight_interval: Plain = "1 s"
    potential_delta: Plain = "0.5 mV"
    potential_interval: Plain = "1 ms"
    potential_delay: Plain | None = None
    """None means the default above. It follows the config's clock, not the clock that a run is given."""
    junction_delta: Plain = "0.05 mV"

    @property
    def dt_ns(self) -> int:
        return units.to_ns(self.dt)

    @property
    def duration_ns(self) -> int | None:
        return None if self.duration is None else units.to_ns(self.duration)

    @property
    def grace_ns(self) -> int:
        return units.to_ns(self.grace)

    @property
    def snapshot_every_ns(self) -> int:
        """0: no snapshots."""
        return units.to_ns(self.snapshot_every)

    @property
    def potential_delta_mv(self) -> float:
        return units.parse(self.potential_delta, "mV")

    @property
    def junction_delta_mv(self) -> float:
        return units.parse(self.junction_delta, "mV")

    @property
    def potential_interval_ns(self) -> int:
        return units.to_ns(self.potential_interval)


class Neuron(Table, kw_only=True):
    """One neuron. It has its own process, unless `run` packs several into one."""

    id: Id
    model: str
    params: dict[str, Value] = field(default_factory=dict)


class Group(Table, kw_only=True):
    """Several neurons of one model. Give `count` (id.0, id.1, …), `ids`, or `csv` (one row per neuron)."""

    id: Id
    model: str
    count: Count | None = None
    ids: Annotated[list[Id], Meta(min_length=1)] | None = None
    csv: str | None = None
    params: dict[str, Value] = field(default_factory=dict)
    space: Space | None = None
    patterns: Patterns | None = None


class _Process(Table, kw_only=True, tag_field="kind"):
    """A source with a process of its own, or several with `count` or `ids`. `node`: the model that it is; its
    parameters are the keys of the same names. None: the config names one, or there is none."""

    node: ClassVar[str | None] = None
    id: Id
    count: Count | None = None
    ids: Annotated[list[Id], Meta(min_length=1)] | None = None
    space: Space | None = None


class Poisson(_Process, tag="poisson", kw_only=True):
    """A source that fires at random with `rate`, from `start` to `stop`."""

    node = "nodes.poisson"
    rate: Plain
    start: Plain | None = None
    stop: Plain | None = None


class Metronome(_Process, tag="metronome", kw_only=True):
    """A source that fires every `period`, first at `start`, and no longer from `stop` on."""

    node = "nodes.metronome"
    period: Plain
    start: Plain | None = None
    stop: Plain | None = None


class Spikes(_Process, tag="spikes", kw_only=True):
    """A source that fires at `times`, or at the times in `file` (columns time_ms and, for several, id)."""

    node = "nodes.spikes"
    times: list[Plain] | None = None
    file: str | None = None


class Encoder(_Process, tag="encoder", kw_only=True):
    """Sources that turn the samples of `file` into spikes: one source per column, one sample every `period`.

    `model`: the code (`nodes.latency`, `nodes.rank`). `first`, `samples`: the rows to show. `passes`: how
    often all rows are shown; without it, without end. `shuffle`: a word; each pass has its own order, and
    sources with the same word have the same order.
    """

    file: str
    period: Plain
    model: str = "nodes.latency"
    params: dict[str, Value] = field(default_factory=dict)
    array: str | None = None
    first: Annotated[int, Meta(ge=0)] = 0
    samples: Count | None = None
    start: Plain = "1 ms"
    passes: Count | None = None
    shuffle: str | None = None


class External(_Process, tag="external", kw_only=True):
    """A place for a board, a replay or another program. The run starts no process for it."""


class Current(Table, tag_field="kind", tag="current", kw_only=True):
    """A constant current into the neurons of `target`."""

    target: str
    amplitude: Plain
    start: Plain | None = None
    stop: Plain | None = None


class Background(Table, tag_field="kind", tag="background", kw_only=True):
    """A Poisson train into each neuron of `target`; each neuron has its own train."""

    target: str
    rate: Plain
    weight: Plain


Process = Poisson | Metronome | Spikes | Encoder | External
Source = Process | Current | Background


class Structure(Table, kw_only=True):
    """The keys of the rules; `neurobus models rules` lists which rule has which.

    small_world: `neighbours` on a ring; each synapse is moved with probability `rewire`. scale_free:
    `exponent` of the degrees, and `degree`, their mean. In both, every pair is connected both ways unless
    `directed`. distance: `kernel`, with `probability` at distance 0 and a `reach`. layered: the number or
    sizes of `layers` in a group. `classes`: their number, by default the classroom's.
    """

    rule: Rule | None = None
    probability: float | None = None
    indegree: Count | None = None
    allow_self: bool = False
    neighbours: Count | None = None
    rewire: float | None = None
    exponent: float | None = None
    degree: float | None = None
    directed: bool | None = None
    kernel: Kernel | None = None
    reach: Plain | None = None
    layers: Count | list[Count] | None = None
    classes: Count | None = None


class Synapses(Structure, kw_only=True):
    """Chemical synapses: one, a projection by `rule`, or the rows of `csv`.

    `receptor`: an input of the postsynaptic model (default: by the sign of the weight), or a modulator of its
    synapse types, such as "dopamine". `synapse`: the dotted name of a type, with its `params`. `stored`: with
    any rule, weights from the stored patterns. `velocity`: adds distance / velocity to `delay`; the neurons
    need a `space`. `columns`: other names for the columns of `csv`. `ignore_unknown`: rows with an unknown id
    are left out.
    """

    pre: str | None = None
    post: str | None = None
    stored: bool = False
    csv: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    ignore_unknown: bool = False
    weight: Value | None = None
    delay: Value | None = None
    velocity: Plain | None = None
    receptor: str | None = None
    synapse: str = STATIC
    params: dict[str, Value] = field(default_factory=dict)


class Graded(Structure, kw_only=True):
    """Graded chemical synapses: the presynaptic potential v acts all the time, without spikes.

    The input current of `post` grows by `weight` f(v), or by `conductance` f(v) (`reversal` - V) with V the
    postsynaptic potential. With u = (v - threshold) / slope, f is by `transfer`: linear, u; rectified, u but
    not below 0; sigmoid, 1 / (1 + exp(-u)).
    """

    pre: str | None = None
    post: str | None = None
    stored: bool = False
    csv: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    ignore_unknown: bool = False
    weight: Value | None = None
    conductance: Value | None = None
    reversal: Value | None = None
    transfer: Transfer = "linear"
    threshold: Plain | None = None
    slope: Plain | None = None


class Electrical(Structure, kw_only=True):
    """Gap junctions: one, several by `rule`, or the rows of `csv`. They are symmetric: list each pair
    once."""

    a: str | None = None
    b: str | None = None
    csv: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    ignore_unknown: bool = False
    conductance: Plain | None = None


class Classroom(Struct, forbid_unknown_fields=True, kw_only=True):
    """The plan of a course for `neurobus train`. Each sample has a slot; times count from its beginning.

    `readers`: the group that answers; its neuron n stands for class n modulo `classes`. `inputs`, `teachers`
    (one per class), `learn` and `reset` are sources that fire only in a course. `code`: how the values of a
    sample become spikes; `levels`, `level`, `start`: the number of values, the time between two of them, and
    the first time. `slot` is made longer if neurons that have not learnt yet need more time to claim a sample
    one by one.
    """

    readers: str
    inputs: str
    reset: str
    classes: Count
    teachers: str | None = None
    learn: str | None = None
    code: Code = "latency"
    levels: Annotated[int, Meta(ge=2, le=255)] = 16
    level: Plain = "1 ms"
    start: Plain = "1 ms"
    learn_at: Plain = "25 ms"
    slot: Plain = "32 ms"


class Document(Struct, forbid_unknown_fields=True, kw_only=True):
    """A whole config."""

    run: Run = field(default_factory=Run)
    neurons: list[Neuron] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    synapses: list[Synapses] = field(default_factory=list)
    electrical: list[Electrical] = field(default_factory=list)
    graded: list[Graded] = field(default_factory=list)
    switches: dict[str, bool] = field(default_factory=dict)
    classroom: Classroom | None = None


def schema() -> dict[str, Any]:
    """JSON Schema of a config."""
    return msgspec.json.schema(Document)
