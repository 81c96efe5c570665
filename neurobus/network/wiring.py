"""Who is connected how: synapses and electrical junctions, one by one, by rule and from CSV."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from neurobus.bounds import LONGEST_RUN, beyond
from neurobus.config.locate import Place, meant
from neurobus.config.schema import (
    STATIC,
    Distribution,
    Electrical,
    Plain,
    Structure,
    Synapses,
    Transfer,
    Value,
)
from neurobus.config.schema import Graded as GradedTable
from neurobus.config.tables import CsvTable
from neurobus.errors import InputError
from neurobus.grid import nearest_step
from neurobus.loading import load_synapse
from neurobus.model import Array, Model, Synapse
from neurobus.network import rules
from neurobus.network.draw import Owners
from neurobus.network.held import fault, params_of
from neurobus.network.population import Int32s, Population, Steps, out_of_bounds
from neurobus.network.space import Space, kernel
from neurobus.streams import Use

MOST_SYNAPSES = 200_000_000
"""Of a projection; as it is made a synapse takes about 40 bytes."""
Ends = tuple[str, str]
"""What the config calls the two populations of a projection."""
RULES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "one_to_one": ((), ()),
    "all_to_all": ((), ("allow_self",)),
    "same_class": ((), ("allow_self", "classes")),
    "elders": ((), ("classes",)),
    "youngers": ((), ("classes",)),
    "other_class": ((), ("classes",)),
    "fixed_probability": (("probability",), ("allow_self",)),
    "fixed_indegree": (("indegree",), ("allow_self",)),
    "small_world": (("neighbours", "rewire"), ("directed",)),
    "scale_free": (("exponent", "degree"), ("directed",)),
    "distance": (("kernel", "probability", "reach"), ("allow_self",)),
    "layered": (("layers",), ("probability",)),
    "assemblies": ((), ("allow_self",)),
}
"""Rule → the keys it needs, and those it may have."""
RULE_PURPOSES = {
    "one_to_one": "the first to the first, the second to the second, …",
    "all_to_all": "every pair",
    "same_class": "every pair of one class",
    "elders": "every pair of one class, from the lower number to the higher",
    "youngers": "every pair of one class, from the higher number to the lower",
    "other_class": "every pair of two different classes",
    "fixed_probability": "every pair, with the same probability",
    "fixed_indegree": "`indegree` presynaptic neurons for each, at random",
    "small_world": "a ring with short cuts (Watts & Strogatz 1998)",
    "scale_free": "degrees that fall as k^-exponent (static model, Goh, Kahng & Kim 2001)",
    "distance": "near neurons more often than distant ones",
    "layered": "each layer of a group to the next layer",
    "assemblies": "every pair, with weights that store the patterns "
    "(Hopfield 1982; Tsodyks & Feigel'man 1988 for sparse ones)",
}
"""Rule → what it gives."""


TRANSFERS = get_args(Transfer)


class Graded(NamedTuple):
    """One element each per graded synapse: `weight` in the unit of the postsynaptic current, or, where there
    is a `reversal` potential (absolute mV; NaN: none), a conductance in nS; `transfer` an index into
    `TRANSFERS`, `threshold` and `slope` in the unit of the presynaptic potential."""

    pre: Int32s
    post: Int32s
    weight: Array
    transfer: Int32s
    threshold: Array
    slope: Array
    reversal: Array

    def only(self, wanted: npt.NDArray[Any]) -> Graded:
        return Graded._make(part[wanted] for part in self)


class Chemical(NamedTuple):
    """One element each per synapse. `delay` in steps; `receptor` a row of the postsynaptic model's, or that
    many and the number of a modulator; `kind` a synapse type or -1, `row` its parameters."""

    pre: Int32s
    post: Int32s
    weight: Array
    delay: Int32s
    receptor: Int32s
    kind: Int32s
    row: Int32s


@dataclass
class Kinds:
    """The synapse types in use. `params[kind]`: name → (sets of parameters,)."""

    names: list[str] = field(default_factory=list)
    types: list[type[Synapse]] = field(default_factory=list)
    params: list[dict[str, Array]] = field(default_factory=list)
    modulators: list[str] = field(default_factory=list)

    def number(self, name: str) -> int:
        """The number of a type by its dotted name. Raises ImportError."""
        if name not in self.names:
            kind = load_synapse(name)
            self.names.append(name)
            self.types.append(kind)
            self.params.append({key: np.empty(0) for key in kind.params()})
            self.modulators += [m for m in kind.modulators if m not in self.modulators]
        return self.names.index(name)

    def add(self, kind: int, values: Mapping[str, Array]) -> int:
        """Keep sets of parameters; returns the number of the first."""
        mine = self.params[kind]
        first = self.rows(kind)
        self._rows[kind] = first + len(next(iter(values.values()), [0]))
        for name, value in values.items():
            mine[name] = np.concatenate([mine[name], value])
        return first

    def rows(self, kind: int) -> int:
        return self._rows.get(kind, 0)

    _rows: dict[int, int] = field(default_factory=dict)


Joined = tuple[Int32s, Int32s, Array, Int32s, list[str] | None, Owners]
"""pre, post, weight, delay, the receptors named in a CSV, and what the synapses draw their numbers by."""
Junctions = tuple[Int32s, Int32s, Array]
"""a, b, conductance (nS)."""
Listed = tuple[Int32s, Int32s, Array, Callable[[int, str], InputError]]
"""Junctions of one table, and what makes an error of the nth of them."""


_STRUCTURE = tuple(key for key in Structure.__struct_fields__ if key != "when")


class Wiring:
    """Connects a population as its config says. `skipped`: CSV → rows left out by `ignore_unknown`.

    `mine` (N,): the neurons whose inputs are wanted; None: all. They are what they would be in the whole.
    """

    def __init__(self, who: Population, mine: npt.NDArray[np.bool_] | None = None):
        self.who, self.read, self.config, self.error = who, who.read, who.config, who.error
        self._mine = mine
        self.skipped: dict[str, int] = {}
        self._count: Counter[str] = Counter()
        self.kinds = Kinds()
        self.junction_tables: list[tuple[Place, int]] = []
        """Place and number of junctions of each [[electrical]], in order."""

    def synapses(self) -> Chemical:
        empty = np.empty(0, np.int32)
        made = [Chemical(empty, empty, np.empty(0), empty, empty, empty, empty)]
        places: list[Place] = []
        for place, table in self.config.active("synapses"):
            # All types first: a table may name what another table's type listens to.
            self._kind(place, table)
        for place, table in self.config.active("synapses"):
            label = table.csv or f"{table.pre}>{table.post}"
            self._count[label] += 1
            label = f"synapses {label} {self._count[label]}"
            found = (self._from_csv if table.csv else self._by_rule)(place, table, label)
            made.append(self._typed(place, table, label, *found))
            self._require_held(place, table, made[-1])
            places.append(place)
        parts = made[1] if len(made) == 2 else [np.concatenate(parts) for parts in zip(*made, strict=True)]
        self._require_listeners(Chemical(*parts), places, [one.pre.size for one in made[1:]])
        return rules.ordered(Chemical(*parts), rules.by_ends(parts[0], parts[1]))

    # -- what a synapse is ------------------------------------------------------------------------

    def _kind(self, place: Place, table: Synapses) -> int:
        if table.synapse == STATIC:
            self._forbid(place, table, ("params",), 'goes with a synapse type; name it as synapse = "…"')
            return -1
        try:
            return self.kinds.number(table.synapse)
        except ImportError as error:
            raise self.error((*place, "synapse"), str(error)) from error

    def _typed(self, place: Place, table: Synapses, label: str, pre: Int32s, post: Int32s, weight: Array,
               delay: Int32s, names: Sequence[str] | None, of: Owners) -> Chemical:  # fmt: skip
        """With receptor, type and parameters of each synapse. `names`: a CSV's receptors."""
        kind = self._kind(place, table)
        receptor = self._receptors(place, table, post, weight, names)
        none = np.full(pre.size, -1, np.int32)
        if kind < 0:
            return Chemical(pre, post, weight, delay.astype(np.int32), receptor, none, none)
        type_ = self.kinds.types[kind]
        for model, mine in self._models(post):
            if model.arrive is not None:
                owner = self.who.ids[post[mine][0]]
                raise self.error((*place, "synapse"), f"'{owner}' is of a model that owns its synapses; "
                                 f"they cannot be {table.synapse}")  # fmt: skip
            if np.any(receptor[mine] >= len(model.receptors)):
                message = f"a synapse on '{table.receptor}' is {STATIC}; it cannot be {table.synapse}"
                raise self.error((*place, "synapse"), message)
        values, drawn = self._parameters((*place, "params"), table, type_, post, label, of)
        for word in (type_.check(values), type_.check_weights(values, weight)):
            if word is not None:
                raise self.error((*place, "params") if table.params else place, word)
        if not drawn:
            values = {name: value[:1] for name, value in values.items()}
        rows = np.arange(pre.size) if drawn else np.zeros(pre.size, np.int64)
        row = (rows + self.kinds.add(kind, values)).astype(np.int32)
        return Chemical(pre, post, weight, delay.astype(np.int32), receptor, none + 1 + kind, row)

    def _parameters(
        self, place: Place, table: Synapses, kind: type[Synapse], post: Int32s, label: str, of: Owners
    ) -> tuple[dict[str, Array], bool]:
        """All parameters, each (synapses,), and whether any differs from synapse to synapse."""
        declared = kind.params()
        for name in table.params:
            if name not in declared:
                known = meant(name, declared)
                raise self.error((*place, name), f"{table.synapse} has no parameter '{name}'{known}")
        values = {}
        for name, param in declared.items():
            value = np.full(max(post.size, 1), param.value)
            given = table.params.get(name)
            if given is not None:
                units = self.weight_units(post) if param.weight else [(param.unit, slice(None))]
                for unit, mine in units:
                    drawn = self.read.values((*place, name), given, unit, Use.SYNAPSE, f"{label} {name}", of)
                    value[: post.size][mine] = drawn[mine]
                for one in (value.min(), value.max()):
                    if not param.admits(one):
                        hint = "; clip it with min and max" if isinstance(given, Distribution) else ""
                        raise self.error((*place, name), out_of_bounds(name, param, one) + hint)
            values[name] = value
        return values, any(np.any(value != value[0]) for value in values.values())

    def _receptors(self, place: Place, table: Synapses, post: Int32s, weight: Array,
                   names: Sequence[str] | None) -> Int32s:  # fmt: skip
        receptor = np.zeros(post.size, np.int32)
        named = np.array(names if names is not None else [table.receptor or ""] * (post.size > 0))
        for model, mine in self._models(post):
            if model.by_sign and len(model.receptors) > 1:
                receptor[mine] = weight[mine] < 0
            known = {name: n for n, name in enumerate((*model.receptors, *self.kinds.modulators))}
            for name in np.unique(named).tolist():
                if not name:
                    continue
                chosen = mine & (named == name)
                if name not in known and np.any(chosen):
                    owner = self.who.ids[post[chosen][0]]
                    message = f"'{owner}' has no receptor '{name}'; it has {', '.join(known)}"
                    raise self.error((*place, "receptor") if names is None else (*place, "csv"), message)
                receptor[chosen] = known.get(name, 0)
        return receptor

    def _require_held(self, place: Place, table: Synapses, made: Chemical) -> None:
        """Each weight is one that the model of its neuron can have."""
        for model, mine in self._models(made.post):
            mine &= made.receptor < len(model.receptors)
            if not mine.any():
                continue
            post = made.post[mine]
            p = params_of(self.who, int(self.who.model_of[post[0]]), post)
            if (found := fault(model, p, made.weight[mine], made.receptor[mine])) is None:
                continue
            first, word = found
            if table.csv and table.weight is None:
                csv, _ = self._sections(table)
                rows = self._ends(csv, table, ("pre", "post"))[2]
                raise csv.error(int(rows[np.flatnonzero(mine)[first]]), word)
            hint = "; clip it with min and max" if isinstance(table.weight, Distribution) else ""
            raise self.error((*place, "weight"), word + hint)

    def _require_listeners(self, made: Chemical, places: list[Place], sizes: list[int]) -> None:
        """Whoever hears a modulator must have a synapse that listens to it."""
        n_receptors = np.array(
            [len(m.receptors) if issubclass(m, Model) else 0 for m in self.who.models] or [0], np.int32
        )
        number = made.receptor - n_receptors[self.who.model_of[made.post]]
        table_of = np.repeat(np.arange(len(sizes)), sizes)
        for m, name in enumerate(self.kinds.modulators):
            listens = [n for n, kind in enumerate(self.kinds.types) if name in kind.modulators]
            heard = np.flatnonzero(number == m)
            deaf = heard[~np.isin(made.post[heard], made.post[np.isin(made.kind, listens)])]
            for synapse in deaf[:1]:
                message = f"'{self.who.ids[made.post[synapse]]}' has no synapse that listens to '{name}'"
                raise self.error((*places[table_of[synapse]], "receptor"), message)

    def _models(self, post: Int32s) -> Iterable[tuple[type[Model], npt.NDArray[np.bool_]]]:
        """The postsynaptic models, each with the synapses that end on it."""
        model_of = self.who.model_of[post]
        for number in np.flatnonzero(np.bincount(model_of)).tolist():
            model = self.who.models[number]
            assert issubclass(model, Model)
            yield model, model_of == number

    # -- who is joined to whom --------------------------------------------------------------------

    def _by_rule(self, place: Place, table: Synapses, label: str) -> Joined:
        for key in ("pre", "post", "weight", "delay"):
            if getattr(table, key) is None:
                raise self.error(place, f"[[synapses]] needs '{key}' (or csv)")
        self._forbid(place, table, ("columns", "ignore_unknown"), "goes with csv")
        assert (
            table.pre is not None
            and table.post is not None
            and table.weight is not None
            and table.delay is not None
        )
        ends = table.pre, table.post
        pre = self.who.named((*place, "pre"), table.pre, neurons=False)
        post = self.who.named((*place, "post"), table.post)
        pre, post = self._pairs(place, table, ends, pre, post, label)
        of = self._by_partner(pre, post)
        weight = self.weights((*place, "weight"), table.weight, post, label, of, table.receptor)
        if table.stored or table.rule == "assemblies":
            weight = weight * self._covariance(place, table, ends, (pre, post))
        way = self._way_ms(place, table, ends, pre, post)
        delay = self._delays((*place, "delay"), table.delay, label, of, way)
        return pre, post, weight, delay, None, of

    def _by_partner(self, pre: Int32s, post: Int32s) -> Owners:
        """Synapses by rule: each is known by the place of its presynaptic neuron in its group."""
        return Owners(self.who.tag, post, lambda: self.who.place_of[pre])

    def _by_row(self, post: Int32s) -> Owners:
        """Synapses from a CSV: each is known by its row among those of its postsynaptic neuron."""

        def nth() -> npt.NDArray[np.int64]:
            order = np.argsort(post, kind="stable")
            number = np.empty(post.size, np.int64)
            number[order] = np.arange(post.size) - np.searchsorted(post[order], post[order])
            return number

        return Owners(self.who.tag, post, nth)

    def _pairs(
        self, place: Place, table: Structure, ends: Ends, pre: Int32s, post: Int32s, label: str
    ) -> rules.Pairs:
        """The pairs that a table's rule makes of two populations called `ends`; those on wanted neurons."""
        self._check_keys(place, table)
        some = post if self._mine is None else post[self._mine[post]]
        a, b = self._all_pairs(place, table, ends, pre, post, some, label)
        if self._mine is None:
            return a, b
        kept = self._mine[b]
        return a[kept], b[kept]

    def _all_pairs(
        self, place: Place, table: Structure, ends: Ends, pre: Int32s, post: Int32s, some: Int32s, label: str
    ) -> rules.Pairs:
        """As `_pairs`; rules that draw for each neuron do so for `some` of `post`."""
        self._check_size(place, table, pre.size, some.size)
        match table.rule:
            case None:
                if pre.size > 1 or post.size > 1:
                    many, what = ends[pre.size <= 1], place[0]
                    raise self.error(place, f"'{many}' is a group, so [[{what}]] needs 'rule'")
                return pre, post
            case "one_to_one":
                if pre.size != post.size:
                    sizes = f"'{ends[0]}' has {pre.size}, '{ends[1]}' {post.size}"
                    raise self.error((*place, "rule"), f"one_to_one needs groups of one size; {sizes}")
                return pre, post
            case "all_to_all" | "assemblies":
                return rules.all_to_all(pre, some, table.allow_self)
            case "same_class" | "elders" | "youngers" | "other_class":
                room = self.config.classroom
                classes = table.classes if table.classes is not None else room.classes if room else None
                if classes is None:
                    message = f"{table.rule} needs 'classes', or a [classroom] that says how many there are"
                    raise self.error((*place, "rule"), message)
                return rules.by_class(pre, post, classes, table.rule, table.allow_self)
            case "fixed_probability":
                probability = self._share((*place, "probability"), table.probability)
                keys = self.read.keys(Use.PAIRS, self.who.tag[some], label)
                return rules.fixed_probability(pre, some, probability, table.allow_self, keys)
            case "fixed_indegree":
                assert table.indegree is not None
                itself = not table.allow_self and bool(np.isin(post, pre).any())
                if table.indegree > pre.size - itself:
                    others = f"{pre.size - 1} others" if itself else str(pre.size)
                    message = f"indegree {table.indegree} is more than '{ends[0]}' has: {others}"
                    raise self.error((*place, "indegree"), message)
                keys = self.read.keys(Use.PAIRS, self.who.tag[some], label)
                return rules.fixed_indegree(pre, some, table.indegree, table.allow_self, keys)
            case "distance":
                return self._by_distance(place, table, ends, pre, some, label)
        if ends[0] != ends[1]:
            what = f"'{ends[0]}' and '{ends[1]}' are two"
            raise self.error((*place, "rule"), f"{table.rule} is a structure within one group; {what}")
        return self._within(place, table, ends[0], pre, some, label)

    def _check_size(self, place: Place, table: Structure, pre: int, post: int) -> None:
        """Raises InputError for a projection that no memory holds, before it is made."""
        made = {
            None: 1.0,
            "one_to_one": float(pre),
            "fixed_indegree": float(post * (table.indegree or 0)),
            "small_world": float(pre * (table.neighbours or 0)),
            "scale_free": pre * (table.degree or 0.0),
        }.get(table.rule, float(pre) * post * (table.probability or 1.0))
        if made > MOST_SYNAPSES:
            message = f"{made:,.0f} synapses; a projection has at most {MOST_SYNAPSES:,}"
            raise self.error((*place, "rule"), message)

    def _within(
        self, place: Place, table: Structure, name: str, members: Int32s, some: Int32s, label: str
    ) -> rules.Pairs:
        """The rules that give one group a structure: drawn as one, but for layers."""
        n = members.size
        if table.rule == "small_world":
            assert table.neighbours is not None
            if table.neighbours % 2 or table.neighbours >= n / 2:
                message = (
                    f"neighbours must be even and below half of the {n} in '{name}', not {table.neighbours}"
                )
                raise self.error((*place, "neighbours"), message)
            rewire = self._share((*place, "rewire"), table.rewire)
            stream = self.read.stream(Use.STRUCTURE, label)
            return rules.small_world(members, table.neighbours, rewire, bool(table.directed), stream)
        if table.rule == "scale_free":
            assert table.exponent is not None and table.degree is not None
            if not 2 < table.exponent < np.inf:
                raise self.error((*place, "exponent"), f"exponent must be > 2, not {table.exponent:g}")
            if not 0 < table.degree < n / 2:
                message = f"degree must be > 0 and below half of the {n} in '{name}', not {table.degree:g}"
                raise self.error((*place, "degree"), message)
            stream = self.read.stream(Use.STRUCTURE, label)
            return rules.scale_free(members, table.exponent, table.degree, bool(table.directed), stream)
        layers = table.layers
        assert layers is not None
        if isinstance(layers, int):
            layers = [part.size for part in np.array_split(members, layers)]
        if len(layers) < 2 or 0 in layers or sum(layers) != n:
            message = f"layers must be two or more and hold the {n} in '{name}' together, not {table.layers}"
            raise self.error((*place, "layers"), message)
        at = np.searchsorted(members, some)
        if table.probability is None:
            return rules.layered(members, some, layers, at, 1.0, self.who.tag[some])
        keys = self.read.keys(Use.PAIRS, self.who.tag[some], label)
        probability = self._share((*place, "probability"), table.probability)
        return rules.layered(members, some, layers, at, probability, keys)

    def _by_distance(
        self, place: Place, table: Structure, ends: Ends, pre: Int32s, post: Int32s, label: str
    ) -> rules.Pairs:
        assert table.kernel is not None and table.reach is not None
        space = self._space(place, ends)
        reach_mm = self.read.number((*place, "reach"), table.reach, "mm")
        if reach_mm <= 0:
            raise self.error((*place, "reach"), f"reach must be > 0 mm, not '{table.reach}'")
        peak, name = self._share((*place, "probability"), table.probability), table.kernel

        def chance(a: Int32s, b: Int32s) -> Array:
            return peak * kernel(name, space.distance(self.who.at_mm[a], self.who.at_mm[b]), reach_mm)

        keys, near = (self.read.keys(use, self.who.tag[post], label) for use in (Use.PAIRS, Use.NEARBY))
        return rules.by_chance(pre, post, peak, chance, table.allow_self, keys, near)

    def _space(self, place: Place, ends: Ends) -> Space:
        """The space that both ends stand in."""
        for name in ends:
            if name not in self.who.spaces:
                message = (
                    f"'{name}' has no places; write its group's space = {{ ring = … }} or {{ sheet = … }}"
                )
                raise self.error(place, message)
        here, there = (self.who.spaces[name] for name in ends)
        if here != there:
            raise self.error(
                place, f"'{ends[0]}' stands on {here}, '{ends[1]}' on {there}; they must share one"
            )
        return here

    def _way_ms(self, place: Place, table: Synapses, ends: Ends, pre: Int32s, post: Int32s) -> Array | float:
        """What a spike needs for the distance, 0 where no velocity is given."""
        if table.velocity is None:
            return 0.0
        place = (*place, "velocity")
        mm_per_ms = self.read.number(place, table.velocity, "m/s")
        if mm_per_ms <= 0:
            raise self.error(place, f"velocity must be > 0 m/s, not '{table.velocity}'")
        apart_mm = self._space(place, ends).distance(self.who.at_mm[pre], self.who.at_mm[post])
        way_ms: Array = apart_mm / mm_per_ms
        return way_ms

    def _covariance(
        self, place: Place, table: Synapses | GradedTable, ends: Ends, pairs: rules.Pairs
    ) -> Array:
        """The factor of each pair's weight that its group's patterns give."""
        key = (*place, "stored" if table.stored else "rule")
        for name in ends:
            if name not in self.who.patterns:
                message = (
                    f"'{name}' has no patterns; write its group's patterns = {{ count = 3, activity = 0.5 }}"
                )
                raise self.error(key, message)
        x, y = (self.who.patterns[name] for name in ends)
        if len(x) != len(y):
            raise self.error(
                key, f"'{ends[0]}' has {len(x)} patterns, '{ends[1]}' {len(y)}; they must have as many"
            )
        firsts = [self.who.groups[name][0] for name in ends]
        return rules.covariance(x, y, (pairs[0] - firsts[0], pairs[1] - firsts[1]))

    def _check_keys(self, place: Place, table: Structure) -> None:
        """That the keys of a table are those of its rule."""
        needed, allowed = RULES[table.rule] if table.rule else ((), ())
        for key in needed:
            if getattr(table, key) is None:
                raise self.error((*place, "rule"), f"{table.rule} needs '{key}'")
        for key in {key: None for keys in RULES.values() for part in keys for key in part}:
            if key not in (*needed, *allowed) and getattr(table, key) not in (None, False):
                users = [rule for rule, keys in RULES.items() if any(key in part for part in keys)]
                raise self.error(
                    (*place, key), f"'{key}' goes with rule = " + " or ".join(f'"{r}"' for r in users)
                )

    def _share(self, place: Place, value: float | None) -> float:
        assert value is not None
        if not 0 <= value <= 1:
            raise self.error(place, f"{place[-1]} must be from 0 to 1, not {value}")
        return value

    def _from_csv(self, place: Place, table: Synapses, label: str) -> Joined:
        keys = ("pre", "post", *_STRUCTURE, "stored", "velocity")
        self._forbid(place, table, keys, "does not go with csv")
        csv, sections = self._sections(table)
        pre, post, rows = self._ends(csv, table, ("pre", "post"))
        for row in rows[post >= self.who.n_neurons][:1]:
            raise csv.error(int(row), f"'{csv.cells['post'][row]}' is a source; a synapse ends on a neuron")
        pre, post, rows = self._wanted(pre, post, rows)
        of = self._by_row(post)
        if "weight" in csv.cells:
            if table.weight is not None:
                raise self.error((*place, "weight"), f"{csv.file} has a column weight already")
            weight = np.empty(post.size)
            for unit, mine in self.weight_units(post, table.receptor):
                weight[mine] = csv.numbers("weight", unit)[rows][mine]
        elif table.weight is None:
            why = f"{csv.file} has no column 'weight [unit]', so [[synapses]] needs 'weight'"
            raise self.error(place, why)
        else:
            each = self.weights((*place, "weight"), table.weight, post, label, of, table.receptor)
            weight = each * sections[rows]
        if "delay" in csv.cells:
            if table.delay is not None:
                raise self.error((*place, "delay"), f"{csv.file} has a column delay already")
            delay = self.read.on_grid(csv, "delay", csv.numbers("delay", "ms"))[rows].astype(np.int32)
        elif table.delay is None:
            why = f"{csv.file} has no column 'delay [ms]', so [[synapses]] needs 'delay'"
            raise self.error(place, why)
        else:
            delay = self._delays((*place, "delay"), table.delay, label, of)
        if "receptor" not in csv.cells:
            return pre, post, weight, delay, None, of
        if table.receptor is not None:
            raise self.error((*place, "receptor"), f"{csv.file} has a column receptor already")
        return pre, post, weight, delay, [csv.cells["receptor"][row] for row in rows.tolist()], of

    def _wanted(self, pre: Int32s, post: Int32s, rows: Steps) -> tuple[Int32s, Int32s, Steps]:
        """The rows that end on wanted neurons."""
        if self._mine is None:
            return pre, post, rows
        kept = self._mine[post]
        return pre[kept], post[kept], rows[kept]

    def _sections(self, table: Synapses | Electrical | GradedTable) -> tuple[CsvTable, Array]:
        """A connection CSV and, for each row, how many times the table's weight or conductance counts."""
        assert table.csv is not None
        csv = self.config.table(table.csv).renamed(table.columns)
        for name in ("sections", "count"):
            if name in csv.cells:
                return csv, csv.numbers(name, "")
        return csv, np.ones(len(csv.lines))

    def _ends(
        self, csv: CsvTable, table: Synapses | Electrical | GradedTable, names: tuple[str, str]
    ) -> tuple[Int32s, Int32s, Steps]:
        """Both ends of the rows to use, and which rows these are."""
        index = self.who.index
        ends = [np.array([index.get(id, -1) for id in csv.require(name)], np.int32) for name in names]
        known = (ends[0] >= 0) & (ends[1] >= 0)
        unknown = np.flatnonzero(~known)
        if len(unknown) and table.ignore_unknown:
            assert table.csv is not None
            self.skipped[table.csv] = self.skipped.get(table.csv, 0) + len(unknown)
        elif len(unknown):
            row = int(unknown[0])
            name = csv.cells[names[0] if ends[0][row] < 0 else names[1]][row]
            raise csv.error(row, f"there is no '{name}' in this network{meant(name, index)}")
        return ends[0][known], ends[1][known], np.flatnonzero(known)

    def _forbid(
        self, place: Place, table: Synapses | Electrical | GradedTable, keys: Sequence[str], why: str
    ) -> None:
        for key in keys:
            if getattr(table, key) not in (None, False, {}):
                raise self.error((*place, key), f"'{key}' {why}")

    def weight_units(
        self, post: Int32s, receptor: str | None = None
    ) -> Iterable[tuple[str, npt.NDArray[np.bool_]]]:
        """The weight units of the postsynaptic models, each with the synapses it holds for. What arrives at a
        modulator has none."""
        for model, mine in self._models(post):
            plain = receptor in self.kinds.modulators and receptor not in model.receptors
            yield "" if plain else model.weight_unit, mine

    def weights(
        self, place: Place, value: Value, post: Int32s, label: str, of: Owners, receptor: str | None = None
    ) -> Array:
        """One weight for each element of `post`, in the unit of that neuron's model."""
        weight = np.empty(post.size)
        for unit, mine in self.weight_units(post, receptor):
            weight[mine] = self.read.values(place, value, unit, Use.WEIGHT, label, of)[mine]
        if isinstance(value, Distribution) and value.normal is not None:
            negative = int(np.sum(weight < 0))
            if min(negative, of.n - negative) > 0:
                fewer = min(negative, of.n - negative)
                sign = "negative" if fewer == negative else "positive"
                word = f"weight: {fewer:,} of {of.n:,} draws ({fewer / of.n:.1%}) are {sign}"
                self.read.note(place, f"{word}; give min or max where all should have one sign")
        return weight

    def _delays(
        self, place: Place, value: Value, label: str, of: Owners, way_ms: Array | float = 0.0
    ) -> Int32s:
        """Delays and what the distance adds, in steps: the sum is rounded, once. None is below a step."""
        if isinstance(value, Distribution):
            for n, choice in enumerate(value.choice or ()):
                self.read.steps((*place, "choice", n), choice, least=1)
            ms: Array | float = self.read.values(place, value, "ms", Use.DELAY, label, of)
        else:
            constant = self.read.steps(place, value, least=1)
            if isinstance(way_ms, float):
                return np.full(of.n, constant, np.int32)
            ms = constant * (self.read.dt_ns / 1e6)
        steps = nearest_step(ms + way_ms, self.read.dt_ns / 1e6)
        short, long = int(np.sum(steps < 1)), int(np.sum(steps >= LONGEST_RUN))
        if short:
            share, dt = f"{short:,} of {of.n:,} delays drawn ({short / of.n:.1%})", self.config.run.dt
            remedy = f'min = "{dt}" clips them, with redraw = true they are drawn again'
            raise self.error(place, f"{share} are shorter than dt = {dt}; {remedy}")
        if long:
            raise self.error(place, f"{long:,} of {of.n:,} delays are {beyond(self.read.dt_ns)}")
        return steps.astype(np.int32)

    def graded(self) -> Graded:
        """Graded synapses, by (pre, post, order in the config)."""
        empty, none = np.empty(0, np.int32), np.empty(0)
        made = [Graded(empty, empty, none, empty, none, none, none)]
        for place, table in self.config.active("graded"):
            label = f"graded {table.csv or f'{table.pre}>{table.post}'}"
            self._count[label] += 1
            made.append(self._graded(place, table, f"{label} {self._count[label]}"))
        found = Graded._make(np.concatenate(parts) for parts in zip(*made, strict=True))
        return rules.ordered(found, rules.by_ends(found.pre, found.post))

    def _graded(self, place: Place, table: GradedTable, label: str) -> Graded:
        if table.csv:
            self._forbid(place, table, ("pre", "post", *_STRUCTURE, "stored"), "does not go with csv")
            csv, sections = self._sections(table)
            pre, post, rows = self._ends(csv, table, ("pre", "post"))
            for row in rows[(pre >= self.who.n_neurons) | (post >= self.who.n_neurons)][:1]:
                raise csv.error(int(row), "a source has no potential; a graded synapse joins two neurons")
            pre, post, rows = self._wanted(pre, post, rows)
            of = self._by_row(post)
            weight, reversal = self._strength(place, table, label, post, of, csv, rows, sections[rows])
        else:
            for key in ("pre", "post"):
                if getattr(table, key) is None:
                    raise self.error(place, f"[[graded]] needs '{key}' (or csv)")
            self._forbid(place, table, ("columns", "ignore_unknown"), "goes with csv")
            assert table.pre is not None and table.post is not None
            ends = table.pre, table.post
            members = [
                self.who.named((*place, key), name) for key, name in zip(("pre", "post"), ends, strict=True)
            ]
            pre, post = self._pairs(place, table, ends, members[0], members[1], label)
            of = self._by_partner(pre, post)
            weight, reversal = self._strength(place, table, label, post, of)
            if table.stored or table.rule == "assemblies":
                if table.conductance is not None:
                    message = "stored patterns give weights of both signs; a conductance has no sign"
                    raise self.error((*place, "conductance"), message)
                weight = weight * self._covariance(place, table, ends, (pre, post))
        threshold, slope = np.zeros(pre.size), np.ones(pre.size)
        for model, mine in self._models(pre):
            unit = model.states()[model.potential].unit
            if table.threshold is not None:
                threshold[mine] = self.read.number((*place, "threshold"), table.threshold, unit)
            if table.slope is not None:
                slope[mine] = self.read.number((*place, "slope"), table.slope, unit)
                if np.any(slope <= 0):
                    raise self.error((*place, "slope"), f"slope must be > 0, not '{table.slope}'")
        transfer = np.full(pre.size, TRANSFERS.index(table.transfer), np.int32)
        return Graded(pre, post, weight, transfer, threshold, slope, reversal)

    def _strength(self, place: Place, table: GradedTable, label: str, post: Int32s, of: Owners,
                  csv: CsvTable | None = None, rows: Steps | None = None,
                  sections: Array | float = 1.0) -> tuple[Array, Array]:  # fmt: skip
        """`weight` and `reversal` of graded synapses on `post`, as in `Graded`; shape (synapses,) each."""
        columns = () if csv is None else csv.cells
        has = {key: getattr(table, key) is not None or key in columns
               for key in ("weight", "conductance", "reversal")}  # fmt: skip
        for key in has:
            if csv is not None and key in columns and getattr(table, key) is not None:
                raise self.error((*place, key), f"{csv.file} has a column {key} already")
        if has["weight"] and has["conductance"]:
            message = "give 'weight', a current, or 'conductance' with 'reversal', not both"
            raise self.error((*place, "conductance"), message)
        if has["reversal"] and not has["conductance"]:
            raise self.error((*place, "reversal"), "'reversal' goes with 'conductance'")
        if has["conductance"] and not has["reversal"]:
            message = "'conductance' needs 'reversal', the potential at which no current flows"
            raise self.error((*place, "conductance"), message)
        if not (has["weight"] or has["conductance"]):
            raise self.error(place, "[[graded]] needs 'weight', or 'conductance' and 'reversal'")

        uses = {"weight": Use.WEIGHT, "conductance": Use.CONDUCTANCE, "reversal": Use.REVERSAL}

        def values(key: str, unit: str, times: Array | float = 1.0) -> Array:
            if csv is not None and key in columns:
                return csv.numbers(key, unit)[rows]
            given = getattr(table, key)
            return self.read.values((*place, key), given, unit, uses[key], label, of) * times

        if has["weight"]:
            weight = np.empty(post.size)
            for model, mine in self._models(post):
                weight[mine] = values("weight", model.current_unit, sections)[mine]
            return weight, np.full(post.size, np.nan)
        for model, mine in self._models(post):
            if (model.current_unit, model.states()[model.potential].unit) != ("pA", "mV"):
                owner = self.who.ids[post[mine][0]]
                message = f"'{owner}' has no membrane in mV and pA for a conductance; give 'weight'"
                raise self.error((*place, "conductance"), message)
        ns = values("conductance", "nS", sections)
        for synapse in np.flatnonzero(ns < 0)[:1]:
            message = f"a conductance must be >= 0, not {ns[synapse]:g} nS"
            if csv is not None and rows is not None and "conductance" in columns:
                raise csv.error(int(rows[synapse]), message)
            hint = "; clip it with min and max" if isinstance(table.conductance, Distribution) else ""
            raise self.error((*place, "conductance"), message + hint)
        return ns, values("reversal", "mV")

    def electrical(self) -> Junctions:
        made: list[Listed] = []
        for place, table in self.config.active("electrical"):
            made.append((self._junctions_from_csv if table.csv else self._junction)(place, table))
            self.junction_tables.append((place, made[-1][0].size))
        if not made:
            return np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0)
        a, b, ns = (np.concatenate([part[n] for part in made]) for n in range(3))
        self._require_once(made, a, b)
        if self._mine is None:
            return a, b, ns
        kept = self._mine[a] | self._mine[b]
        return a[kept], b[kept], ns[kept]

    def _require_once(self, made: list[Listed], a: Int32s, b: Int32s) -> None:
        """That no junction is listed twice, in either direction."""
        pair = np.minimum(a, b).astype(np.int64) << 32 | np.maximum(a, b)
        order = np.argsort(pair, kind="stable")
        again = np.flatnonzero(pair[order[1:]] == pair[order[:-1]])
        if not again.size:
            return
        begins = np.cumsum([0, *(part[0].size for part in made)])

        def error(junction: int, message: str) -> InputError:
            table = int(np.searchsorted(begins, junction, side="right")) - 1
            return made[table][3](junction - int(begins[table]), message)

        second = min(order[again + 1].tolist())
        first = int(np.flatnonzero(pair == pair[second])[0])
        other = error(first, "")
        where = f"line {other.line} of {Path(other.file).name}" if other.file else f"line {other.line}"
        ends = f"'{self.who.ids[a[second]]}' and '{self.who.ids[b[second]]}'"
        message = f"{ends} have a junction already, by {where}; it acts both ways"
        raise error(second, f"{message}, so list it once, with the sum")

    def _junction(self, place: Place, table: Electrical) -> Listed:
        for key in ("a", "b", "conductance"):
            if getattr(table, key) is None:
                raise self.error(place, f"[[electrical]] needs '{key}' (or csv)")
        self._forbid(place, table, ("columns", "ignore_unknown"), "goes with csv")
        assert table.a is not None and table.b is not None and table.conductance is not None
        a, b = self.who.named((*place, "a"), table.a), self.who.named((*place, "b"), table.b)
        if table.rule is None:
            for key, name, members in (("a", table.a, a), ("b", table.b, b)):
                if members.size > 1:
                    message = (
                        f"'{name}' is a group; a junction joins two neurons, so [[electrical]] needs 'rule'"
                    )
                    raise self.error((*place, key), message)
        if table.rule in ("fixed_indegree", "layered", "assemblies"):
            raise self.error((*place, "rule"), f"{table.rule} has a direction, and a junction has none")
        for key in ("allow_self", "directed"):
            if getattr(table, key):
                raise self.error((*place, key), f"'{key}' does not go with [[electrical]]")
        label = f"electrical {table.a}-{table.b}"
        self._count[label] += 1
        # All are drawn, also where few are wanted: those of one neuron are drawn by its partners too.
        self._check_keys(place, table)
        a, b = self._all_pairs(place, table, (table.a, table.b), a, b, b, f"{label} {self._count[label]}")
        if np.any(a == b):
            raise self.error((*place, "b"), f"'{table.b}' cannot have a junction with itself")
        if table.a == table.b:
            once = a < b
            a, b = a[once], b[once]
        ns = np.full(a.size, self._conductance(place, table.conductance))
        return a, b, ns, lambda _, message: self.error(place, message)

    def _junctions_from_csv(self, place: Place, table: Electrical) -> Listed:
        self._forbid(place, table, ("a", "b", *_STRUCTURE), "does not go with csv")
        csv, sections = self._sections(table)
        a, b, rows = self._ends(csv, table, ("a", "b"))
        for row in rows[(a >= self.who.n_neurons) | (b >= self.who.n_neurons)][:1]:
            raise csv.error(int(row), "a source has no membrane; a junction joins two neurons")
        for row in rows[a == b][:1]:
            raise csv.error(int(row), f"'{csv.cells['a'][row]}' cannot have a junction with itself")
        if "conductance" in csv.cells:
            if table.conductance is not None:
                raise self.error((*place, "conductance"), f"{csv.file} has a column conductance already")
            ns = csv.numbers("conductance", "nS")
        elif table.conductance is None:
            why = f"{csv.file} has no column 'conductance [nS]', so [[electrical]] needs 'conductance'"
            raise self.error(place, why)
        else:
            ns = self._conductance(place, table.conductance) * sections
        for row in np.flatnonzero(ns <= 0)[:1]:
            raise csv.error(int(row), f"a conductance must be > 0, not {ns[row]:g} nS")
        return a, b, ns[rows], lambda n, message: csv.error(int(rows[n]), message)

    def _conductance(self, place: Place, written: Plain) -> float:
        ns = self.read.number((*place, "conductance"), written, "nS")
        if ns <= 0:
            raise self.error((*place, "conductance"), f"conductance must be > 0 nS, not '{written}'")
        return ns
