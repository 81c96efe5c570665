"""Who there is: neurons and sources by name and index, with their models and parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from neurobus import streams
from neurobus.config.locate import Place, meant
from neurobus.config.schema import (
    MOST,
    Distribution,
    Encoder,
    Group,
    Neuron,
    Plain,
    Poisson,
    Process,
    Spikes,
    Value,
    wrong_id,
)
from neurobus.config.tables import CsvTable
from neurobus.exact import MOST_A_STEP
from neurobus.grid import nearest_step
from neurobus.loading import fault as fault_of
from neurobus.loading import fault_in
from neurobus.loading import load as load_model
from neurobus.model import Array, Model, Node, Param, Shown, Source
from neurobus.model import Encoder as EncoderModel
from neurobus.network.draw import Owners
from neurobus.network.held import too_fast
from neurobus.network.quantities import Quantities
from neurobus.network.space import Space
from neurobus.streams import Use, Words, tags, uniforms

Int32s = npt.NDArray[np.int32]
Steps = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MOST_BITS = 100_000_000
"""Of the patterns of a group, a byte each."""


class Population:
    """Filled from a config: first the neurons, then the sources. See `Network` for the fields.

    `place_of` (N,): each one's place in its group, 0 where it stands alone.
    """

    def __init__(self, read: Quantities):
        self.read, self.config, self.error = read, read.config, read.error
        self.ids: list[str] = []
        self.index: dict[str, int] = {}
        self.groups: dict[str, Int32s] = {}
        self.models: list[type[Model] | type[Source]] = []
        self.model_number: dict[str, int] = {}
        self.times: dict[int, Steps] = {}
        self.shown: dict[int, Shown] = {}
        self.patterns: dict[str, Bools] = {}
        self.spaces: dict[str, Space] = {}
        self._places: list[tuple[Int32s, Array]] = []
        self._declared: dict[str, Place] = {}
        self._model_of: list[int] = []
        self._tags: list[Words] = []
        self._params: list[dict[str, list[Array]]] = []
        for place, neuron in self.config.active("neurons"):
            self._add_neurons(place, neuron, [neuron.id], None)
        for place, group in self.config.active("groups"):
            table = self.config.table(group.csv) if group.csv else None
            self._add_neurons(place, group, self._members(place, group, table), table)
        self.n_neurons = len(self.ids)
        for place, source in self.config.active("sources"):
            if isinstance(source, Process):
                self._add_source(place, source)
        if not self.ids:
            raise self.error((), "a config needs at least one neuron; write [[neurons]] or [[groups]]")
        self.model_of = np.array(self._model_of, np.int32)
        self.tag = np.concatenate(self._tags)
        self.place_of = np.concatenate([np.arange(tag.size) for tag in self._tags])
        self.at_mm = np.full((len(self.ids), 2), np.nan)
        for members, at_mm in self._places:
            self.at_mm[members] = at_mm
        self.params = [{name: np.concatenate(parts) for name, parts in of.items()} for of in self._params]

    def named(self, place: Place, name: str, neurons: bool = True) -> Int32s:
        """The members of a neuron, group or (unless `neurons`) source called by name."""
        if name not in self.groups:
            raise self.error(place, f"there is no '{name}' in this network{meant(name, self.groups)}")
        members = self.groups[name]
        if neurons and members[0] >= self.n_neurons:
            raise self.error(place, f"'{name}' is a source; this must be a neuron or group")
        return members

    def rate_hz(self, place: Place, written: Plain) -> float:
        """The rate of a Poisson train, whose number in one step can be drawn exactly."""
        hz, most_hz = self.read.number((*place, "rate"), written, "Hz"), MOST_A_STEP * 1e9 / self.read.dt_ns
        if hz > most_hz:
            most = f"{most_hz:,.0f} Hz, {MOST_A_STEP:g} spikes in a step of {self.config.run.dt}"
            raise self.error((*place, "rate"), f"rate must be <= {most}; not '{written}'")
        return hz

    def _owners(self, n: int) -> Owners:
        """The n members entered last, to draw a number for each."""
        tags = self._tags[-1][:n]
        return Owners(tags, np.arange(tags.size, dtype=np.int32))

    def _claim(self, name: str, place: Place) -> None:
        if name in self._declared:
            other = self.error(self._declared[name], "")
            where = f"in line {other.line}" if other.line else f"by {other.file}"
            raise self.error(place, f"the id '{name}' is taken {where}; ids must differ")
        self._declared[name] = place

    def _members(self, place: Place, group: Group | Process, table: CsvTable | None = None) -> list[str]:
        """The ids of a group's or source's members."""
        if table is not None and isinstance(group, Group):
            if group.count is not None or group.ids is not None:
                raise self.error((*place, "csv"), "give one of count, ids, csv")
            ids = table.require("id")
            if not ids:
                raise table.error(None, "names no neurons")
            for row, id in enumerate(ids):
                if wrong := wrong_id(id):
                    raise table.error(row, wrong)
                if id in self._declared or id == group.id:
                    raise table.error(row, f"the id '{id}' is taken; ids must differ")
                self._claim(id, (*place, "csv"))
            return ids
        if group.count is not None and group.ids is not None:
            raise self.error((*place, "ids"), "give count or ids, not both")
        if group.ids is not None:
            for n, id in enumerate(group.ids):
                if wrong := wrong_id(id):
                    raise self.error((*place, "ids", n), wrong)
                self._claim(id, (*place, "ids", n))
            return group.ids
        if group.count is None:
            if isinstance(group, Group):
                raise self.error(place, f"group '{group.id}' needs count, ids or csv")
            return [group.id]
        ids = [f"{group.id}.{n}" for n in range(group.count)]
        for id in ids:
            self._claim(id, (*place, "id"))
        return ids

    def _enter(self, place: Place, name: str, ids: Sequence[str], model: int) -> Int32s:
        """Give `ids` their indices and `name` to all of them."""
        if name in ids and (wrong := wrong_id(name)):
            raise self.error((*place, "id"), wrong)
        if len(self.ids) + len(ids) > MOST:
            message = f"{len(self.ids) + len(ids):,} neurons and sources; a network has at most {MOST:,}"
            raise self.error(place, message)
        self._claim(name, (*place, "id"))
        members = np.arange(len(self.ids), len(self.ids) + len(ids), dtype=np.int32)
        self._tags.append(tags(name, np.arange(len(ids))))
        self.index.update(zip(ids, members.tolist(), strict=True))
        self.ids.extend(ids)
        self._model_of.extend([model] * len(ids))
        self.groups.update({id: members[n : n + 1] for n, id in enumerate(ids)})
        self.groups[name] = members
        return members

    def _model(self, place: Place, name: str) -> int:
        if name not in self.model_number:
            try:
                model = load_model(name)
            except ImportError as error:
                raise self.error(place, str(error)) from error
            if fault := fault_of(model):
                raise self.error(place, f"model '{name}': {fault}")
            self.model_number[name] = len(self.models)
            self.models.append(model)
            self._params.append({})
        return self.model_number[name]

    def _add_neurons(
        self, place: Place, table: Neuron | Group, ids: Sequence[str], csv: CsvTable | None
    ) -> None:
        number = self._model((*place, "model"), table.model)
        model = self.models[number]
        if not issubclass(model, Model):
            raise self.error((*place, "model"), f"'{table.model}' is a source; write it as [[sources]]")
        members = self._enter(place, table.id, ids, number)
        if isinstance(table, Group):
            self._put(place, table, members)
            self._store(place, table, members)
        columns = self._parameter_columns(model, table.model, csv) if csv else {}
        place = (*place, "params")
        for name in columns.keys() & table.params.keys():
            raise self.error((*place, name), f"{name} is a column of the CSV too; give it once")
        values = self._parameters(place, model, table.model, table.params, columns, len(ids))
        self._keep(place, number, values)

    def _put(self, place: Place, group: Group | Process, members: Int32s) -> None:
        """Give the members of a group with a `space` their places."""
        if (written := group.space) is None:
            return
        place = (*place, "space")
        if (written.ring is None) == (written.sheet is None):
            raise self.error(place, 'space is one of ring, sheet; write { ring = "1 mm" }')
        key = "sheet" if written.ring is None else "ring"
        if written.torus and key == "ring":
            raise self.error((*place, "torus"), "'torus' goes with sheet")
        sides = [written.ring] if written.ring is not None else list(written.sheet or ())
        sizes_mm = [self.read.number((*place, key), side, "mm") for side in sides]
        if min(sizes_mm) <= 0:
            raise self.error((*place, key), f"{key} must be longer than 0 mm")
        space = Space(key, sizes_mm[0], sizes_mm[-1] if key == "sheet" else 0.0, written.torus)
        if written.placed == "random":
            of = self.read.keys(Use.PLACE, self._tags[-1])
            at_mm = space.drawn(uniforms(of[:, None], np.arange(2)))
        else:
            at_mm = space.places(members.size)
        self._places.append((members, at_mm))
        self.spaces[group.id] = space
        self.spaces.update({self.ids[i]: space for i in members.tolist()})

    def _store(self, place: Place, group: Group, members: Int32s) -> None:
        """Draw the patterns of a group; the neurons active in each become a group of their own."""
        if (written := group.patterns) is None:
            return
        n = members.size
        if written.count * n > MOST_BITS:
            message = f"{written.count:,} patterns of {n:,} neurons are more than fit into memory"
            raise self.error((*place, "patterns", "count"), message)
        active = round(written.activity * n)
        if not 0 < active < n:
            message = (
                f"activity {written.activity} of {n} neurons is {active}; some must be active and some not"
            )
            raise self.error((*place, "patterns", "activity"), message)
        patterns = np.zeros((written.count, n), bool)
        for number, pattern in enumerate(patterns):
            stream = self.read.stream(Use.PATTERN, f"{group.id}#{number}")
            pattern[stream.order(n)[:active]] = True
            self.groups[f"{group.id}#{number}"] = members[pattern]
        self.patterns[group.id] = patterns

    def _add_source(self, place: Place, source: Process) -> None:
        ids = self._members(place, source)
        self._add_source_of(place, source, ids)
        self._put(place, source, self.groups[source.id])

    def _add_source_of(self, place: Place, source: Process, ids: Sequence[str]) -> None:
        if isinstance(source, Encoder):
            self._add_encoder(place, source, ids)
            return
        name = source.node
        if name is None:
            if self.config.run.clock == "virtual":
                message = f"external source '{source.id}' cannot keep the virtual clock; use clock = \"wall\""
                raise self.error((*place, "kind"), message)
            self._enter(place, source.id, ids, -1)
            return
        number = self._model((*place, "kind"), name)
        model = self.models[number]
        members = self._enter(place, source.id, ids, number)
        if isinstance(source, Spikes):
            self.times.update(zip(members.tolist(), self._spike_steps(place, source, ids), strict=True))
            return
        given = {key: value for key in model.params() if (value := getattr(source, key, None)) is not None}
        for key in given:
            if (param := model.params()[key]).steps:
                self.read.steps((*place, key), given[key], least=param.above is not None)
        if model.stochastic:
            self.read.drew.add(Use.SOURCE)
        if isinstance(source, Poisson):
            self.rate_hz(place, source.rate)
        self._keep(place, number, self._parameters(place, model, name, given, {}, len(ids)))

    def _add_encoder(self, place: Place, source: Encoder, ids: Sequence[str]) -> None:
        number = self._model((*place, "model"), source.model)
        model = self.models[number]
        if not issubclass(model, EncoderModel):
            raise self.error(
                (*place, "model"), f"'{source.model}' is no encoder; use nodes.latency or nodes.rank"
            )
        members = self._enter(place, source.id, ids, number)
        x = self.config.samples(source.file, source.array)
        if x.shape[1] != len(ids):
            message = (
                f"'{source.file}' has {x.shape[1]} inputs a sample, but '{source.id}' has {len(ids)} members"
            )
            raise self.error((*place, "file"), message)
        last = len(x) if source.samples is None else source.first + source.samples
        if source.first >= len(x) or last > len(x):
            key = "first" if source.first >= len(x) else "samples"
            raise self.error(
                (*place, key), f"'{source.file}' has {len(x)} samples, not {max(last, source.first + 1)}"
            )
        x = x[source.first : last]
        period = self.read.steps((*place, "period"), source.period, least=1)
        start = self.read.steps((*place, "start"), source.start, least=1)
        values = self._parameters((*place, "params"), model, source.model, source.params, {}, 1)
        t_ms = model.encode(x, {name: float(value[0]) for name, value in values.items()})
        spikes = np.isfinite(t_ms)
        delay = np.where(spikes, nearest_step(np.where(spikes, t_ms, 0.0), self.read.dt_ns / 1e6), -1)
        if np.any(delay >= period):
            latest = f"{delay.max() * self.read.dt_ns / 1e6:g} ms"
            message = f"a spike comes {latest} after its sample's beginning; period must be longer"
            raise self.error((*place, "period"), message)
        slots = -1 if source.passes is None else source.passes * len(x)
        order = None
        if source.shuffle is not None:
            self.read.drew.add(Use.SHUFFLE)
            order = streams.key(self.read.seed, Use.SHUFFLE, str(source.shuffle))
        for n, member in enumerate(members.tolist()):
            self.shown[member] = Shown(np.ascontiguousarray(delay[:, n]), start, period, slots, order)
        self._keep(place, number, {name: np.repeat(value, len(ids)) for name, value in values.items()})

    def _keep(self, place: Place, number: int, values: Mapping[str, Array]) -> None:
        if contradiction := self.models[number].check(values):
            raise self.error(place, contradiction)
        self._require_constants(place, self.models[number], values)
        for name, value in values.items():
            self._params[number].setdefault(name, []).append(value)

    def _require_constants(self, place: Place, model: type[Node], values: Mapping[str, Array]) -> None:
        """The model can make its constants of them, at this dt."""
        if not issubclass(model, Model) or model.prepare is Model.prepare:
            return
        if word := too_fast(model, values):
            raise self.error(place, word)
        try:
            with np.errstate(all="ignore"):
                constants = model.prepare(values, self.read.dt_ns / 1e6)
        except ValueError as error:
            raise self.error(place, " ".join(str(error).split())) from error
        except Exception as error:
            raise self.error(place, fault_in(model, error)) from error
        for name, made in constants.items():
            for i in np.flatnonzero(~np.isfinite(np.asarray(made, np.float64)).ravel())[:1].tolist():
                given = ", ".join(
                    f"{key} = {value[min(i, len(value) - 1)]:g}" for key, value in values.items()
                )
                message = f"the model's constant {name} is no finite number with {given}"
                raise self.error(place, message)

    def _parameter_columns(self, model: type[Node], model_name: str, csv: CsvTable) -> dict[str, Array]:
        """The columns of a group's CSV that are parameters: those of that name, and all with a unit."""
        found = {}
        for name, unit in csv.units.items():
            if name in model.params():
                param = model.params()[name]
                values = found[name] = csv.numbers(name, param.unit)
                for row in np.flatnonzero([not param.admits(value) for value in values])[:1]:
                    raise csv.error(int(row), out_of_bounds(name, param, values[row]))
            elif unit:
                known = meant(name, model.params())
                raise csv.error(None, f"{model_name} has no parameter '{name}'{known}")
        return found

    def _parameters(
        self, place: Place, model: type[Node], model_name: str,
        given: Mapping[str, Value], columns: Mapping[str, Array], n: int,
    ) -> dict[str, Array]:  # fmt: skip
        """All parameters of the n members entered last: given, from columns, or default; each (n,)."""
        declared = model.params()
        for name in given:
            if name not in declared:
                known = meant(name, declared)
                raise self.error((*place, name), f"{model_name} has no parameter '{name}'{known}")
        values = {}
        for name, param in declared.items():
            if name in columns:
                values[name] = columns[name]
            elif name in given:
                values[name] = self.read.values(
                    (*place, name), given[name], param.unit, Use.PARAMETER, name, self._owners(n)
                )
                for value in (values[name].min(), values[name].max()):
                    if not param.admits(value):
                        hint = "; clip it with min and max" if isinstance(given[name], Distribution) else ""
                        raise self.error((*place, name), out_of_bounds(name, param, value) + hint)
            else:
                values[name] = np.full(n, param.value)
        return values

    def _spike_steps(self, place: Place, source: Spikes, ids: Sequence[str]) -> list[Steps]:
        """For each member the steps at which it fires."""
        if (source.times is None) == (source.file is None):
            raise self.error(place, f"spikes '{source.id}' need one of times, file")
        if source.times is not None:
            steps: set[int] = set()
            for n, time in enumerate(source.times):
                step = self.read.steps((*place, "times", n), time, least=1)
                if step in steps:
                    raise self.error((*place, "times", n), f"'{time}' stands twice")
                steps.add(step)
            return [np.array(sorted(steps), np.int64)] * len(ids)
        assert source.file is not None
        table = self.config.table(source.file)
        at = self.read.on_grid(table, "time_ms", table.numbers("time_ms", ""))
        if "id" not in table.cells and len(ids) == 1:
            whose = np.zeros(len(at), np.int64)
        else:
            place_of = {id: n for n, id in enumerate(ids)}
            names = table.require("id")
            whose = np.array([place_of.get(name, -1) for name in names], np.int64)
            for row in np.flatnonzero(whose < 0)[:1]:
                message = f"'{names[row]}' is none of the sources '{source.id}'{meant(names[row], ids)}"
                raise table.error(int(row), message)
        order = np.lexsort((at, whose))
        at, whose = at[order], whose[order]
        for again in np.flatnonzero((np.diff(at) == 0) & (np.diff(whose) == 0))[:1]:
            raise table.error(int(order[again + 1]), f"'{ids[whose[again]]}' fires twice in the same step")
        return np.split(at, np.searchsorted(whose, np.arange(1, len(ids))))


def out_of_bounds(name: str, param: Param, value: float) -> str:
    return f"{name} = {value:g} {param.unit}".rstrip() + f" is out of bounds; it must be {param.bounds()}"
