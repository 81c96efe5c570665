"""CSV: spikes, and in files beside them potentials and weights. Times are exact decimals."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from neurobus.log.format import Int64s, Log
from neurobus.log.initial import all_potentials, all_weights


def write(log: Log, out: Path) -> list[Path]:
    """Columns time_ms, id. Potentials and weights, where they were recorded, in files beside it."""
    ids = log.header.ids
    _rows(out, ("time_ms", "id"), zip(_decimals(log.spikes_t), (ids[i] for i in log.spikes_i), strict=True))
    written = [out]
    if (told := all_potentials(log)).t.size:
        written.append(out.with_suffix(".potentials.csv"))
        rows = zip(_decimals(told.t), (ids[i] for i in told.i), map(repr, told.v_mv.tolist()), strict=True)
        _rows(written[-1], ("time_ms", "id", "potential_mV"), rows)
    if all_weights(log).t.size:
        written.append(out.with_suffix(".weights.csv"))
        write_weights(log, written[-1])
    return written


def write_weights(log: Log, out: Path) -> None:
    """Columns time_ms, pre, post, weight (unit of the neuron post), in the order of `Weights`."""
    ids, told = log.header.ids, all_weights(log)
    ends = ([ids[i] for i in column] for column in (told.pre, told.post))
    columns = ("time_ms", "pre", "post", "weight")
    _rows(out, columns, zip(_decimals(told.t), *ends, map(repr, told.weight.tolist()), strict=True))


def _decimals(t_ns: Int64s) -> list[str]:
    """Times in ms, exact decimals of the nanoseconds."""
    instants, where = np.unique(t_ns, return_inverse=True)
    text = [f"{t // 1_000_000}.{t % 1_000_000:06d}".rstrip("0").removesuffix(".") for t in instants.tolist()]
    return [text[k] for k in where]


def _rows(out: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with out.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
