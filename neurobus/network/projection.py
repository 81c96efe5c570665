"""What all kinds of connections share: tables by rule and from CSV, who draws by what, units of weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from neurobus.config.locate import Place, meant
from neurobus.config.schema import Electrical, Graded, Structure, Synapses
from neurobus.config.tables import CsvTable
from neurobus.errors import InputError
from neurobus.model import Array, Model
from neurobus.network.draw import Owners
from neurobus.network.pairs import Pairing
from neurobus.network.population import Int32s, Population, Steps

Connections = Synapses | Graded | Electrical
STRUCTURE = tuple(key for key in Structure.__struct_fields__ if key != "when")


class Projections:
    """Reads connection tables of a population. `skipped`: CSV → rows left out by `ignore_unknown`.

    `mine` (N,): the neurons whose inputs are wanted; None: all. They are what they would be in the whole.
    """

    def __init__(self, who: Population, mine: npt.NDArray[np.bool_] | None = None):
        self.who, self.read, self.config, self.error, self.mine = who, who.read, who.config, who.error, mine
        self.pairs = Pairing(who, mine)
        self.skipped: dict[str, int] = {}
        self._count: Counter[str] = Counter()

    def label(self, name: str) -> str:
        """What a projection's random words are drawn by: its name and how many such there were before."""
        self._count[name] += 1
        return f"{name} {self._count[name]}"

    def require(self, place: Place, table: Connections, keys: Sequence[str]) -> None:
        """That a table by rule has what it needs, and nothing that goes with a CSV."""
        for key in keys:
            if getattr(table, key) is None:
                raise self.error(place, f"[[{place[0]}]] needs '{key}' (or csv)")
        self.forbid(place, table, ("columns", "ignore_unknown"), "goes with csv")

    def forbid(self, place: Place, table: Connections, keys: Sequence[str], why: str) -> None:
        for key in keys:
            if getattr(table, key) not in (None, False, {}):
                raise self.error((*place, key), f"'{key}' {why}")

    def by_partner(self, pre: Int32s, post: Int32s) -> Owners:
        """Synapses by rule: each is known by the place of its presynaptic neuron in its group."""
        return Owners(self.who.tag, post, lambda: self.who.place_of[pre])

    def by_row(self, post: Int32s) -> Owners:
        """Synapses from a CSV: each is known by its row among those of its postsynaptic neuron."""

        def nth() -> npt.NDArray[np.int64]:
            order = np.argsort(post, kind="stable")
            number = np.empty(post.size, np.int64)
            number[order] = np.arange(post.size) - np.searchsorted(post[order], post[order])
            return number

        return Owners(self.who.tag, post, nth)

    def wanted(self, pre: Int32s, post: Int32s, rows: Steps) -> tuple[Int32s, Int32s, Steps]:
        """The rows that end on wanted neurons."""
        if self.mine is None:
            return pre, post, rows
        kept = self.mine[post]
        return pre[kept], post[kept], rows[kept]

    def sections(self, table: Connections) -> tuple[CsvTable, Array]:
        """A connection CSV and, for each row, how many times the table's weight or conductance counts."""
        assert table.csv is not None
        csv = self.config.table(table.csv).renamed(table.columns)
        for name in ("sections", "count"):
            if name in csv.cells:
                return csv, csv.numbers(name, "")
        return csv, np.ones(len(csv.lines))

    def ends(self, csv: CsvTable, table: Connections, names: tuple[str, str]) -> tuple[Int32s, Int32s, Steps]:
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

    def models(self, post: Int32s) -> Iterable[tuple[type[Model], npt.NDArray[np.bool_]]]:
        """The postsynaptic models, each with the synapses that end on it."""
        model_of = self.who.model_of[post]
        for number in np.flatnonzero(np.bincount(model_of)).tolist():
            model = self.who.models[number]
            assert issubclass(model, Model)
            yield model, model_of == number

    def column(self, place: Place, table: Connections, csv: CsvTable, key: str) -> bool:
        """Whether a CSV has a column `key`, which then stands nowhere else."""
        if key in csv.cells and getattr(table, key) is not None:
            raise self.error((*place, key), f"{csv.file} has a column {key} already")
        return key in csv.cells

    def missing(self, place: Place, csv: CsvTable, key: str, unit: str) -> InputError:
        message = f"{csv.file} has no column '{key} [{unit}]', so [[{place[0]}]] needs '{key}'"
        return self.error(place, message)
