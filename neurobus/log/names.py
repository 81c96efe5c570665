"""Parts of a log, by the names of neurons."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from neurobus.log.format import Header, Log, Potentials, Weights
from neurobus.names import pick


def select(header: Header, names: Iterable[str]) -> npt.NDArray[np.bool_]:
    """Which neurons `names` mean, shape (len(ids),). Raises `InputError` for a name that means none."""
    chosen = np.zeros(len(header.ids), bool)
    chosen[pick(names, header.ids, header.groups, "this log")] = True
    return chosen


def only(log: Log, names: Iterable[str]) -> Log:
    """The log as if it had only those neurons: ids, groups, spikes, potentials, weights and stimuli.

    Raises `InputError` for a name that means none.
    """
    header = log.header
    chosen = select(header, names)
    new = np.cumsum(chosen) - 1
    groups = {name: [int(new[i]) for i in members if chosen[i]] for name, members in header.groups.items()}
    ids = [id for id, kept in zip(header.ids, chosen, strict=True) if kept]
    n_neurons = None if header.n_neurons is None else int(chosen[: header.n_neurons].sum())
    guests = {id: neuron for id, neuron in header.guests.items() if id in ids}
    spikes = chosen[log.spikes_i]

    def samples_of(samples: Potentials) -> Potentials:
        kept = samples.only(chosen[samples.i])
        return replace(kept, i=new[kept.i].astype(np.uint32))

    def weights_of(weights: Weights) -> Weights:
        kept = weights.only(chosen[weights.pre] & chosen[weights.post])
        return replace(kept, pre=new[kept.pre].astype(np.uint32), post=new[kept.post].astype(np.uint32))

    return replace(
        log,
        header=replace(
            header, ids=ids, n_neurons=n_neurons, groups={k: v for k, v in groups.items() if v}, guests=guests
        ),
        spikes_t=log.spikes_t[spikes], spikes_i=new[log.spikes_i[spikes]].astype(np.uint32),
        receipt=log.receipt[spikes],
        samples=samples_of(log.samples), initial_samples=samples_of(log.initial_samples),
        weights=weights_of(log.weights), initial_weights=weights_of(log.initial_weights),
        stimuli=[entry for entry in log.stimuli if entry.item.neuron in ids],
    )  # fmt: skip
