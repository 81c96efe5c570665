"""NWB (Neurodata Without Borders)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from neurobus.errors import InputError
from neurobus.log.format import Log
from neurobus.log.initial import all_potentials, all_weights


def write(log: Log, out: Path) -> list[Path]:
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
    if header.ids:  # an empty column has no type
        file.add_unit_column("neuron", "id in the config")
    order = np.argsort(log.spikes_i, kind="stable")
    bounds = np.searchsorted(log.spikes_i[order], np.arange(len(header.ids) + 1))
    seconds = log.spikes_t[order] / 1e9
    for index, id in enumerate(header.ids):
        file.add_unit(spike_times=seconds[bounds[index] : bounds[index + 1]], neuron=id)
    told = all_potentials(log)
    for index in np.unique(told.i):
        mine = told.only(told.i == index)
        file.add_acquisition(TimeSeries(
            name=header.ids[index], data=mine.v_mv, unit="volts", conversion=1e-3, timestamps=mine.t / 1e9,
            description=f"membrane potential of {header.ids[index]} as it was told; it holds until the next",
        ))  # fmt: skip
    if (weights := all_weights(log)).t.size:
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
