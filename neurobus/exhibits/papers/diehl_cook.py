"""Digits learnt without labels: neurons learn where they fire, compete, and are given labels afterwards.

After Diehl & Cook 2015 (doi:10.3389/fncom.2015.00099), at 8 x 8 pixels and with what a chip can do: one spike
a pixel (latency instead of a Poisson rate), weights of 7 bits, a homeostasis that is the threshold's
dependence on the weights, and neurons recruited by what nobody recognises. Labels come from the training
samples alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from neurobus import config
from neurobus.classroom import course, readout
from neurobus.classroom.course import Choice
from neurobus.exhibits import Exhibit, Lab, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAINED, TESTED, PASSES, SPLIT = 1000, 400, 3, 7


class DiehlCook(Exhibit):
    title = "Digits learnt without labels"
    claim = "Neurons that compete and learn where they fire come to stand for digits nobody told them of."
    source = "Diehl & Cook 2015"
    quick = False
    size_in = (9.6, 5.2)

    def measure(self, lab: Lab) -> list[Row]:
        choice = Choice(passes=PASSES, split=SPLIT, n_train=TRAINED, n_test=TESTED)
        lesson = course.plan(config.load(lab.path("diehl_cook"), lab.changes), choice)
        run = lab.run(
            "diehl_cook", for_ms=lesson.duration_ns / 1e6, keep_state=True, played=lesson.spikes_ns()
        )
        heard = readout.Readout(lesson.room.timing, lesson.n_slots)
        for number, train_ms in enumerate(run.trains_ms("reader")):
            heard.hear(number, np.rint(train_ms * 1e6 / lesson.network.dt_ns).astype(np.int64).tolist())
        outcome = course.result(lesson, heard)
        pixels, readers = len(lesson.room.inputs), len(lesson.room.readers)
        self.W = run.weights("pixel", "reader").reshape(pixels, readers).T
        self.class_of, self.shape = outcome.class_of, lesson.samples.shape
        self.confusion = outcome.confusion
        shown, n = lesson.shown, lesson.n_learnt
        labels = lesson.samples.labels
        blind = np.random.RandomState(1).permutation(readers)
        guessed = readout.answers(heard.first[n:], outcome.class_of[blind])
        return [
            Row.above("held-out digits named right", 100 * outcome.accuracy, 90, "%",
                      "95 % of MNIST with 6400 neurons, 82.9 % with 100"),
            Row.below("the same with the labels shuffled among the neurons",
                      100 * readout.accuracy(guessed, labels[shown[n:]]), 30, "%", "chance is 10 %"),
            Row.above("neurons that stand for a digit", float(np.sum(outcome.class_of >= 0)), 40, "of 50"),
            Row.that("digits that some neuron stands for", len(set(outcome.class_of.tolist()) - {-1}) == 10,
                     str(len(set(outcome.class_of.tolist()) - {-1})), "10"),
        ]  # fmt: skip

    def draw(self, figure: Figure) -> None:
        order = np.argsort(self.class_of, kind="stable")
        columns = 10
        rows = -(-len(order) // columns)
        parts: Any = figure.subfigures(1, 2, width_ratios=(1.25, 1))
        left, right = parts
        axes = left.subplots(rows, columns, squeeze=False).ravel()
        for axis in axes:
            axis.set_axis_off()
        for axis, reader in zip(axes, order.tolist(), strict=False):
            axis.imshow(self.W[reader].reshape(self.shape), cmap="magma", vmin=0, vmax=127)
            axis.set_title(
                str(self.class_of[reader]) if self.class_of[reader] >= 0 else "–", fontsize=7, pad=2
            )
        axis = right.subplots()
        share = self.confusion[:, :-1] / self.confusion.sum(axis=1, keepdims=True)
        axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for i, j in np.argwhere(self.confusion[:, :-1]):
            dark = share[i, j] > 0.5
            axis.text(j, i, str(self.confusion[i, j]), ha="center", va="center", fontsize=7,
                      color="white" if dark else "black")  # fmt: skip
        axis.set_xticks(range(10))
        axis.set_yticks(range(10))
        axis.set_xlabel("label of the neuron that fired first")
        axis.set_ylabel("digit shown")
