"""A whole course: config, data and order, made into a run; and what the run came to. No clock, no socket."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neurobus import config as configs
from neurobus import network as networks
from neurobus.classroom import data, lesson, readout
from neurobus.classroom.brain import Brain, with_weights
from neurobus.classroom.data import Labels, Samples
from neurobus.classroom.lesson import Room
from neurobus.classroom.readout import SILENT, Ints, Readout
from neurobus.config import Config
from neurobus.errors import InputError
from neurobus.model import Array
from neurobus.network import Network

LESSON = "lesson.json"


@dataclass
class Choice:
    """What a person chose; kept beside the snapshots, so that a stopped course can be resumed.

    `n_train`, `n_test`: how many samples are taught and held out (None: all). `weights_from`: the brain it
    began with, for the record.
    """

    data: str = data.DIGITS
    passes: int = 3
    order: int = 1
    split: int | None = None
    n_train: int | None = None
    n_test: int | None = None
    weights_from: str | None = None
    out: str | None = None

    def write(self, folder: Path) -> None:
        (folder / LESSON).write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> Choice:
        return cls(**json.loads((folder / LESSON).read_text()))


@dataclass
class Course:
    """`shown[n]` is the sample of slot n; the first `n_learnt` are learnt from, the rest are held out."""

    choice: Choice
    config: Config
    network: Network
    room: Room
    samples: Samples
    shown: Labels
    n_learnt: int
    notes: list[str] = field(default_factory=list)

    @property
    def n_slots(self) -> int:
        return len(self.shown)

    @property
    def duration_ns(self) -> int:
        """Model time of all slots, and of what is under way at the end of the last."""
        timing = self.room.timing
        return (self.n_slots * timing.slot + 2 * timing.delay) * self.network.dt_ns

    def spikes_ns(self) -> dict[str, list[int]]:
        """Source id → when it fires."""
        times = lesson.spikes(self.room, self.samples, self.shown, self.n_learnt)
        ids, dt = self.network.ids, self.network.dt_ns
        return {ids[source]: (steps * dt).tolist() for source, steps in times.items()}

    def labels(self) -> Labels:
        return self.samples.labels[self.shown]


def plan(config: Config, choice: Choice, seed: int | None = None, brain: Brain | None = None) -> Course:
    """Read the data, fit the config to it, lay out the timetable. Raises InputError."""
    if config.classroom is None:
        raise InputError("has no [classroom], so there is nobody to teach; see configs/digits/thirty.toml",
                         config.path)  # fmt: skip
    samples = data.read(choice.data, config.classroom.levels, choice.split, choice.n_train)
    notes, path = [], config.path
    if changes := lesson.config_for(config, samples):
        config = configs.loads(config.text, str(config.path or "config.toml"), config.files,
                               [*config.overrides, *changes])  # fmt: skip
        config.path = path
        notes.append(f"the data has {samples.n_inputs} values and {len(samples.names)} classes: "
                     + " ".join(f"--set {change}" for change in changes))  # fmt: skip
    network = networks.build(config, seed)
    if brain is not None:
        network = with_weights(network, brain.weights)
    room = lesson.room(network)
    taught = lesson.order(samples, choice.passes, choice.order)
    test = samples.test if choice.n_test is None else samples.test[: choice.n_test]
    shown = np.concatenate([taught, test]).astype(np.int64)
    if not len(shown):
        raise InputError("nothing to show: --passes 0 and no sample held out")
    return Course(choice, config, network, room, samples, shown, len(taught), notes)


@dataclass
class Result:
    """What a course came to. Shares are 0..1, nan where nothing of the kind was shown. `class_of` (readers,);
    `confusion` (classes, classes + 1) of the held-out samples."""

    accuracy: float
    train_accuracy: float
    class_of: Ints
    confusion: Ints
    silent: int


def classes_of(course: Course, heard: Readout) -> Ints:
    """What each reader stands for: its address says so where it had a teacher, else its votes in the last
    pass over the training samples do. No held-out sample has a say."""
    room = course.room
    if room.teachers:
        return np.arange(len(room.readers)) % room.classes
    last = slice(max(0, course.n_learnt - len(course.samples.train)), course.n_learnt)
    return readout.majority(heard.first[last], course.labels()[last], len(room.readers), room.classes)


def result(course: Course, heard: Readout) -> Result:
    """Figures of a course that has been run to its end.

    `train_accuracy` is that of the last pass: each sample's answer before it was learnt from once more.
    """
    class_of, labels, n = classes_of(course, heard), course.labels(), course.n_learnt
    answered = readout.answers(heard.first, class_of)
    last = slice(max(0, n - len(course.samples.train)), n)
    return Result(
        readout.accuracy(answered[n:], labels[n:]),
        readout.accuracy(answered[last], labels[last]),
        class_of,
        readout.confusion(answered[n:], labels[n:], course.room.classes),
        int(np.sum(answered[n:] == SILENT)),
    )


def running(course: Course, heard: Readout, done: int, of_last: int = 100) -> float:
    """Share of right answers among the last few slots that are done; nan before the first."""
    first = max(0, done - of_last)
    answered = readout.answers(heard.first[first:done], classes_of(course, heard))
    return readout.accuracy(answered, course.labels()[first:done])


def brain_of(course: Course, weights: Array, facts: dict[str, Any]) -> Brain:
    """What was learnt, as a file's content. `weights` in the network's order."""
    config, choice = course.config, course.choice
    origin = {
        "data": course.samples.origin, "passes": choice.passes, "order": choice.order, "split": choice.split,
        "train": len(course.samples.train), "learnt": course.n_learnt, "began_with": choice.weights_from,
        "names": course.samples.names, "shape": list(course.samples.shape),
        "readers": [course.network.ids[i] for i in course.room.readers],
        "inputs": [course.network.ids[i] for i in course.room.inputs],
    }  # fmt: skip
    return Brain(
        config.path.name if config.path else "config.toml",
        config.text,
        dict(config.files),
        list(config.overrides),
        course.network.seed,
        weights,
        {**origin, **facts},
    )
