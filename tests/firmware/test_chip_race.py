"""The C of the chip `race`, compiled here, does what the reference in plain integers does: every answer of a
whole course, and every weight."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from neurobus.classroom import data, lesson, readout
from neurobus.wire import link
from tests import race

HERE = Path(__file__).parent
AVR = HERE.parents[1] / "firmware" / "avr"


@pytest.fixture(scope="module")
def chip(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    target = tmp_path_factory.mktemp("race") / "race.so"
    if shutil.which("gcc") is None:
        pytest.skip("no gcc here")
    board = HERE / "host" / "race_board.h"
    sources = [AVR / "chip_race.c", HERE / "host" / "race_host.c"]
    flags = ["-std=gnu99", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-packed-bitfield-compat", "-shared",
             "-fPIC", f"-DBOARD=\"{board}\"", f"-DCHIP=\"{AVR / 'chip_race.h'}\"", f"-I{AVR}"]  # fmt: skip
    done = subprocess.run(["gcc", *flags, "-o", target, *sources], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    library = ctypes.CDLL(str(target))
    library.chip_image.restype = ctypes.POINTER(ctypes.c_uint8)
    library.chip_snapshot.restype = ctypes.c_uint16
    library.race_course.restype = ctypes.c_int64
    return library


def params(inputs: int, chip: int, chips: int, classes: int) -> dict[str, int]:
    """Of chip number `chip` in a classroom like configs/digits/thirty.toml."""
    elders = chip // classes
    mates = (chips - 1 - chip % classes) // classes
    others = inputs + chips - 1
    return {
        "inputs": inputs, "elders": inputs + elders, "youngers": inputs + mates, "foreign": others,
        "teachers": others + 1, "learns": others + 2, "synapses": others + 3,
        "V_th": race.THRESHOLD, "shift": 3, "attract": race.ATTRACT,
        "repel": race.REPEL, "top": race.TOP, "level": 3, "start": race.START, "delay": race.DELAY,
    }  # fmt: skip


NEW = {"tick": 0, "began": 0, "V": 0, "S": 0, "fired": 0xFFFF, "claim": 0xFFFF, "threshold": race.THRESHOLD,
       "flags": 64, "order": 0}  # fmt: skip
HEAD = link.RACE_PARAMS.size + link.RACE_STATE.size


def image(values: dict[str, int]) -> bytes:
    return link.RACE_PARAMS.pack(values) + link.RACE_STATE.pack(NEW) + bytes(2 * values["inputs"])


def course(chip: ctypes.CDLL, levels: np.ndarray, kinds: np.ndarray, n_learnt: int, chips: int,
           slot: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Weights (chips, inputs), the chip that answered each slot and its tick, -1 for none."""
    inputs, classes = levels.shape[1], 10
    images = b"".join(image(params(inputs, k, chips, classes)) for k in range(chips))
    length = len(images) // chips
    kept = ctypes.create_string_buffer(images, len(images))
    head = (ctypes.c_uint32 * 10)(chips, inputs, classes, len(levels), n_learnt, slot, race.START,
                                  race.TICKS_PER_MS, race.TOP, race.LEARN_AT)  # fmt: skip
    room = 64 * len(levels)
    fired = np.zeros(room, np.int64)
    n = chip.race_course(
        ctypes.byref(head), kept, ctypes.c_uint16(length), np.ascontiguousarray(levels, np.uint8).tobytes(),
        kinds.astype(np.uint8).tobytes(), fired.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(room),
    )  # fmt: skip
    assert n >= 0
    timing = lesson.Timing(slot, race.START, race.TICKS_PER_MS, race.LEARN_AT, race.DELAY, race.TOP)
    heard = readout.Readout(timing, len(levels))
    for tick, number in zip((fired[:n] // chips).tolist(), (fired[:n] % chips).tolist(), strict=True):
        heard.hear(number, [tick + race.DELAY + 1])  # as stamped on a bus, where RESET takes its delay
    end = np.frombuffer(kept.raw, np.uint8).reshape(chips, length)
    return end[:, HEAD : HEAD + inputs].astype(np.int64), heard.first, np.where(heard.first < 0, -1, heard.at)


@pytest.mark.parametrize(
    ("chips", "slot", "passes", "n_train"), [(10, 256, 1, 300), (30, 256, 3, 300), (100, 288, 1, 300)]
)
def test_a_whole_course_is_the_references(
    chip: ctypes.CDLL, chips: int, slot: int, passes: int, n_train: int
) -> None:
    samples = data.read("digits", race.TOP, n_train=n_train)
    n = passes * len(samples.train)
    shown = np.concatenate([lesson.order(samples, passes, 3), samples.test[:200]])
    labels = samples.labels[shown]
    W, first, at = race.run(samples.levels, samples.labels, shown, n, chips)
    got_W, got_first, got_at = course(chip, samples.levels[shown], labels, n, chips, slot)
    assert np.array_equal(got_first, first)
    assert np.array_equal(got_at, at)
    assert np.array_equal(got_W, W)
    assert readout.accuracy(readout.answers(first[n:], np.arange(chips) % 10), labels[n:]) > 0.7


def test_an_image_that_makes_no_sense_is_refused(chip: ctypes.CDLL) -> None:
    good = params(64, 3, 30, 10)

    def taken(content: bytes) -> bool:
        ctypes.memmove(chip.chip_image(), content, len(content))
        return bool(chip.chip_restore(ctypes.c_uint16(len(content))))

    whole = image(good)
    assert taken(whole)
    assert chip.chip_synapses() == 64 + 29 + 3
    assert not taken(whole[:-1])
    for wrong in ({"inputs": 2000}, {"V_th": 0}, {"shift": 16}, {"attract": 99}, {"level": 8},
                  {"elders": 63}, {"synapses": 10}):  # fmt: skip
        values = {**good, **wrong}
        content = link.RACE_PARAMS.pack(values) + whole[link.RACE_PARAMS.size :]
        assert not taken(content), wrong
    assert not taken(whole[:HEAD] + b"\xff" + whole[HEAD + 1 :]), "a weight above 127"


def test_the_image_is_read_as_it_was_written(chip: ctypes.CDLL, tmp_path: Path) -> None:
    whole = image(params(64, 12, 30, 10))
    ctypes.memmove(chip.chip_image(), whole, len(whole))
    assert chip.chip_restore(ctypes.c_uint16(len(whole)))
    assert chip.chip_snapshot() == len(whole)
    assert ctypes.string_at(chip.chip_image(), len(whole)) == whole
