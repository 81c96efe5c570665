"""What holds at the begin of a part: potentials and weights are told when they change, and last till then."""

from __future__ import annotations

import numpy as np

from neurobus.log.format import Log, Potentials, Weights, joined


def last_samples(samples: Potentials, before_ns: int | None) -> Potentials:
    """The last sample of each neuron before a time, by neuron; nothing is before None."""
    early = samples.only(samples.t < before_ns) if before_ns is not None else samples.only(slice(0))
    order = np.lexsort((early.t, early.i))
    ends = np.append(early.i[order][1:] != early.i[order][:-1], True)[: order.size]
    return early.only(order[ends])


def last_weights(weights: Weights, before_ns: int | None) -> Weights:
    """The last weights before a time, of the synapses of each neuron: they are told together."""
    early = weights.only(weights.t < before_ns) if before_ns is not None else weights.only(slice(0))
    if not early.t.size:
        return early
    latest = np.full(int(early.post.max()) + 1, -1, np.int64)
    np.maximum.at(latest, early.post, early.t)
    last = early.only(early.t == latest[early.post])
    return last.only(np.lexsort((last.pre, last.post)))


def all_potentials(log: Log) -> Potentials:
    """What was told last before a part, with the times of that, and what was told in it."""
    return log.initial_samples.followed_by(log.samples)


def all_weights(log: Log) -> Weights:
    """Likewise."""
    return joined([log.initial_weights, log.weights])
