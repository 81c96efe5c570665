"""Spikes, potentials and weights in other programs' formats: CSV, SONATA (HDF5), NWB."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from neurobus.errors import InputError
from neurobus.log.format import Int64s, Log, Potentials, Weights, joined

SONATA_POPULATION = "default"
MOST_VALUES = 10_000_000
"""Of a membrane report; its grid is as much coarser than dt as that needs."""


def export(log: Log, out: str | Path, format: str | None = None) -> list[Path]:
    """Writes the log to `out`; `format` is one of `FORMATS`, by default that of the suffix. Returns the
    files it has written. A part begins with the potentials and weights told last before it, at their own
    times.

    Raises `InputError` for an unknown format, a missing library, a place that cannot be written, or one that
    holds what no export has.
    """
    out = Path(out)
    name = format or SUFFIXES.get(out.suffix.lower(), "")
    if name not in FORMATS:
        raise InputError(f"cannot export as '{format or out.suffix}'; formats: {', '.join(FORMATS)}", out)
    try:
        require_export(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        return FORMATS[name](log, out)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", out) from error


def require_export(out: Path) -> None:
    """Raises `InputError` where `out` is there and was not written by an export: a log, a config, a
    thesis."""
    if out.is_file():
        with out.open("rb") as file:
            head = file.read(8)
        if head and not head.startswith((b"time_ms,", b"\x89HDF")):
            raise InputError("is there already and is no export, so it is kept; name another file", out)


def _csv(log: Log, out: Path) -> list[Path]:
    """Columns time_ms, id. Potentials and weights, where they were recorded, in files beside it."""
    ids = log.header.ids
    _rows(out, ("time_ms", "id"), zip(_decimals(log.spikes_t), (ids[i] for i in log.spikes_i), strict=True))
    written = [out]
    if (told := _samples(log)).t.size:
        written.append(out.with_suffix(".potentials.csv"))
        rows = zip(_decimals(told.t), (ids[i] for i in told.i), map(repr, told.v_mv.tolist()), strict=True)
        _rows(written[-1], ("time_ms", "id", "potential_mV"), rows)
    if _told_weights(log).t.size:
        written.append(weights_csv(log, out.with_suffix(".weights.csv")))
    return written


def weights_csv(log: Log, out: str | Path) -> Path:
    """Writes the recorded weights to `out`: columns time_ms, pre, post, weight (unit of the neuron post), in
    the order of `Weights`. Raises `InputError` for a place that cannot be written."""
    out, ids, told = Path(out), log.header.ids, _told_weights(log)
    ends = ([ids[i] for i in column] for column in (told.pre, told.post))
    try:
        require_export(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        columns = ("time_ms", "pre", "post", "weight")
        _rows(out, columns, zip(_decimals(told.t), *ends, map(repr, told.weight.tolist()), strict=True))
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", out) from error
    return out


def _samples(log: Log) -> Potentials:
    """What was told last before a part, with the times of that, and what was told in it."""
    held, told = log.held, log.samples
    return Potentials(np.append(held.t, told.t), np.append(held.i, told.i), np.append(held.v_mv, told.v_mv),
                      np.append(held.receipt, told.receipt))  # fmt: skip


def _told_weights(log: Log) -> Weights:
    return joined([log.held_weights, log.weights])


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


def _sonata(log: Log, out: Path) -> list[Path]:
    """A SONATA spike file (https://github.com/AllenInstitute/sonata), with the ids beside it.

    `/spikes/<population>/node_ids` are neuron indices; `/nodes/<population>/0/id` names them. Potentials are
    a membrane report in `/report/<population>`, on a grid, each value held until the next was told, NaN
    before the first; as they were told they are in `/potentials/<population>`, and weights in
    `/weights/<population>`.
    """
    import h5py

    with h5py.File(out, "w") as file:
        file.attrs["magic"], file.attrs["version"] = 0x0A7A, [0, 1]
        spikes = file.create_group(f"spikes/{SONATA_POPULATION}")
        order = h5py.enum_dtype({"none": 0, "by_id": 1, "by_time": 2}, basetype="u1")
        spikes.attrs.create("sorting", 2, dtype=order)
        times = spikes.create_dataset("timestamps", data=log.spikes_t / 1e6)
        times.attrs["units"] = "ms"
        spikes.create_dataset("node_ids", data=log.spikes_i.astype(np.uint64))
        n = len(log.header.ids)
        nodes = file.create_group(f"nodes/{SONATA_POPULATION}")
        nodes.create_dataset("node_id", data=np.arange(n, dtype=np.uint64))
        nodes.create_dataset("node_type_id", data=np.zeros(n, np.int64))
        nodes.create_dataset("node_group_id", data=np.zeros(n, np.uint64))
        nodes.create_dataset("node_group_index", data=np.arange(n, dtype=np.uint64))
        nodes.create_dataset("0/id", data=log.header.ids, dtype=h5py.string_dtype())
        if (told := _samples(log)).t.size:
            _report(file.create_group(f"report/{SONATA_POPULATION}"), log, told)
            exact = file.create_group(f"potentials/{SONATA_POPULATION}")
            exact.create_dataset("timestamps", data=told.t / 1e6).attrs["units"] = "ms"
            exact.create_dataset("node_ids", data=told.i.astype(np.uint64))
            exact.create_dataset("data", data=told.v_mv).attrs["units"] = "mV"
        if (weights := _told_weights(log)).t.size:
            group = file.create_group(f"weights/{SONATA_POPULATION}")
            group.create_dataset("timestamps", data=weights.t / 1e6).attrs["units"] = "ms"
            group.create_dataset("source_node_id", data=weights.pre.astype(np.uint64))
            group.create_dataset("target_node_id", data=weights.post.astype(np.uint64))
            group.create_dataset("syn_weight", data=weights.weight)
    return [out]


def _report(group: Any, log: Log, told: Potentials) -> None:
    """A membrane report: data (times, neurons), and what its columns and rows are."""
    neurons = np.unique(told.i)
    start_ns = int(log.samples.t.min()) if log.samples.t.size else int(told.t.max())
    length = max(log.end_ns - start_ns, log.header.dt_ns)
    step_ns = log.header.dt_ns * max(1, -(-length * neurons.size // (log.header.dt_ns * MOST_VALUES)))
    times = start_ns + np.arange(-(-length // step_ns), dtype=np.int64) * step_ns
    data = np.full((times.size, neurons.size), np.nan, np.float32)
    for column, neuron in enumerate(neurons):
        mine = told.only(told.i == neuron)
        last = np.searchsorted(mine.t, times, side="right") - 1
        data[last >= 0, column] = mine.v_mv[last[last >= 0]]
    group.create_dataset("data", data=data, compression="gzip", compression_opts=1).attrs["units"] = "mV"
    mapping = group.create_group("mapping")
    mapping.create_dataset("node_ids", data=neurons.astype(np.uint64))
    mapping.create_dataset("index_pointers", data=np.arange(neurons.size + 1, dtype=np.uint64))
    mapping.create_dataset("element_ids", data=np.zeros(neurons.size, np.uint64))
    mapping.create_dataset("element_pos", data=np.full(neurons.size, 0.5, np.float32))
    span = [start_ns / 1e6, (start_ns + times.size * step_ns) / 1e6, step_ns / 1e6]
    mapping.create_dataset("time", data=span).attrs["units"] = "ms"


def _nwb(log: Log, out: Path) -> list[Path]:
    """An NWB file: one unit per neuron, spike times in s of model time. Potentials are time series of the
    acquisition, called by their neurons; weights a table in the processing module `learning`."""
    try:
        from pynwb import NWBHDF5IO, NWBFile, TimeSeries
        from pynwb.core import DynamicTable, VectorData
    except ImportError as error:
        raise InputError("NWB needs pynwb: pip install 'neurobus[nwb]'") from error
    header = log.header
    started = datetime.fromtimestamp(header.started_unix_ns / 1e9, UTC)
    file = NWBFile(
        session_description=f"neurobus {header.version}, {header.config_name}, seed {header.seed}",
        identifier=f"{header.config_name} {header.started_unix_ns}",
        session_start_time=started,
        keywords=["simulation"],
    )
    file.add_unit_column("neuron", "id in the config")
    order = np.argsort(log.spikes_i, kind="stable")
    bounds = np.searchsorted(log.spikes_i[order], np.arange(len(header.ids) + 1))
    seconds = log.spikes_t[order] / 1e9
    for index, id in enumerate(header.ids):
        file.add_unit(spike_times=seconds[bounds[index] : bounds[index + 1]], neuron=id)
    told = _samples(log)
    for index in np.unique(told.i):
        mine = told.only(told.i == index)
        file.add_acquisition(TimeSeries(
            name=header.ids[index], data=mine.v_mv, unit="volts", conversion=1e-3, timestamps=mine.t / 1e9,
            description=f"membrane potential of {header.ids[index]} as it was told; it holds until the next",
        ))  # fmt: skip
    if (weights := _told_weights(log)).t.size:
        columns = {
            "time": ("s of model time", weights.t / 1e9),
            "pre": ("id of the presynaptic neuron", [header.ids[i] for i in weights.pre]),
            "post": ("id of the postsynaptic neuron", [header.ids[i] for i in weights.post]),
            "weight": ("in the unit of the postsynaptic neuron", weights.weight),
        }
        module = file.create_processing_module("learning", "weights of synapses that change")
        module.add(DynamicTable(
            name="weights", description="each weight at each time at which it was told",
            columns=[VectorData(name=name, description=what, data=data)
                     for name, (what, data) in columns.items()],
        ))  # fmt: skip
    with NWBHDF5IO(str(out), "w") as io:
        io.write(file)
    return [out]


FORMATS: dict[str, Callable[[Log, Path], list[Path]]] = {"csv": _csv, "sonata": _sonata, "nwb": _nwb}
SUFFIXES = {".csv": "csv", ".h5": "sonata", ".hdf5": "sonata", ".nwb": "nwb"}
