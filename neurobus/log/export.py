"""Spikes in other programs' formats: CSV, SONATA (HDF5), NWB."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from neurobus.errors import InputError
from neurobus.log.format import Int64s, Log

SONATA_POPULATION = "default"


def export(log: Log, out: str | Path, format: str | None = None) -> Path:
    """Writes the log's spikes to `out`; `format` is one of `FORMATS`, by default that of the suffix.

    Raises `InputError` for an unknown format, a missing library or a place that cannot be written.
    """
    out = Path(out)
    name = format or SUFFIXES.get(out.suffix.lower(), "")
    if name not in FORMATS:
        raise InputError(f"cannot export as '{format or out.suffix}'; formats: {', '.join(FORMATS)}", out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        FORMATS[name](log, out)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", out) from error
    return out


def _csv(log: Log, out: Path) -> None:
    """Columns time_ms, id."""
    ids = log.header.ids
    _rows(out, ("time_ms", "id"), zip(_decimals(log.spikes_t), (ids[i] for i in log.spikes_i), strict=True))


def weights_csv(log: Log, out: str | Path) -> Path:
    """Writes the recorded weights to `out`: columns time_ms, pre, post, weight (unit of the neuron post), in
    the order of `Weights`. Raises `InputError` for a place that cannot be written."""
    out, ids, told = Path(out), log.header.ids, log.weights
    ends = ([ids[i] for i in column] for column in (told.pre, told.post))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        columns = ("time_ms", "pre", "post", "weight")
        _rows(out, columns, zip(_decimals(told.t), *ends, map(repr, told.weight.tolist()), strict=True))
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", out) from error
    return out


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


def _sonata(log: Log, out: Path) -> None:
    """A SONATA spike file (https://github.com/AllenInstitute/sonata), with the ids beside it.

    `/spikes/<population>/node_ids` are neuron indices; `/nodes/<population>/0/id` names them.
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


def _nwb(log: Log, out: Path) -> None:
    """An NWB file: one unit per neuron, spike times in s of model time."""
    try:
        from pynwb import NWBHDF5IO, NWBFile
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
    with NWBHDF5IO(str(out), "w") as io:
        io.write(file)


FORMATS: dict[str, Callable[[Log, Path], None]] = {"csv": _csv, "sonata": _sonata, "nwb": _nwb}
SUFFIXES = {".csv": "csv", ".h5": "sonata", ".hdf5": "sonata", ".nwb": "nwb"}
