"""Graded synapses: the presynaptic potential acts all the time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from neurobus.config.locate import Place
from neurobus.config.schema import Distribution
from neurobus.config.schema import Graded as Table
from neurobus.config.tables import CsvTable
from neurobus.model import Array
from neurobus.network import rules
from neurobus.network.draw import Owners
from neurobus.network.held import TRANSFERS
from neurobus.network.population import Int32s, Steps
from neurobus.network.projection import STRUCTURE, Projections
from neurobus.streams import Use


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


def graded(of: Projections) -> Graded:
    """The [[graded]] synapses of a config, by (pre, post, order in the config)."""
    empty, none = np.empty(0, np.int32), np.empty(0)
    made = [Graded(empty, empty, none, empty, none, none, none)]
    for place, table in of.config.active("graded"):
        made.append(_table(of, place, table, of.label(f"graded {table.csv or f'{table.pre}>{table.post}'}")))
    found = Graded._make(np.concatenate(parts) for parts in zip(*made, strict=True))
    return rules.ordered(found, rules.by_ends(found.pre, found.post))


def _table(of: Projections, place: Place, table: Table, label: str) -> Graded:
    if table.csv:
        of.forbid(place, table, ("pre", "post", *STRUCTURE, "stored"), "does not go with csv")
        csv, sections = of.sections(table)
        pre, post, rows = of.ends(csv, table, ("pre", "post"))
        for row in rows[(pre >= of.who.n_neurons) | (post >= of.who.n_neurons)][:1]:
            raise csv.error(int(row), "a source has no potential; a graded synapse joins two neurons")
        pre, post, rows = of.wanted(pre, post, rows)
        by = of.by_row(post)
        weight, reversal = _strength(of, place, table, label, post, by, csv, rows, sections[rows])
    else:
        of.require(place, table, ("pre", "post"))
        assert table.pre is not None and table.post is not None
        ends = table.pre, table.post
        members = [of.who.named((*place, key), name) for key, name in zip(("pre", "post"), ends, strict=True)]
        pre, post = of.pairs.wanted(place, table, ends, members[0], members[1], label)
        by = of.by_partner(pre, post)
        weight, reversal = _strength(of, place, table, label, post, by)
        if table.stored or table.rule == "assemblies":
            if table.conductance is not None:
                message = "stored patterns give weights of both signs; a conductance has no sign"
                raise of.error((*place, "conductance"), message)
            weight = weight * of.pairs.covariance(place, table, ends, (pre, post))
    threshold, slope = np.zeros(pre.size), np.ones(pre.size)
    for model, mine in of.models(pre):
        unit = model.states()[model.potential].unit
        if table.threshold is not None:
            threshold[mine] = of.read.number((*place, "threshold"), table.threshold, unit)
        if table.slope is not None:
            slope[mine] = of.read.number((*place, "slope"), table.slope, unit)
            if np.any(slope <= 0):
                raise of.error((*place, "slope"), f"slope must be > 0, not '{table.slope}'")
    transfer = np.full(pre.size, TRANSFERS.index(table.transfer), np.int32)
    return Graded(pre, post, weight, transfer, threshold, slope, reversal)


def _strength(of: Projections, place: Place, table: Table, label: str, post: Int32s, by: Owners,
              csv: CsvTable | None = None, rows: Steps | None = None,
              sections: Array | float = 1.0) -> tuple[Array, Array]:  # fmt: skip
    """`weight` and `reversal` of graded synapses on `post`, as in `Graded`; shape (synapses,) each."""
    keys = ("weight", "conductance", "reversal")
    columns = [key for key in keys if csv is not None and of.column(place, table, csv, key)]
    has = {key: getattr(table, key) is not None or key in columns for key in keys}
    if has["weight"] and has["conductance"]:
        message = "give 'weight', a current, or 'conductance' with 'reversal', not both"
        raise of.error((*place, "conductance"), message)
    if has["reversal"] and not has["conductance"]:
        raise of.error((*place, "reversal"), "'reversal' goes with 'conductance'")
    if has["conductance"] and not has["reversal"]:
        message = "'conductance' needs 'reversal', the potential at which no current flows"
        raise of.error((*place, "conductance"), message)
    if not (has["weight"] or has["conductance"]):
        raise of.error(place, "[[graded]] needs 'weight', or 'conductance' and 'reversal'")

    uses = {"weight": Use.WEIGHT, "conductance": Use.CONDUCTANCE, "reversal": Use.REVERSAL}

    def values(key: str, unit: str, times: Array | float = 1.0) -> Array:
        if csv is not None and key in columns:
            return csv.numbers(key, unit)[rows]
        given = getattr(table, key)
        return of.read.values((*place, key), given, unit, uses[key], label, by) * times

    if has["weight"]:
        weight = np.empty(post.size)
        for model, mine in of.models(post):
            weight[mine] = values("weight", model.current_unit, sections)[mine]
        return weight, np.full(post.size, np.nan)
    for model, mine in of.models(post):
        if (model.current_unit, model.states()[model.potential].unit) != ("pA", "mV"):
            owner = of.who.ids[post[mine][0]]
            message = f"'{owner}' has no membrane in mV and pA for a conductance; give 'weight'"
            raise of.error((*place, "conductance"), message)
    ns = values("conductance", "nS", sections)
    for synapse in np.flatnonzero(ns < 0)[:1]:
        message = f"a conductance must be >= 0, not {ns[synapse]:g} nS"
        if csv is not None and rows is not None and "conductance" in columns:
            raise csv.error(int(rows[synapse]), message)
        hint = "; clip it with min and max" if isinstance(table.conductance, Distribution) else ""
        raise of.error((*place, "conductance"), message + hint)
    return ns, values("reversal", "mV")
