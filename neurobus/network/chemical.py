"""Chemical synapses: from where to where, of which type, how strong, after how long."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from neurobus.bounds import LONGEST_RUN, beyond
from neurobus.config.locate import Place, meant
from neurobus.config.schema import STATIC, Distribution, Value
from neurobus.config.schema import Synapses as Table
from neurobus.grid import nearest_step
from neurobus.loading import load_synapse
from neurobus.model import Array, Model, Synapse
from neurobus.network import rules
from neurobus.network.draw import Owners
from neurobus.network.held import fault, params_of
from neurobus.network.population import Int32s, out_of_bounds
from neurobus.network.projection import STRUCTURE, Projections
from neurobus.streams import Use


class Synapses(NamedTuple):
    """One element each per synapse. `delay` in steps; `receptor` a row of the postsynaptic model's, or that
    many and the number of a modulator; `kind` a synapse type or -1, `row` its parameters."""

    pre: Int32s
    post: Int32s
    weight: Array
    delay: Int32s
    receptor: Int32s
    kind: Int32s
    row: Int32s

    def only(self, wanted: npt.NDArray[Any]) -> Synapses:
        return Synapses._make(part[wanted] for part in self)


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


class Chemical:
    """Makes the [[synapses]] of a config."""

    def __init__(self, projections: Projections):
        self.of, self.who, self.read, self.error = (
            projections,
            projections.who,
            projections.read,
            projections.error,
        )
        self.kinds = Kinds()

    def synapses(self) -> Synapses:
        empty = np.empty(0, np.int32)
        made = [Synapses(empty, empty, np.empty(0), empty, empty, empty, empty)]
        places: list[Place] = []
        for place, table in self.of.config.active("synapses"):
            # All types first: a table may name what another table's type listens to.
            self._kind(place, table)
        for place, table in self.of.config.active("synapses"):
            label = self.of.label(f"synapses {table.csv or f'{table.pre}>{table.post}'}")
            found = (self._from_csv if table.csv else self._by_rule)(place, table, label)
            made.append(self._typed(place, table, label, *found))
            self._require_held(place, table, made[-1])
            places.append(place)
        parts = made[1] if len(made) == 2 else [np.concatenate(parts) for parts in zip(*made, strict=True)]
        self._require_listeners(Synapses(*parts), places, [one.pre.size for one in made[1:]])
        return rules.ordered(Synapses(*parts), rules.by_ends(parts[0], parts[1]))

    def _kind(self, place: Place, table: Table) -> int:
        if table.synapse == STATIC:
            self.of.forbid(place, table, ("params",), 'goes with a synapse type; name it as synapse = "…"')
            return -1
        try:
            return self.kinds.number(table.synapse)
        except ImportError as error:
            raise self.error((*place, "synapse"), str(error)) from error

    def _typed(self, place: Place, table: Table, label: str, pre: Int32s, post: Int32s, weight: Array,
               delay: Int32s, names: Sequence[str] | None, of: Owners) -> Synapses:  # fmt: skip
        """With receptor, type and parameters of each synapse. `names`: a CSV's receptors."""
        kind = self._kind(place, table)
        receptor = self._receptors(place, table, post, weight, names)
        none = np.full(pre.size, -1, np.int32)
        if kind < 0:
            return Synapses(pre, post, weight, delay.astype(np.int32), receptor, none, none)
        type_ = self.kinds.types[kind]
        for model, mine in self.of.models(post):
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
        return Synapses(pre, post, weight, delay.astype(np.int32), receptor, none + 1 + kind, row)

    def _parameters(
        self, place: Place, table: Table, kind: type[Synapse], post: Int32s, label: str, of: Owners
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
                units = self._weight_units(post) if param.weight else [(param.unit, slice(None))]
                for unit, mine in units:
                    drawn = self.read.values((*place, name), given, unit, Use.SYNAPSE, f"{label} {name}", of)
                    value[: post.size][mine] = drawn[mine]
                for one in (value.min(), value.max()):
                    if not param.admits(one):
                        hint = "; clip it with min and max" if isinstance(given, Distribution) else ""
                        raise self.error((*place, name), out_of_bounds(name, param, one) + hint)
            values[name] = value
        return values, any(np.any(value != value[0]) for value in values.values())

    def _receptors(self, place: Place, table: Table, post: Int32s, weight: Array,
                   names: Sequence[str] | None) -> Int32s:  # fmt: skip
        receptor = np.zeros(post.size, np.int32)
        named = np.array(names if names is not None else [table.receptor or ""] * (post.size > 0))
        for model, mine in self.of.models(post):
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

    def _require_held(self, place: Place, table: Table, made: Synapses) -> None:
        """Each weight is one that the model of its neuron can have."""
        for model, mine in self.of.models(made.post):
            mine &= made.receptor < len(model.receptors)
            if not mine.any():
                continue
            post = made.post[mine]
            p = params_of(self.who, int(self.who.model_of[post[0]]), post)
            if (found := fault(model, p, made.weight[mine], made.receptor[mine])) is None:
                continue
            first, word = found
            if table.csv and table.weight is None:
                csv, _ = self.of.sections(table)
                rows = self.of.ends(csv, table, ("pre", "post"))[2]
                raise csv.error(int(rows[np.flatnonzero(mine)[first]]), word)
            hint = "; clip it with min and max" if isinstance(table.weight, Distribution) else ""
            raise self.error((*place, "weight"), word + hint)

    def _require_listeners(self, made: Synapses, places: list[Place], sizes: list[int]) -> None:
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

    def _by_rule(self, place: Place, table: Table, label: str) -> Joined:
        self.of.require(place, table, ("pre", "post", "weight", "delay"))
        assert table.pre is not None and table.post is not None
        assert table.weight is not None and table.delay is not None
        ends = table.pre, table.post
        pre = self.who.named((*place, "pre"), table.pre, neurons=False)
        post = self.who.named((*place, "post"), table.post)
        pre, post = self.of.pairs.wanted(place, table, ends, pre, post, label)
        of = self.of.by_partner(pre, post)
        weight = self._weights((*place, "weight"), table.weight, post, label, of, table.receptor)
        if table.stored or table.rule == "assemblies":
            weight = weight * self.of.pairs.covariance(place, table, ends, (pre, post))
        way = self.of.pairs.way_ms(place, table, ends, pre, post)
        delay = self._delays((*place, "delay"), table.delay, label, of, way)
        return pre, post, weight, delay, None, of

    def _from_csv(self, place: Place, table: Table, label: str) -> Joined:
        keys = ("pre", "post", *STRUCTURE, "stored", "velocity")
        self.of.forbid(place, table, keys, "does not go with csv")
        csv, sections = self.of.sections(table)
        pre, post, rows = self.of.ends(csv, table, ("pre", "post"))
        for row in rows[post >= self.who.n_neurons][:1]:
            raise csv.error(int(row), f"'{csv.cells['post'][row]}' is a source; a synapse ends on a neuron")
        pre, post, rows = self.of.wanted(pre, post, rows)
        of = self.of.by_row(post)
        if self.of.column(place, table, csv, "weight"):
            weight = np.empty(post.size)
            for unit, mine in self._weight_units(post, table.receptor):
                weight[mine] = csv.numbers("weight", unit)[rows][mine]
        elif table.weight is None:
            raise self.of.missing(place, csv, "weight", "unit")
        else:
            each = self._weights((*place, "weight"), table.weight, post, label, of, table.receptor)
            weight = each * sections[rows]
        if self.of.column(place, table, csv, "delay"):
            delay = self.read.on_grid(csv, "delay", csv.numbers("delay", "ms"))[rows].astype(np.int32)
        elif table.delay is None:
            raise self.of.missing(place, csv, "delay", "ms")
        else:
            delay = self._delays((*place, "delay"), table.delay, label, of)
        if not self.of.column(place, table, csv, "receptor"):
            return pre, post, weight, delay, None, of
        return pre, post, weight, delay, [csv.cells["receptor"][row] for row in rows.tolist()], of

    def _weight_units(
        self, post: Int32s, receptor: str | None = None
    ) -> Iterable[tuple[str, npt.NDArray[np.bool_]]]:
        """The weight units of the postsynaptic models, each with the synapses it holds for. What arrives at a
        modulator has none."""
        for model, mine in self.of.models(post):
            plain = receptor in self.kinds.modulators and receptor not in model.receptors
            yield "" if plain else model.weight_unit, mine

    def _weights(
        self, place: Place, value: Value, post: Int32s, label: str, of: Owners, receptor: str | None = None
    ) -> Array:
        """One weight for each element of `post`, in the unit of that neuron's model."""
        weight = np.empty(post.size)
        for unit, mine in self._weight_units(post, receptor):
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
            share, dt = f"{short:,} of {of.n:,} delays drawn ({short / of.n:.1%})", self.read.config.run.dt
            remedy = f'min = "{dt}" clips them, with redraw = true they are drawn again'
            raise self.error(place, f"{share} are shorter than dt = {dt}; {remedy}")
        if long:
            raise self.error(place, f"{long:,} of {of.n:,} delays are {beyond(self.read.dt_ns)}")
        return steps.astype(np.int32)
