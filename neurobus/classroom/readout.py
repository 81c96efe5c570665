"""From spikes back to answers: the class of the first reader to fire in a slot. Pure.

Of two that fire in the same step the one with the lower address has answered. What fires after LEARN
(a neuron claiming a sample) is no answer.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from neurobus.classroom.lesson import Timing

Ints = npt.NDArray[np.int64]
SILENT = -1


class Readout:
    """Answers of `n_slots` slots. `first[n]` is the reader that answered slot n, SILENT where none did;
    `at[n]` the stamp of its spike, in steps from the slot's begin."""

    def __init__(self, timing: Timing, n_slots: int):
        self.timing = timing
        self.first: Ints = np.full(n_slots, SILENT, np.int64)
        self.at: Ints = np.full(n_slots, np.iinfo(np.int64).max, np.int64)

    def hear(self, reader: int, stamps: Iterable[int]) -> None:
        """Spikes of reader number `reader`."""
        timing = self.timing
        for stamp in stamps:
            slot, at = divmod(stamp - timing.delay - 1, timing.slot)
            if (
                0 <= slot < len(self.first)
                and at < timing.learn_at
                and (at, reader) < (self.at[slot], self.first[slot])
            ):
                self.first[slot], self.at[slot] = reader, at


def answers(first: Ints, class_of: Ints) -> Ints:
    """Readers as classes; SILENT stays."""
    return np.where(first == SILENT, SILENT, class_of[first])


def accuracy(answered: Ints, labels: Ints) -> float:
    """Share of right answers, 0..1; silence is wrong. nan of nothing."""
    return float(np.mean(answered == labels)) if len(labels) else float("nan")


def confusion(answered: Ints, labels: Ints, classes: int) -> Ints:
    """(classes, classes + 1): how often class i was answered with class j; the last column is silence."""
    table = np.zeros((classes, classes + 1), np.int64)
    np.add.at(table, (labels, np.where(answered == SILENT, classes, answered)), 1)
    return table


def majority(first: Ints, labels: Ints, n_readers: int, classes: int) -> Ints:
    """For each reader the class it answered most often for: labels for readers that nobody taught. A
    reader that never fired is SILENT. Use it with training samples only."""
    votes = np.zeros((n_readers, classes), np.int64)
    fired = first != SILENT
    np.add.at(votes, (first[fired], labels[fired]), 1)
    return np.where(votes.any(axis=1), votes.argmax(axis=1), SILENT)
