"""What a config may say: one struct per table, as written. Quantities are text with a unit."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from neurobus import units
from neurobus.bounds import MOST_SEED

Clock = Literal["wall", "virtual"]
OnLogFailure = Literal["continue", "stop"]
Rule = Literal["one_to_one", "all_to_all", "fixed_probability", "fixed_indegree", "small_world", "scale_free",
               "distance", "layered", "assemblies",
               "same_class", "elders", "youngers", "other_class"]  # fmt: skip
Transfer = Literal["linear", "rectified", "sigmoid"]
Kernel = Literal["gaussian", "exponential", "disc"]
Placed = Literal["grid", "random"]
Code = Literal["latency", "rank"]

STATIC = "static"
"""The synapse without memory: what a synapse is where no type is named."""

ID_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}(?!\n)$"
"""A file of a snapshot has it in its name; `$` alone would let a line's end pass."""
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
"""Neurons and sources of a network, and whatever else is counted one by one."""
Count = Annotated[int, Meta(ge=1, le=MOST)]


def wrong_id(id: str) -> str | None:
    """What is wrong with the id of a neuron or source, or None."""
    if not re.fullmatch(ID_PATTERN, id):
        return f"{id!r} is no id; {ID_RULE}"
    if id in RESERVED:
        return f"the id '{id}' is the name of a program of the run; take another"
    return None


Plain = str | int | float
"""A quantity such as "20 ms", or a plain number where the thing has no unit."""


