"""Who is connected how: synapses and electrical junctions, one by one, by rule and from CSV."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from neurobus.config.locate import Place, meant
from neurobus.config.schema import Distribution, Electrical, Plain, Synapses, Value
from neurobus.config.tables import CsvTable
from neurobus.model import Array, Model
from neurobus.network import rules
from neurobus.network.draw import Stream
from neurobus.network.population import Int32s, Population, Steps
from neurobus.network.quantities import MOST_STEPS

Chemical = tuple[Int32s, Int32s, Array, Int32s]
"""pre, post, weight, delay (steps): one element each per synapse."""
Junctions = tuple[Int32s, Int32s, Array]
"""a, b, conductance (nS)."""


class Wiring:
    """Connects a population as its config says. `skipped`: CSV → rows left out by `ignore_unknown`."""

    def __init__(self, who: Population):
        self.who, self.read, self.config, self.error = who, who.read, who.config, who.error
        self.skipped: dict[str, int] = {}

    def synapses(self) -> Chemical:
        empty = np.empty(0, np.int32)
        made = [(empty, empty, np.empty(0), empty)]
        count: Counter[str] = Counter()
        for place, table in self.config.active("synapses"):
            label = table.csv or f"{table.pre}>{table.post}"
            count[label] += 1
            label = f"synapses {label} {count[label]}"
            made.append((self._from_csv if table.csv else self._by_rule)(place, table, label))
        pre, post, weight, delay = (np.concatenate(parts) for parts in zip(*made, strict=True))
        order = np.argsort(pre.astype(np.int64) << 32 | post, kind="stable")
        return pre[order], post[order], weight[order], delay[order].astype(np.int32)

    def _by_rule(self, place: Place, table: Synapses, label: str) -> Chemical:
        for key in ("pre", "post", "weight", "delay"):
            if getattr(table, key) is None:
                raise self.error(place, f"[[synapses]] needs '{key}' (or csv)")
        self._forbid(place, table, ("columns", "ignore_unknown"), "goes with csv")
        for key, rule in (("probability", "fixed_probability"), ("indegree", "fixed_indegree")):
            if table.rule == rule and getattr(table, key) is None:
                raise self.error((*place, "rule"), f"{rule} needs '{key}'")
            if table.rule != rule:
                self._forbid(place, table, (key,), f'goes with rule = "{rule}"')
        assert table.pre and table.post and table.weight is not None and table.delay is not None
        pre = self.who.named((*place, "pre"), table.pre, neurons=False)
        post = self.who.named((*place, "post"), table.post)
        pre, post = self._pairs(place, table, pre, post, label)
        weight = self.weights((*place, "weight"), table.weight, post, f"{label} weight")
        return pre, post, weight, self._delays((*place, "delay"), table.delay, pre.size, f"{label} delay")

    def _pairs(self, place: Place, table: Synapses, pre: Int32s, post: Int32s, label: str) -> rules.Pairs:
        stream = Stream(self.read.seed, f"{label} pairs")
        match table.rule:
            case None:
                if pre.size > 1 or post.size > 1:
                    many = table.pre if pre.size > 1 else table.post
                    raise self.error(place, f"'{many}' is a group, so [[synapses]] needs 'rule'")
                return pre, post
            case "one_to_one":
                if pre.size != post.size:
                    sizes = f"'{table.pre}' has {pre.size}, '{table.post}' {post.size}"
                    raise self.error((*place, "rule"), f"one_to_one needs groups of one size; {sizes}")
                return pre, post
            case "all_to_all":
                return rules.all_to_all(pre, post, table.allow_self)
            case "fixed_probability":
                assert table.probability is not None
                if not 0 <= table.probability <= 1:
                    message = f"probability must be from 0 to 1, not {table.probability}"
                    raise self.error((*place, "probability"), message)
                return rules.fixed_probability(pre, post, table.probability, table.allow_self, stream)
            case "fixed_indegree":
                assert table.indegree is not None
                itself = not table.allow_self and bool(np.isin(post, pre).any())
                if table.indegree > pre.size - itself:
                    others = f"{pre.size - 1} others" if itself else str(pre.size)
                    message = f"indegree {table.indegree} is more than '{table.pre}' has: {others}"
                    raise self.error((*place, "indegree"), message)
                return rules.fixed_indegree(pre, post, table.indegree, table.allow_self, stream)

    def _from_csv(self, place: Place, table: Synapses, label: str) -> Chemical:
        keys = ("pre", "post", "rule", "probability", "indegree", "allow_self")
        self._forbid(place, table, keys, "does not go with csv")
        csv, sections = self._sections(table)
        pre, post, rows = self._ends(csv, table, ("pre", "post"))
        for row in rows[post >= self.who.n_neurons][:1]:
            raise csv.error(int(row), f"'{csv.cells['post'][row]}' is a source; a synapse ends on a neuron")
        if "weight" in csv.cells:
            if table.weight is not None:
                raise self.error((*place, "weight"), f"{csv.file} has a column weight already")
            weight = np.empty(post.size)
            for unit, mine in self._weight_units(post):
                weight[mine] = csv.numbers("weight", unit)[rows][mine]
        elif table.weight is None:
            why = f"{csv.file} has no column 'weight [unit]', so [[synapses]] needs 'weight'"
            raise self.error(place, why)
        else:
            weight = self.weights((*place, "weight"), table.weight, post, f"{label} weight") * sections[rows]
        if "delay" in csv.cells:
            if table.delay is not None:
                raise self.error((*place, "delay"), f"{csv.file} has a column delay already")
            delay = self.read.on_grid(csv, "delay", csv.numbers("delay", "ms") * 1e6)[rows].astype(np.int32)
        elif table.delay is None:
            why = f"{csv.file} has no column 'delay [ms]', so [[synapses]] needs 'delay'"
            raise self.error(place, why)
        else:
            delay = self._delays((*place, "delay"), table.delay, rows.size, f"{label} delay")
        return pre, post, weight, delay

    def _sections(self, table: Synapses | Electrical) -> tuple[CsvTable, Array]:
        """A connection CSV and, for each row, how many times the table's weight or conductance counts."""
        assert table.csv is not None
        csv = self.config.table(table.csv).renamed(table.columns)
        for name in ("sections", "count"):
            if name in csv.cells:
                return csv, csv.numbers(name, "")
        return csv, np.ones(len(csv.lines))

    def _ends(
        self, csv: CsvTable, table: Synapses | Electrical, names: tuple[str, str]
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

    def _forbid(self, place: Place, table: Synapses | Electrical, keys: Sequence[str], why: str) -> None:
        for key in keys:
            if getattr(table, key) not in (None, False, {}):
                raise self.error((*place, key), f"'{key}' {why}")

    def _weight_units(self, post: Int32s) -> Iterable[tuple[str, npt.NDArray[np.bool_]]]:
        """The weight units of the postsynaptic models, each with the synapses it holds for."""
        model_of = self.who.model_of[post]
        for number in np.unique(model_of).tolist():
            model = self.who.models[number]
            assert issubclass(model, Model)
            yield model.weight_unit, model_of == number

    def weights(self, place: Place, value: Value, post: Int32s, label: str) -> Array:
        """One weight for each element of `post`, in the unit of that neuron's model."""
        weight = np.empty(post.size)
        for unit, mine in self._weight_units(post):
            weight[mine] = self.read.drawn(place, value, post.size, unit, label)[mine]
        return weight

    def _delays(self, place: Place, value: Value, n: int, label: str) -> Int32s:
        if not isinstance(value, Distribution):
            return np.full(n, self.read.steps(place, value, least=1), np.int32)
        steps = np.rint(self.read.drawn(place, value, n, "ms", label) * 1e6 / self.read.dt_ns)
        return steps.clip(1, MOST_STEPS - 1).astype(np.int32)

    def electrical(self) -> Junctions:
        made = [(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0))]
        for place, table in self.config.active("electrical"):
            made.append((self._junctions_from_csv if table.csv else self._junction)(place, table))
            self.who.require_potential(place, np.union1d(made[-1][0], made[-1][1]))
        a, b, ns = (np.concatenate(parts) for parts in zip(*made, strict=True))
        return a, b, ns

    def _junction(self, place: Place, table: Electrical) -> Junctions:
        for key in ("a", "b", "conductance"):
            if getattr(table, key) is None:
                raise self.error(place, f"[[electrical]] needs '{key}' (or csv)")
        self._forbid(place, table, ("columns", "ignore_unknown"), "goes with csv")
        assert table.a and table.b and table.conductance is not None
        a, b = self.who.named((*place, "a"), table.a), self.who.named((*place, "b"), table.b)
        for key, name, members in (("a", table.a, a), ("b", table.b, b)):
            if members.size > 1:
                raise self.error((*place, key), f"'{name}' is a group; a junction joins two neurons")
        if a[0] == b[0]:
            raise self.error((*place, "b"), f"'{table.b}' cannot have a junction with itself")
        return a, b, np.array([self._conductance(place, table.conductance)])

    def _junctions_from_csv(self, place: Place, table: Electrical) -> Junctions:
        self._forbid(place, table, ("a", "b"), "does not go with csv")
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
        return a, b, ns[rows]

    def _conductance(self, place: Place, written: Plain) -> float:
        ns = self.read.number((*place, "conductance"), written, "nS")
        if ns <= 0:
            raise self.error((*place, "conductance"), f"conductance must be > 0 nS, not '{written}'")
        return ns
