"""A log's own run once more: what it takes to repeat it under the virtual clock."""

from __future__ import annotations

import numpy as np

from neurobus import config, network
from neurobus.classroom.brain import INITIAL_WEIGHTS, weights_from, with_weights
from neurobus.cluster.options import Options
from neurobus.errors import InputError
from neurobus.log.format import Log, LogEvent
from neurobus.log.recording import JOINED, LISTENED
from neurobus.network.population import Population
from neurobus.network.quantities import Quantities
from neurobus.streams import drawn_otherwise
from neurobus.wire.bus import NEVER


def rerun(log: Log, python_path: list[str]) -> Options:
    """Config, seed, pokes, and the spikes of external sources and recorded neurons, as the log has them;
    models are imported from this process's path, and from `python_path` in the run's.

    Raises InputError where the log does not hold its run from the first spike on, or where what is random in
    it was drawn otherwise.
    """
    header = log.header
    if any(entry.item.verb in (JOINED, LISTENED) for entry in log.events):
        raise InputError(
            "this log begins in the middle of its run, and what came before is not in it; "
            "record with 'neurobus run --record'",
            log.path,
        )
    epochs = [_figure(entry.item, "epoch") for entry in log.events if entry.item.verb == "ready"]
    if epochs and min(epochs) > 0:
        raise InputError("this log is of a run that was resumed, and its first part is not in it", log.path)
    if not header.config_text:
        raise InputError("the config in this log is lost, so it cannot be run again", log.path)
    if log.end_ns < header.dt_ns:
        raise InputError("this log ends before the first step of its run", log.path)
    if log.end_ns // header.dt_ns >= NEVER:
        raise InputError("this log ends later than the longest run can be", log.path)
    read = config.loads(header.config_text, header.config_name, header.files, header.overrides)
    # Looked at before anything is connected: a log of few neurons can carry the config of very many.
    built = network.build(read, header.seed) if _ids(read, header.seed) == header.config_ids else None
    if built is None:
        raise InputError(
            "the config in this log gives other neurons than those recorded; "
            f"it was written by neurobus {header.version}",
            log.path,
        )
    if word := drawn_otherwise(header.streams, built.account.drew):
        raise InputError(f"{word}; it cannot be run again", log.path)
    if (weights := header.files.get(INITIAL_WEIGHTS)) is not None:
        with_weights(built, weights_from(weights))  # said before anything is started
    external = [header.ids[i] for i in np.flatnonzero(built.model_of < 0)]
    at = {id: index for index, id in enumerate(header.ids)}
    return Options(
        config_text=header.config_text,
        config_name=header.config_name,
        files=header.files,
        overrides=header.overrides,
        seed=header.seed,
        clock="virtual",
        replaced={id: log.spikes_t[log.spikes_i == at[id]].tolist() for id in {*external, *header.replaced}},
        stimuli=[
            (max(entry.t_ns, 0), entry.item.neuron, entry.item.weight)
            for entry in log.stimuli
            if entry.item.neuron not in header.guests
        ],
        snapshots=False,
        python_path=python_path,
    )


def late(log: Log) -> int:
    """Inputs that came too late to be applied in their time, as the neurons of the run counted them."""
    return sum(_figure(entry.item, "late") for entry in log.events if entry.item.verb == "final")


def _ids(read: config.Config, seed: int) -> list[str]:
    return Population(Quantities(read, seed)).ids


def _figure(event: LogEvent, name: str) -> int:
    """A count in an event; 0 where there is none."""
    value = event.data.get(name, 0)
    return value if isinstance(value, int) else 0
