"""Reading logs: whole, by window of model time, and cut or damaged ones as far as they can be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neurobus.log.format import (
    CHANNELS,
    EVENTS,
    LONGEST_NS,
    SAMPLES,
    SPIKES,
    STIMULI,
    WEIGHTS,
    Damaged,
    Entry,
    Indices,
    Int64s,
    Log,
    Potentials,
    T,
    Weights,
    joined,
    no_weights,
)  # fmt: skip
from neurobus.log.guests import declared
from neurobus.log.initial import last_samples, last_weights
from neurobus.log.messages import Columns, parse
from neurobus.log.records import MESSAGE, LogFile


def read(path: str | Path, start_ns: int | None = None, end_ns: int | None = None) -> Log:
    """The log at `path`, or its part with start_ns <= t < end_ns of model time.

    A part has in `initial_samples` and `initial_weights` the last before it, with their times.
    A cut or damaged log gives what can be read, with `complete` False and `problems` in words.
    Raises `InputError` where there is no log, or none whose header is whole.
    """
    file = LogFile(Path(path))
    found: dict[str, list[Any]] = {topic: [] for topic in CHANNELS.values()}
    for body in file.messages(start_ns, end_ns):
        topic = file.topics.get(MESSAGE.unpack_from(body)[0])
        try:
            if topic is None:
                raise Damaged("a message of a channel that no log has")
            found[topic].append(parse(topic, body[MESSAGE.size :]))
        except Damaged as error:
            file.problems.append(str(error))
    header, end = declared(file.header(), found[EVENTS]), file.end()
    window = _Window(start_ns, end_ns, len(header.ids), file.problems)
    spikes, _ = window.columns(found[SPIKES])
    samples, initial_samples = window.columns(found[SAMPLES])
    weights, initial_weights = window.weights(found[WEIGHTS])
    stimuli, events = window.entries(found[STIMULI]), window.entries(found[EVENTS])
    known = set(header.ids)
    named = [entry for entry in stimuli if entry.item.neuron in known]
    if len(named) < len(stimuli):
        file.problems.append(f"{len(stimuli) - len(named)} stimuli name a neuron beyond the id table")
    times = [int(part.t[-1]) for part in (spikes, samples, weights) if part.t.size]
    times += [entry.t_ns for entry in (*named, *events)]
    return Log(
        path=file.path, header=header, spikes_t=spikes.t, spikes_i=spikes.i, receipt=spikes.receipt,
        samples=samples, weights=weights, stimuli=named, events=events,
        end_ns=end.end_ns if end else max(times, default=0),
        complete=not file.problems, problems=file.problems,
        recovered=bool(end and end.recovered), initial_samples=initial_samples,
        initial_weights=initial_weights,
    )  # fmt: skip


class _Window:
    """Sorts out what has start_ns <= t < end_ns, and what was told last before that."""

    def __init__(self, start_ns: int | None, end_ns: int | None, n_ids: int, problems: list[str]):
        self.start_ns, self.end_ns, self.n_ids, self.problems = start_ns, end_ns, n_ids, problems

    def columns(self, batches: list[Columns]) -> tuple[Potentials, Potentials]:
        """One table sorted by (t, i), and the last of each neuron before it. Spikes come as potentials
        without values."""
        nothing = np.empty(0, np.int64), np.empty(0, np.uint32), np.empty(0), np.empty(0, np.int64)
        t, i, v, receipt = (np.concatenate(column) for column in zip(nothing, *batches, strict=True))
        chosen = self._known(i)
        order = chosen[np.lexsort((i[chosen], t[chosen]))]
        whole = Potentials(t[order], i[order], v[order] if v.size else v, receipt[order])
        if not v.size:  # spikes
            return whole.only(self._inside(whole.t)), whole.only(slice(0))
        return whole.only(self._inside(whole.t)), last_samples(whole, self.start_ns)

    def weights(self, told: list[Weights]) -> tuple[Weights, Weights]:
        """As one, in the order of `Weights`, and the last of each synapse before it; each process tells those
        of a pair in the order declared."""
        whole = joined([no_weights(), *told])
        part = whole.only(self._known(np.maximum(whole.pre, whole.post)))
        part = part.only(np.lexsort((part.pre, part.post, part.t)))
        return part.only(self._inside(part.t)), last_weights(part, self.start_ns)

    def _known(self, index: Indices) -> Int64s:
        """Which items name a neuron of the table."""
        known = index < self.n_ids
        if not known.all():
            self.problems.append(f"{int((~known).sum())} items name a neuron beyond the id table")
        return np.flatnonzero(known)

    def _inside(self, t: Int64s) -> npt.NDArray[np.bool_]:
        inside = np.ones(t.size, bool)
        if self.start_ns is not None:
            inside &= t >= self.start_ns
        if self.end_ns is not None:
            inside &= t < self.end_ns
        return inside

    def entries(self, entries: list[Entry[T]]) -> list[Entry[T]]:
        low = -LONGEST_NS if self.start_ns is None else self.start_ns
        high = LONGEST_NS + 1 if self.end_ns is None else self.end_ns
        return [entry for entry in entries if low <= entry.t_ns < high]
