"""Which pairs of neurons a table's rule joins: its keys checked, its numbers read, its pairs made."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from neurobus.config.locate import Place
from neurobus.config.schema import Graded, Structure, Synapses
from neurobus.model import Array
from neurobus.network import rules
from neurobus.network.population import Int32s, Population
from neurobus.network.space import Space, kernel
from neurobus.streams import Use

MOST_SYNAPSES = 200_000_000
"""Of a projection; as it is made a synapse takes about 40 bytes."""
Ends = tuple[str, str]
"""What the config calls the two populations of a projection."""


class RuleKeys(NamedTuple):
    """What a rule gives, the keys it needs, and those it may have."""

    about: str
    needs: tuple[str, ...] = ()
    may_have: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        return self.needs + self.may_have


RULES = {
    "one_to_one": RuleKeys("the first to the first, the second to the second, …"),
    "all_to_all": RuleKeys("every pair", (), ("allow_self",)),
    "same_class": RuleKeys("every pair of one class", (), ("allow_self", "classes")),
    "same_class_lower": RuleKeys(
        "every pair of one class, from the lower number to the higher", (), ("classes",)
    ),
    "same_class_higher": RuleKeys(
        "every pair of one class, from the higher number to the lower", (), ("classes",)
    ),
    "other_class": RuleKeys("every pair of two different classes", (), ("classes",)),
    "fixed_probability": RuleKeys("every pair, with the same probability", ("probability",), ("allow_self",)),
    "fixed_indegree": RuleKeys(
        "`indegree` presynaptic neurons for each, at random", ("indegree",), ("allow_self",)
    ),
    "small_world": RuleKeys(
        "a ring with short cuts (Watts & Strogatz 1998)", ("neighbours", "rewire"), ("directed",)
    ),
    "scale_free": RuleKeys(
        "degrees that fall as k^-exponent (static model, Goh, Kahng & Kim 2001)",
        ("exponent", "degree"),
        ("directed",),
    ),
    "distance": RuleKeys(
        "near neurons more often than distant ones", ("kernel", "probability", "reach"), ("allow_self",)
    ),
    "layered": RuleKeys("each layer of a group to the next layer", ("layers",), ("probability",)),
    "assemblies": RuleKeys(
        "every pair, with weights that store the patterns "
        "(Hopfield 1982; Tsodyks & Feigel'man 1988 for sparse ones)",
        (),
        ("allow_self",),
    ),
}
OLD_NAMES = {"elders": "same_class_lower", "youngers": "same_class_higher"}
"""What configs written before may say: the same pairs, weights and streams."""


def _now_called(rule: str | None) -> str | None:
    return OLD_NAMES.get(rule or "", rule)


class Pairing:
    """Makes the pairs of rules among a population, and what follows from who is paired.

    `mine` (N,): the neurons whose inputs are wanted; None: all.
    """

    def __init__(self, who: Population, mine: npt.NDArray[np.bool_] | None):
        self.who, self.read, self.config, self.error, self.mine = who, who.read, who.config, who.error, mine

    def wanted(
        self, place: Place, table: Structure, ends: Ends, pre: Int32s, post: Int32s, label: str
    ) -> rules.Pairs:
        """The pairs that a table's rule makes of two populations called `ends`; those on wanted neurons."""
        self.check_keys(place, table)
        some = post if self.mine is None else post[self.mine[post]]
        a, b = self.all(place, table, ends, pre, post, some, label)
        if self.mine is None:
            return a, b
        kept = self.mine[b]
        return a[kept], b[kept]

    def all(
        self, place: Place, table: Structure, ends: Ends, pre: Int32s, post: Int32s, some: Int32s, label: str
    ) -> rules.Pairs:
        """As `wanted`, of all neurons; rules that draw for each neuron do so for `some` of `post`."""
        self._check_size(place, table, pre.size, some.size)
        rule = _now_called(table.rule)
        match rule:
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
            case "same_class" | "same_class_lower" | "same_class_higher" | "other_class":
                room = self.config.classroom
                classes = table.classes if table.classes is not None else room.classes if room else None
                if classes is None:
                    message = f"{table.rule} needs 'classes', or a [classroom] that says how many there are"
                    raise self.error((*place, "rule"), message)
                return rules.by_class(pre, post, classes, rule, table.allow_self)
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

    def way_ms(self, place: Place, table: Synapses, ends: Ends, pre: Int32s, post: Int32s) -> Array | float:
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

    def covariance(self, place: Place, table: Synapses | Graded, ends: Ends, pairs: rules.Pairs) -> Array:
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

    def check_keys(self, place: Place, table: Structure) -> None:
        """That the keys of a table are those of its rule."""
        rule = RULES.get(_now_called(table.rule) or "", RuleKeys(""))
        for key in rule.needs:
            if getattr(table, key) is None:
                raise self.error((*place, "rule"), f"{table.rule} needs '{key}'")
        for key in dict.fromkeys(key for rule in RULES.values() for key in rule.keys):
            if key not in rule.keys and getattr(table, key) not in (None, False):
                users = [name for name, other in RULES.items() if key in other.keys]
                raise self.error(
                    (*place, key), f"'{key}' goes with rule = " + " or ".join(f'"{r}"' for r in users)
                )

    def _share(self, place: Place, value: float | None) -> float:
        assert value is not None
        if not 0 <= value <= 1:
            raise self.error(place, f"{place[-1]} must be from 0 to 1, not {value}")
        return value