class Distribution(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Drawn once per member or synapse. Exactly one of the four; `min` and `max` clip, or with `redraw` what
    lies outside is drawn again."""

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
    """Where the members of a group stand, evenly or at random: on a `ring` of that length, or on a `sheet`
    (width, height). A `torus` is a sheet without edges.
    """

    ring: Plain | None = None
    sheet: tuple[Plain, Plain] | None = None
    torus: bool = False
    placed: Placed = "grid"


class Patterns(Struct, forbid_unknown_fields=True, kw_only=True):
    """Random patterns over the members of a group, `activity` of them active in each. Those of pattern 0 of
    `cells` are called `cells#0`, wherever a group can be called.
    """

    count: Count
    activity: Annotated[float, Meta(gt=0, lt=1)] = 0.5


class Table(Struct, forbid_unknown_fields=True, kw_only=True):
    """What all tables share: `when` names the switch (or "!switch") under which the table is used."""

    when: str | None = None


class Run(Struct, forbid_unknown_fields=True, kw_only=True):
    """How to run it. Texts are as written; the properties with units in their names are the values."""

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
    """Neurons or groups: weights of the synapses that end on them and may change, every `weight_interval`."""
    weight_interval: Plain = "1 s"
    potential_delta: Plain = "0.5 mV"
    potential_interval: Plain = "1 ms"
    potential_delay: Plain | None = None
    """When a potential acts on partners after it was told. None: with junctions and `clock = "virtual"` one
    step, else the smallest delay of a synapse. It does not change when a run is given another clock."""
    junction_delta: Plain = "0.05 mV"
    """How far a partner across a junction may be off, which follows a potential along a line."""

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
    """One neuron: its own process, unless `run` packs several."""

    id: Id
    model: str
    params: dict[str, Value] = field(default_factory=dict)


class Group(Table, kw_only=True):
    """Neurons of one model: `count` of them (id.0, id.1, …), those of `ids`, or the rows of `csv`."""

    id: Id
    model: str
    count: Count | None = None
    ids: Annotated[list[Id], Meta(min_length=1)] | None = None
    csv: str | None = None
    params: dict[str, Value] = field(default_factory=dict)
    space: Space | None = None
    patterns: Patterns | None = None


class _Process(Table, kw_only=True, tag_field="kind"):
    """A source with a process of its own; with `count` or `ids`, several."""

    id: Id
    count: Count | None = None
    ids: Annotated[list[Id], Meta(min_length=1)] | None = None
    space: Space | None = None


class Poisson(_Process, tag="poisson", kw_only=True):
    """Fires at random with `rate` from `start` to `stop`."""

    rate: Plain
    start: Plain | None = None
    stop: Plain | None = None


class Metronome(_Process, tag="metronome", kw_only=True):
    """One spike every `period`, the first at `start`."""

    period: Plain
    start: Plain | None = None
    stop: Plain | None = None


class Spikes(_Process, tag="spikes", kw_only=True):
    """Fires at `times`, or at those of `file` (columns time_ms and, with several sources, id)."""

    times: list[Plain] | None = None
    file: str | None = None


class Encoder(_Process, tag="encoder", kw_only=True):
    """Turns the samples of `file` into spikes, one input per column: a sample every `period` from `start` on.

    `model` says how (`nodes.latency`, `nodes.rank`). `first`, `samples`: which rows. `passes`: how often all
    are shown; without it, again and again. `shuffle`: a word; each pass has an order of its own, the same for
    all sources with that word.
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
    """A place for a board, a replay or another program: no process here."""


class Current(Table, tag_field="kind", tag="current", kw_only=True):
    """A constant current into the neurons of `target`."""

    target: str
    amplitude: Plain
    start: Plain | None = None
    stop: Plain | None = None


class Background(Table, tag_field="kind", tag="background", kw_only=True):
    """A Poisson train of its own for each neuron of `target`."""

    target: str
    rate: Plain
    weight: Plain


Process = Poisson | Metronome | Spikes | Encoder | External
Source = Poisson | Metronome | Spikes | Encoder | External | Current | Background


class Structure(Table, kw_only=True):
    """Who is connected to whom: the keys of the rules, each for the rules its line names.

    small_world: `neighbours` on a ring, each synapse moved with probability `rewire`. scale_free: `exponent`
    of the degrees and their mean, `degree`. Both: `directed`, else every pair is connected both ways.
    distance: `kernel` with `probability` at distance 0 and its `reach`. layered: `layers` in a group, each to
    the next. assemblies: everybody, with weights from the stored patterns. same_class, elders (of one class
    and with a lower number), youngers, other_class: of so many `classes`, by default the classroom's.
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

    `receptor` names an input of the postsynaptic model (default: by the sign of the weight), or what its
    synapses' types listen to, such as "dopamine". `synapse` is the dotted name of a type, with its `params`.
    """

    pre: str | None = None
    post: str | None = None
    stored: bool = False
    """Under a rule other than assemblies: weights from the stored patterns all the same."""
    csv: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    ignore_unknown: bool = False
    weight: Value | None = None
    delay: Value | None = None
    velocity: Plain | None = None
    """Where the neurons have places: distance / velocity is added to `delay`."""
    receptor: str | None = None
    synapse: str = STATIC
    params: dict[str, Value] = field(default_factory=dict)


class Graded(Structure, kw_only=True):
    """Graded chemical synapses: what acts is no spike but the presynaptic potential v, all the time.

    Added to the input current of the neurons of `post`: `weight` times f(v), a current; or `conductance`
    times f(v) times (`reversal` - V), V the postsynaptic potential. f is by `transfer`: linear,
    u = (v - threshold) / slope; rectified, the same but not below 0; sigmoid, 1 / (1 + exp(-u)).
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
    """Gap junctions: one, several by `rule`, or the rows of `csv`. Symmetric: a pair once."""

    a: str | None = None
    b: str | None = None
    csv: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    ignore_unknown: bool = False
    conductance: Plain | None = None


class Classroom(Struct, forbid_unknown_fields=True, kw_only=True):
    """Who is taught what, and when, for `neurobus train`. Times count from the begin of a sample's slot.

    `readers`: the group that answers; neuron n of it stands for class n modulo `classes`. `inputs`,
    `teachers` (one a class), `learn` and `reset` are sources, silent but in a lesson. A `slot` is lengthened
    where those who have never learnt need more time to claim a sample in turn.
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
