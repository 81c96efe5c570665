"""Samples, timetable, answers, brains: the pure parts of `neurobus train`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neurobus import config, network
from neurobus.classroom import brain, course, data, lesson, pictures, readout
from neurobus.classroom.course import Choice
from neurobus.classroom.readout import SILENT, Readout
from neurobus.errors import InputError

ROOT = Path(__file__).parents[2]
THIRTY = ROOT / "configs" / "digits" / "thirty.toml"
TIMING = lesson.Timing(slot=256, start=8, level=8, learn_at=200, delay=8, top=16)


# -- samples ------------------------------------------------------------------------------------------


def npz(folder: Path, **arrays: object) -> str:
    file = folder / "samples.npz"
    np.savez(file, **{name: np.asarray(value) for name, value in arrays.items()})  # type: ignore[arg-type]
    return str(file)


def test_digits_in_order_hold_out_other_writers():
    samples = data.read("digits", 16)
    assert samples.levels.shape == (1797, 64) and samples.shape == (8, 8) and samples.levels.max() == 16
    assert samples.train.tolist() == list(range(1000)) and samples.test[0] == 1000
    shuffled = data.read("digits", 16, split=3, n_train=600)
    assert len(shuffled.train) == 600 and len(shuffled.test) == 1197
    assert set(shuffled.train.tolist()).isdisjoint(shuffled.test.tolist())
    assert samples.origin != data.read("digits", 8).origin


def test_values_become_levels_up_to_the_largest_trained_on(tmp_path):
    X = np.array([[0.0, 0.5], [1.0, 0.25], [0.0, 2.0], [0.1, 0.0]])
    samples = data.read(npz(tmp_path, X=X[:2], y=[0, 1], X_test=X[2:], y_test=[1, 0]), 16)
    assert samples.levels.tolist() == [[0, 8], [16, 4], [0, 16], [2, 0]]
    assert samples.train.tolist() == [0, 1] and samples.test.tolist() == [2, 3]
    assert samples.shape == (1, 2)


def test_classes_have_names_and_csv_has_a_column_of_them(tmp_path):
    file = tmp_path / "iris.csv"
    rows = "\n".join(f"{k % 7},{k % 5},{'rose' if k % 2 else 'fern'}" for k in range(30))
    file.write_text(f"a,b,label\n{rows}\n")
    samples = data.read(str(file), 16)
    assert samples.names == ["fern", "rose"] and samples.n_inputs == 2
    assert len(samples.train) == 20 and len(samples.test) == 10


BAD = [
    ({"X": [[1.0, np.nan]] * 3, "y": [0, 1, 0]}, "value 1 of sample 0 is NaN"),
    ({"X": [[1.0, np.inf]] * 3, "y": [0, 1, 0]}, "infinite"),
    ({"X": [[1.0, -2.0]] * 3, "y": [0, 1, 0]}, "is -2"),
    ({"X": [[0.0, 0.0]] * 3, "y": [0, 1, 0]}, "all values are 0"),
    ({"X": [[1.0, 2.0]] * 3, "y": [0, 2, 0]}, "no sample of class 1"),
    ({"X": [[1.0, 2.0]] * 3, "y": [0, -1, 0]}, "class -1 is negative"),
    ({"X": [[1.0, 2.0]] * 3, "y": [1, 1, 1]}, "one class only"),
    ({"X": [[1.0, 2.0]] * 3, "y": [0, 1]}, "one class each"),
    ({"X": [1.0, 2.0, 3.0], "y": [0, 1, 0]}, "samples × values"),
    ({"X": [["a", "b"]] * 3, "y": [0, 1, 0]}, "must hold numbers"),
    ({"X": [[1.0, 2.0]] * 3, "y": [0.5, 1, 0]}, "whole numbers or names"),
    ({"X": [[1.0, 2.0]] * 3}, "no array 'y'"),
    (
        {"X": [[1.0]] * 3, "y": [0, 1, 0], "X_test": [[1.0, 2.0]], "y_test": [0]},
        "X_test has samples of shape",
    ),
    ({"X": [[1.0]] * 3, "y": [0, 1, 0], "X_test": [[1.0]], "y_test": [7]}, "which y has not"),
    ({"X": [[1.0]] * 3, "y": [0, 1, 0], "X_test": [[1.0]]}, "go together"),
]


@pytest.mark.parametrize(("arrays", "word"), BAD)
def test_arrays_that_cannot_be_are_one_clear_line(tmp_path, arrays, word):
    with pytest.raises(InputError) as caught:
        data.read(npz(tmp_path, **arrays), 16)
    line = str(caught.value)
    assert word in line and "samples.npz" in line and "\n" not in line


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("a,b\n1,2\n", 1, "one of them label"),
        ("a,label\n1,x\n2\n", 3, "1 cells, but the header has 2"),
        ("a,label\n1,x\nq,y\n", 3, "a 'q' is not a number"),
        ("a,label\n1,x\nnan,y\n", 3, "not a finite number"),
        ("a,label\n1,\n", 2, "no class"),
    ],
)
def test_a_csv_names_the_line(tmp_path, text, line, word):
    file = tmp_path / "samples.csv"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        data.read(str(file), 16)
    assert f"samples.csv:{line}:" in str(caught.value) and word in str(caught.value)


def test_files_that_are_no_data(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"not a zip")
    for name, word in (("a.npz", "no NPZ"), ("b.npz", "cannot be read"), ("b.csv", "cannot be read")):
        with pytest.raises(InputError, match=word):
            data.read(str(tmp_path / name), 16)
    with pytest.raises(InputError, match="leaves none to test"):
        data.read("digits", 16, n_train=1797)


# -- the timetable ------------------------------------------------------------------------------------


def test_latency_and_rank_code():
    x = np.array([[0, 16, 1, 8], [0, 8, 4, 4]], np.uint8)
    assert lesson.encode(x, TIMING).tolist() == [[-1, 0, 120, 64], [-1, 64, 96, 96]]
    rank = lesson.Timing(256, 8, 8, 200, 8, 16, "rank")
    assert lesson.encode(x, rank).tolist() == [[-1, 0, 16, 8], [-1, 0, 8, 8]]
    assert np.array_equal(lesson.encode(2 * x[1:], rank), lesson.encode(x[1:], rank)), "contrast matters"


def planned(**choice: object) -> course.Course:
    return course.plan(config.load(THIRTY), Choice(**{"n_train": 30, "n_test": 5, "passes": 2, **choice}))


def test_every_spike_of_a_course_is_known_beforehand():
    one = planned()
    ids, spikes = one.network.ids, one.spikes_ns()
    assert one.n_slots == 65 and one.n_learnt == 60
    assert sorted(one.shown[:30].tolist()) == sorted(one.shown[30:60].tolist()) == list(range(30))
    assert one.shown[:30].tolist() != one.shown[30:60].tolist()
    assert len(spikes["reset"]) == 65 and len(spikes["learn"]) == 60
    taught = sum(len(spikes[f"teacher.{k}"]) for k in range(10))
    assert taught == 60
    tick, slot = 125_000, 32_000_000
    assert spikes["reset"][:2] == [tick, tick + slot] and spikes["learn"][0] == tick + 25_000_000
    shown = one.samples.levels[one.shown[3]]
    for value in (10, 20, 36):
        mine = [t for t in spikes[f"pixel.{value}"] if 3 * slot < t <= 4 * slot]
        due = 3 * slot + tick + 1_000_000 + (16 - int(shown[value])) * 1_000_000
        assert mine == ([due] if shown[value] else [])
    assert {ids[i] for i in one.room.readers} == {f"reader.{n}" for n in range(30)}
    assert planned(order=2).spikes_ns() != spikes and planned().spikes_ns() == spikes


def test_a_config_is_fitted_to_data_of_another_size(tmp_path):
    X = np.random.default_rng(1).integers(0, 17, (60, 12))
    one = planned(data=npz(tmp_path, X=X, y=np.arange(60) % 3), n_train=None, n_test=None)
    assert len(one.room.inputs) == 12 and len(one.room.teachers) == one.room.classes == 3
    assert len(one.notes) == 1 and "sources.pixel.count=12" in one.notes[0]
    assert one.room.timing.slot == 280, "long enough for ten to claim in turn"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("classroom.readers='nobody'", "no 'nobody'"),
        ("classroom.learn_at='12 ms'", "after the last input"),
        ("classroom.slot='25 ms'", "slot must be"),
        ("classroom.level='0.3 ms'", "multiple of dt"),
        ("classroom.classes=9", "10 teachers"),
        ("groups.reader.count=9", "9 readers for 10 classes"),
        ("classroom.learn='pixel'", "one source"),
        ("synapses.0.delay='2 ms'", "one delay"),
    ],
)
def test_a_classroom_that_contradicts_itself(change, word):
    with pytest.raises(InputError, match=word):
        lesson.room(network.build(config.load(THIRTY, [change])))


# -- answers ------------------------------------------------------------------------------------------


def test_the_first_to_fire_has_answered_and_a_claim_is_no_answer():
    heard = Readout(TIMING, 3)
    begin = 256 + TIMING.delay + 1
    heard.hear(5, [begin + 130])
    heard.hear(2, [begin + 130, begin + 140])  # the same step: the lower address
    heard.hear(1, [begin + 131, begin + TIMING.learn_at, 5 * 256])
    assert heard.first.tolist() == [SILENT, 2, SILENT] and heard.at[1] == 130
    assert TIMING.slots_at(207) == 0 and TIMING.slots_at(208) == 1 and TIMING.slots_at(208 + 256) == 2


def test_accuracy_confusion_and_labels_found_out():
    class_of, labels = np.array([0, 1, 2]), np.array([0, 1, 2, 2])
    answered = readout.answers(np.array([0, 2, 2, SILENT]), class_of)
    assert answered.tolist() == [0, 2, 2, SILENT]
    assert readout.accuracy(answered, labels) == 0.5
    assert np.isnan(readout.accuracy(answered[:0], labels[:0]))
    assert readout.confusion(answered, labels, 3).tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]
    votes = readout.majority(np.array([1, 1, 1, 0, SILENT]), np.array([2, 2, 0, 1, 1]), 3, 3)
    assert votes.tolist() == [1, 2, SILENT]


# -- a brain is a file --------------------------------------------------------------------------------


def test_a_brain_is_read_as_it_was_written(tmp_path):
    built = network.build(config.load(THIRTY))
    weights = np.random.default_rng(0).integers(0, 128, len(built.synapses.weight)).astype(float)
    text = THIRTY.read_text()
    one = brain.Brain("thirty.toml", text, {}, ["run.seed=3"], 3, weights, {"accuracy": 0.5})
    file = tmp_path / "deep" / "one.brain"
    one.save(file)
    again = brain.load(file)
    assert np.array_equal(again.weights, weights) and again.facts == {"accuracy": 0.5}
    assert np.array_equal(again.network().synapses.weight, weights) and again.network().seed == 3
    again.weights = weights[:-1]
    with pytest.raises(InputError, match="of another network"):
        again.network()
    content = file.read_bytes()
    for wrong in (content[: len(content) // 2], b"", content.replace(b"brain.json", b"brain.jsno")):
        file.write_bytes(wrong)
        with pytest.raises(InputError):
            brain.load(file)


def test_weights_between_two_populations_are_a_picture():
    built = network.build(config.load(THIRTY))
    weights = np.zeros(len(built.synapses.weight))
    at = {name: n for n, name in enumerate(built.ids)}
    weights[(built.synapses.pre == at["pixel.9"]) & (built.synapses.post == at["reader.4"])] = 7
    shown = brain.picture(
        brain.with_weights(built, weights),
        built.groups["pixel"].tolist(),
        built.groups["reader"].tolist(),
    )
    assert shown.shape == (30, 64) and shown[4, 9] == 7 and np.count_nonzero(shown) == 1


def test_pictures_are_drawn_whatever_was_learnt(tmp_path):
    W = np.random.default_rng(0).normal(size=(7, 12))
    class_of = np.array([0, 1, 1, 2, SILENT, 0, 1])
    names = ["cat", "dog", "a long name"]
    for n, W_ in enumerate((W, np.abs(W), np.zeros_like(W))):
        out = pictures.weights(W_, class_of, names, (3, 4), "title", "caption", tmp_path / f"{n}.png")
        assert out.stat().st_size > 1000
    table = np.array([[3, 0, 0, 1], [0, 0, 0, 0], [1, 0, 2, 0]])
    assert pictures.confusion(table, names, "t", "c", tmp_path / "c.png").stat().st_size > 1000
