"""SONATA, in HDF5: spikes, a membrane report, and what was told exactly as it was told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurobus.log.format import Log, Potentials
from neurobus.log.initial import all_potentials, all_weights

SONATA_POPULATION = "default"
MOST_VALUES = 10_000_000
"""Of a membrane report; its grid is as much coarser than dt as that needs."""


def write(log: Log, out: Path) -> list[Path]:
    """A SONATA spike file (https://github.com/AllenInstitute/sonata), with the ids beside it.

    `/spikes/<population>/node_ids` are neuron indices; `/nodes/<population>/0/id` names them. Potentials are
    a membrane report in `/report/<population>`, on a grid, each value held until the next was told, NaN
    before the first; as they were told they are in `/potentials/<population>`, and weights in
    `/weights/<population>`.
    """
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
        if (told := all_potentials(log)).t.size:
            _report(file.create_group(f"report/{SONATA_POPULATION}"), log, told)
            exact = file.create_group(f"potentials/{SONATA_POPULATION}")
            exact.create_dataset("timestamps", data=told.t / 1e6).attrs["units"] = "ms"
            exact.create_dataset("node_ids", data=told.i.astype(np.uint64))
            exact.create_dataset("data", data=told.v_mv).attrs["units"] = "mV"
        if (weights := all_weights(log)).t.size:
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
