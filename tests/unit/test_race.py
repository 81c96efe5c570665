"""nodes.race under the conductor's rule is the reference in plain integers: answers and weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neurobus import config
from neurobus.classroom import brain, course, readout
from neurobus.classroom.course import Choice, Course
from neurobus.node.interface import NEURON_MASK, STEP_BITS
from neurobus.placement import place
from tests import compete, race
from tests.bench.learning import referred
from tests.helpers import Ensemble

DIGITS = Path(__file__).parents[2] / "configs" / "digits"


def planned(name: str, n_train: int, n_test: int, passes: int = 1, *overrides: str) -> Course:
    read = config.load(DIGITS / name, list(overrides))
    return course.plan(read, Choice(passes=passes, order=4, n_train=n_train, n_test=n_test))


def taught(lesson: Course, neurons_per_process: int = 1, states: list[dict] | None = None,
           to: int | None = None) -> Ensemble:  # fmt: skip
    dt = lesson.network.dt_ns
    at, told = {name: n for n, name in enumerate(lesson.network.ids)}, lesson.spikes_ns()
    times = {at[name]: np.array(ns, np.int64) // dt for name, ns in told.items()}
    network = replace(lesson.network, times=lesson.network.times | times)
    ensemble = Ensemble(network, neurons_per_process, states or ())
    return ensemble.run(to if to is not None else lesson.duration_ns // dt)


def heard(lesson: Course, *ensembles: Ensemble) -> readout.Readout:
    found = readout.Readout(lesson.room.timing, lesson.n_slots)
    for ensemble in ensembles:
        keys = ensemble.emission.keys
        for number, index in enumerate(lesson.room.readers):
            found.hear(number, (keys[keys & NEURON_MASK == index] >> STEP_BITS).tolist())
    return found


def weights(lesson: Course, ensemble: Ensemble, neurons_per_process: int = 1) -> np.ndarray:
    plan, found = place(lesson.network, neurons_per_process), lesson.network.synapses.weight.copy()
    for process, core in zip(plan.processes, ensemble.cores, strict=True):
        if not plan.is_source(process.number):
            synapses, at = plan.weights_in(process.number, core.dump())
            found[synapses] = at
    return brain.picture(brain.with_weights(lesson.network, found), lesson.room.inputs, lesson.room.readers)


def reference(lesson: Course) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return race.run(lesson.samples.levels, lesson.samples.labels, lesson.shown, lesson.n_learnt,
                    len(lesson.room.readers), learn_at=lesson.room.timing.learn_at)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "n_train", "packed"),
    [("thirty.toml", 60, 1), ("thirty.toml", 60, 7), ("hundred.toml", 150, 200)],
)
def test_the_network_is_the_reference(name: str, n_train: int, packed: int) -> None:
    lesson = planned(name, n_train, 20)
    ensemble = taught(lesson, packed)
    W, first, at = reference(lesson)
    found = heard(lesson, ensemble)
    assert np.array_equal(found.first, first)
    assert np.array_equal(np.where(first < 0, -1, found.at), at)
    assert np.array_equal(weights(lesson, ensemble, packed), W)
    assert np.count_nonzero(W.any(axis=1)) > 10, "so few have learnt that the test says little"


HASTY = "classroom.learn_at='17.5 ms'"
"""LEARN comes while many are about to fire: a spike on its way then is no claim of a sample."""


def test_spikes_on_their_way_when_learn_comes_are_no_claims() -> None:
    lesson = planned("thirty.toml", 90, 10, 1, HASTY)
    ensemble = taught(lesson)
    W, first, at = reference(lesson)
    assert np.sum(at[: lesson.n_learnt] > lesson.room.timing.learn_at - race.DELAY) > 5
    assert np.array_equal(heard(lesson, ensemble).first, first)
    assert np.array_equal(weights(lesson, ensemble), W)


@pytest.mark.parametrize("overrides", [(), (HASTY,)])
def test_nobody_taught_it_and_it_is_the_reference(overrides: tuple[str, ...]) -> None:
    lesson = planned("unsupervised.toml", 120, 30, 1, *overrides)
    ensemble = taught(lesson, 20)
    W, first = compete.run(lesson.samples.levels, lesson.shown, lesson.n_learnt, len(lesson.room.readers),
                           lesson.room.timing.learn_at)  # fmt: skip
    found = heard(lesson, ensemble)
    assert np.array_equal(found.first, first)
    assert np.array_equal(weights(lesson, ensemble, 20), W)
    assert np.count_nonzero(W.any(axis=1)) > 20


@pytest.mark.parametrize(
    ("config_name", "split", "seeds", "mean", "least"),
    [
        ("thirty.toml", True, (100, 101, 102), 95.5, 94.0),
        ("thirty.toml", False, (1, 2, 3), 93.0, 91.0),
        ("hundred.toml", True, (100, 101), 96.5, 95.5),
        ("unsupervised.toml", True, (100, 101), 90.0, 88.0),
    ],
)
def test_they_learn_to_read(
    config_name: str, split: bool, seeds: tuple[int, ...], mean: float, least: float
) -> None:
    """A short version of `make train-report`, by the references that the networks above equal."""
    found = []
    for seed in seeds:
        choice = Choice(passes=3, split=seed if split else None, order=1 if split else seed, n_train=1000)
        lesson, answers, _ = referred(config_name, choice)
        found.append(100 * course.result(lesson, answers).accuracy)
    assert np.mean(found) >= mean and min(found) >= least, found


def test_stopped_anywhere_and_resumed_it_is_the_same() -> None:
    lesson = planned("thirty.toml", 24, 4)
    W, first, _ = reference(lesson)
    for step in (1000, 256 * 9 + 203, 256 * 13 + 140):
        begun = taught(lesson, to=step)
        resumed = taught(lesson, states=begun.states())
        assert np.array_equal(weights(lesson, resumed), W)
        assert np.array_equal(heard(lesson, begun, resumed).first, first)


def test_a_lesson_costs_few_duties() -> None:
    lesson = planned("thirty.toml", 40, 0)
    ensemble = taught(lesson)
    assert ensemble.schedule.rounds < 12 * lesson.n_slots


def test_a_hot_pixel_saturates_and_harms_nobody() -> None:
    """All inputs at their highest level: V and the threshold come to 65535 and no further."""
    lesson = planned("thirty.toml", 20, 0)
    samples = replace(lesson.samples, levels=np.full_like(lesson.samples.levels, 16))
    lesson.samples = samples
    ensemble = taught(lesson)
    W, first, _ = reference(lesson)
    assert np.array_equal(weights(lesson, ensemble), W)
    assert np.array_equal(heard(lesson, ensemble).first, first)
    assert W.max() == 127
