"""From accepted bus events to log messages: batching. Sans-IO: the time is an argument."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neurobus.events import Samples, Spikes, Stimulus
from neurobus.log.format import LogEvent
from neurobus.wire import message, verbs
from neurobus.wire.bus import Event, Malformed
from neurobus.wire.message import Report

if TYPE_CHECKING:
    from neurobus.events import Numbers
    from neurobus.log.writer import LogWriter

BATCH = 100
"""Items of a message. What arrives as at least half of that is written as it came."""
HOLD_NS = 50_000_000
"""How long an item may wait for others: no more than this is lost when the recorder is killed."""


class Collector:
    """Takes events in the order of receipt and writes them to `log`, spikes and samples in batches.

    `ids`: the id table, in index order; who is started by hand later stands behind it, in this log alone.
    Times of receipt are Unix ns. What names a neuron outside the table is counted in `unknown`, by stream.
    Any call may raise the log's `LogError`, once.
    """

    def __init__(self, log: LogWriter, ids: Sequence[str]):
        self.log = log
        self.spikes = self.samples = self.weights = self.stimuli = self.events = 0
        self.unknown: Counter[str] = Counter()
        self.t_ns = 0
        """The latest model time seen."""
        self._weighed: dict[str, int] = {}
        self._index = {name: index for index, name in enumerate(ids)}
        self._n_wire = len(ids)
        self._spikes, self._samples = _Batch(log.spikes), _Batch(log.samples)

    def take(self, event: Event, receipt_ns: int) -> None:
        """One accepted event. Its arrays are used as they are, and must not change afterwards."""
        if isinstance(event, Spikes):
            if (index := self._indices(event)) is not None:
                self.spikes += len(index)
                self._spikes.add(receipt_ns, event.t_ns, index)
        elif isinstance(event, Samples):
            if (index := self._indices(event)) is not None:
                self.samples += len(index)
                self._samples.add(receipt_ns, event.t_ns, index, event.v_mv)
        elif isinstance(event, Stimulus):
            self.stimuli += 1
            self.log.stimulus(event, receipt_ns)
        elif isinstance(event, Report):
            self._report(event.origin, event.message, receipt_ns)

    def note(self, event: LogEvent, receipt_ns: int, t_ns: int | None = None) -> None:
        """An event, at the latest model time seen or at its own."""
        self.events += 1
        self.log.event(event, self.t_ns if t_ns is None else t_ns, receipt_ns)

    def _report(self, origin: str, said: message.ReportMessage, receipt_ns: int) -> None:
        if isinstance(said, verbs.RecordedWeights):
            self._take_weights(origin, said, receipt_ns)
            return
        self.note(LogEvent(origin, said.verb, message.fields(said)), receipt_ns)
        if isinstance(said, verbs.Ready) and said.guest is not None:
            at = self.log.declare(origin, said.guest, self.t_ns, receipt_ns)
            if at is not None:
                self._index[origin] = at

    def _take_weights(self, origin: str, told: verbs.RecordedWeights, receipt_ns: int) -> None:
        """Weights of a process at a time of its own. One restarted may tell again what it had told."""
        t_ns, columns = told.t_ns, (told.pre, told.post, told.weight)
        if not 2 * len(columns[0]) == 2 * len(columns[1]) == len(columns[2]) or len(columns[2]) % 8:
            raise Malformed("columns of weights differ in length")
        if t_ns <= self._weighed.get(origin, -1):
            return
        if origin not in self._weighed and len(self._weighed) >= len(self._index):
            raise Malformed("weights of more processes than there are neurons")
        self._weighed[origin] = t_ns
        self.t_ns = max(self.t_ns, t_ns)
        pre, post, weight = (np.frombuffer(column, dtype) for column, dtype in
                             zip(columns, ("<u4", "<u4", "<f8"), strict=True))  # fmt: skip
        if weight.size and max(pre.max(), post.max()) >= self._n_wire:
            self.unknown[origin] += weight.size
            return
        self.weights += weight.size
        self.log.weights(t_ns, pre, post, weight, receipt_ns)

    def due_ns(self) -> int | None:
        """When `tick` must be called at the latest, or None while nothing waits."""
        waiting = [batch.receipt[0] for batch in (self._spikes, self._samples) if batch.receipt]
        return min(waiting) + HOLD_NS if waiting else None

    def tick(self, now_ns: int) -> None:
        """Writes what has waited long enough."""
        for batch in (self._spikes, self._samples):
            if batch.receipt and now_ns >= batch.receipt[0] + HOLD_NS:
                batch.flush()

    def flush(self) -> None:
        """Writes all that waits. Call before the log is closed."""
        self._spikes.flush()
        self._samples.flush()

    def _indices(self, event: Spikes | Samples) -> Numbers | None:
        """The neuron index of each item, or None where there is nothing to record."""
        n = len(event.t_ns)
        if n == 0:
            return None
        self.t_ns = max(self.t_ns, int(event.t_ns[-1]))
        if event.neurons is None:
            index = self._index.get(event.stream)
            if index is not None:
                return [index] * n
        elif len(event.neurons) == n and self._known(event.neurons):
            return event.neurons
        self.unknown[event.stream] += n
        return None

    def _known(self, index: Numbers) -> bool:
        return bool(np.min(index) >= 0 and np.max(index) < self._n_wire)


class _Batch:
    """Columns that wait to become one message."""

    def __init__(self, write: Callable[..., None]):
        self.receipt: list[int] = []
        self._write = write
        self._columns: list[list[Any]] = [[], [], []]

    def add(self, receipt_ns: int, *columns: Numbers) -> None:
        n = len(columns[0])
        if n >= BATCH // 2:
            self._write(*columns, receipt_ns)
            return
        for waiting, new in zip(self._columns, columns, strict=False):
            waiting.extend(new)
        self.receipt.extend([receipt_ns] * n)
        if len(self.receipt) >= BATCH or receipt_ns >= self.receipt[0] + HOLD_NS:
            self.flush()

    def flush(self) -> None:
        if not self.receipt:
            return
        columns, receipt = [column for column in self._columns if column], self.receipt
        self._columns, self.receipt = [[], [], []], []
        offsets_us = (np.array(receipt) - receipt[0]).clip(0) // 1000
        self._write(*columns, receipt[0], offsets_us if offsets_us.any() else None)
