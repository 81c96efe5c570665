"""Gap junctions: which two neurons, and with what conductance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from neurobus.config.locate import Place
from neurobus.config.schema import Electrical as Table
from neurobus.config.schema import Plain
from neurobus.errors import InputError
from neurobus.model import Array
from neurobus.network.population import Int32s
from neurobus.network.projection import STRUCTURE, Projections


class Junctions(NamedTuple):
    """One element each per junction: it acts both ways, with `ns` nS."""

    a: Int32s
    b: Int32s
    ns: Array

    def only(self, wanted: npt.NDArray[np.bool_]) -> Junctions:
        return Junctions._make(part[wanted] for part in self)


class Listed(NamedTuple):
    """The junctions of one table, and what makes an error of the nth of them."""

    place: Place
    made: Junctions
    error: Callable[[int, str], InputError]


Made = tuple[Junctions, Callable[[int, str], InputError]]


def electrical(of: Projections) -> tuple[Junctions, list[tuple[Place, int]]]:
    """The junctions of a config, and place and number of junctions of each [[electrical]], in order."""
    found = [
        Listed(place, *(_listed if table.csv else _by_rule)(of, place, table))
        for place, table in of.config.active("electrical")
    ]
    tables = [(one.place, one.made.a.size) for one in found]
    if not found:
        return Junctions(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0)), tables
    made = Junctions._make(np.concatenate(parts) for parts in zip(*(one.made for one in found), strict=True))
    _require_once(of, found, made)
    return (made if of.mine is None else made.only(of.mine[made.a] | of.mine[made.b])), tables


def _require_once(of: Projections, found: list[Listed], made: Junctions) -> None:
    """That no junction is listed twice, in either direction."""
    a, b = made.a, made.b
    pair = np.minimum(a, b).astype(np.int64) << 32 | np.maximum(a, b)
    order = np.argsort(pair, kind="stable")
    again = np.flatnonzero(pair[order[1:]] == pair[order[:-1]])
    if not again.size:
        return
    begins = np.cumsum([0, *(one.made.a.size for one in found)])

    def error(junction: int, message: str) -> InputError:
        table = int(np.searchsorted(begins, junction, side="right")) - 1
        return found[table].error(junction - int(begins[table]), message)

    second = min(order[again + 1].tolist())
    first = int(np.flatnonzero(pair == pair[second])[0])
    other = error(first, "")
    where = f"line {other.line} of {Path(other.file).name}" if other.file else f"line {other.line}"
    ends = f"'{of.who.ids[a[second]]}' and '{of.who.ids[b[second]]}'"
    message = f"{ends} have a junction already, by {where}; it acts both ways"
    raise error(second, f"{message}, so list it once, with the sum")


def _by_rule(of: Projections, place: Place, table: Table) -> Made:
    of.require(place, table, ("a", "b", "conductance"))
    assert table.a is not None and table.b is not None and table.conductance is not None
    a, b = of.who.named((*place, "a"), table.a), of.who.named((*place, "b"), table.b)
    if table.rule is None:
        for key, name, members in (("a", table.a, a), ("b", table.b, b)):
            if members.size > 1:
                message = f"'{name}' is a group; a junction joins two neurons, so [[electrical]] needs 'rule'"
                raise of.error((*place, key), message)
    if table.rule in ("fixed_indegree", "layered", "assemblies"):
        raise of.error((*place, "rule"), f"{table.rule} has a direction, and a junction has none")
    for key in ("allow_self", "directed"):
        if getattr(table, key):
            raise of.error((*place, key), f"'{key}' does not go with [[electrical]]")
    label = of.label(f"electrical {table.a}-{table.b}")
    # All are drawn, also where few are wanted: those of one neuron are drawn by its partners too.
    of.pairs.check_keys(place, table)
    a, b = of.pairs.all(place, table, (table.a, table.b), a, b, b, label)
    if np.any(a == b):
        raise of.error((*place, "b"), f"'{table.b}' cannot have a junction with itself")
    if table.a == table.b:
        once = a < b
        a, b = a[once], b[once]
    ns = np.full(a.size, _conductance(of, place, table.conductance))
    return Junctions(a, b, ns), lambda _, message: of.error(place, message)


def _listed(of: Projections, place: Place, table: Table) -> Made:
    of.forbid(place, table, ("a", "b", *STRUCTURE), "does not go with csv")
    csv, sections = of.sections(table)
    a, b, rows = of.ends(csv, table, ("a", "b"))
    for row in rows[(a >= of.who.n_neurons) | (b >= of.who.n_neurons)][:1]:
        raise csv.error(int(row), "a source has no membrane; a junction joins two neurons")
    for row in rows[a == b][:1]:
        raise csv.error(int(row), f"'{csv.cells['a'][row]}' cannot have a junction with itself")
    if of.column(place, table, csv, "conductance"):
        ns = csv.numbers("conductance", "nS")
    elif table.conductance is None:
        raise of.missing(place, csv, "conductance", "nS")
    else:
        ns = _conductance(of, place, table.conductance) * sections
    for row in np.flatnonzero(ns <= 0)[:1]:
        raise csv.error(int(row), f"a conductance must be > 0, not {ns[row]:g} nS")
    return Junctions(a, b, ns[rows]), lambda n, message: csv.error(int(rows[n]), message)


def _conductance(of: Projections, place: Place, written: Plain) -> float:
    ns = of.read.number((*place, "conductance"), written, "nS")
    if ns <= 0:
        raise of.error((*place, "conductance"), f"conductance must be > 0 nS, not '{written}'")
    return ns
