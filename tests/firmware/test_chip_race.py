"""The C of the chip `race`, compiled here, does what the reference in plain integers does: every answer of a
whole course, and every weight."""

from __future__ import annotations

import ctypes
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from neurobus.classroom import data, lesson, readout
from neurobus.wire import link
from tests import race
from tests.bench.cycles.__main__ import Bench
from tests.fake_board import RaceChip
from tests.firmware.build import need
from tests.firmware.race_chips import AVR, HEAD, compile_chip, course, image, params


@pytest.fixture(scope="module")
def chip(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    need("gcc", "gcc")
    return compile_chip(tmp_path_factory.mktemp("race"))


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
    run = course(chip, samples.levels[shown], labels, n, chips, slot)
    heard = run.answers()
    assert np.array_equal(heard.first, first)
    assert np.array_equal(np.where(first < 0, -1, heard.at), at)
    assert np.array_equal(run.weights, W)
    assert readout.accuracy(readout.answers(first[n:], np.arange(chips) % 10), labels[n:]) > 0.7


def test_a_spike_on_its_way_when_learn_comes_is_no_claim(chip: ctypes.CDLL) -> None:
    samples, hasty = data.read("digits", race.TOP, n_train=300), 140
    shown = lesson.order(samples, 1, 5)
    levels, labels = samples.levels[shown], samples.labels[shown]
    W, _, at = race.run(samples.levels, samples.labels, shown, len(shown), 30, learn_at=hasty)
    assert np.sum(at > hasty - race.DELAY) > 5
    assert np.array_equal(course(chip, levels, labels, len(shown), 30, 256, hasty).weights, W)


def test_an_image_that_makes_no_sense_is_refused(chip: ctypes.CDLL) -> None:
    good = params(64, 3, 30, 10)

    def taken(content: bytes) -> bool:
        ctypes.memmove(chip.chip_image(), content, len(content))
        return bool(chip.chip_restore(ctypes.c_uint16(len(content))))

    whole = image(good)
    assert taken(whole)
    assert chip.chip_synapses() == 64 + 29 + 3
    assert not taken(whole[:-1])
    for wrong in ({"inputs": 2000}, {"V_th": 0}, {"shift": 16}, {"attract": 99}, {"level": 16}):
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


@pytest.mark.parametrize("seed", range(6))
def test_the_chip_of_paper_is_the_chip(chip: ctypes.CDLL, seed: int) -> None:
    """`tests.fake_board.RaceChip`, which stands in where there is no compiler: every byte, every tick."""
    rng = random.Random(seed)
    whole = image(params(64, 12, 30, 10) | {"V_th": 400})
    if seed:
        whole = whole[:HEAD] + bytes(rng.randrange(24) for _ in range(64)) + bytes(64)
    ctypes.memmove(chip.chip_image(), whole, len(whole))
    assert chip.chip_restore(ctypes.c_uint16(len(whole)))
    paper, fired = RaceChip.of(whole), 0
    often = 30 * [*range(64)] + [*range(64, 93)] + 12 * [93, 94, 95]
    for _ in range(4000):
        while rng.random() < 0.3:
            if rng.random() < 0.01:
                weight = rng.choice((-32767, -500, 500, 3000))
                chip.chip_kick(ctypes.c_int16(weight))
                paper.kick(weight)
            else:
                synapse = rng.choice(often)
                chip.chip_input(ctypes.c_uint16(synapse))
                paper.input(synapse)
        assert ctypes.string_at(chip.chip_image(), len(whole)) == paper.now()
        said = chip.chip_tick() & 0xFF
        assert (said == 1) == paper.step()
        fired += said == 1
        assert ctypes.string_at(chip.chip_image(), len(whole)) == paper.now()
    assert fired or seed == 0
    assert len(set(paper.weights)) > 3


def test_on_the_processor_it_learns_the_same(tmp_path: Path) -> None:
    """Some slots in the middle of a course, cycle by cycle in simavr; the bench compares every weight."""
    need("avr-gcc", "gcc-avr")
    if not Path("/usr/include/simavr/sim_avr.h").exists():
        pytest.skip("no simavr here; apt-get install libsimavr-dev")
    few = Bench(tmp_path).chips(10, tried=2)
    assert 10_000 < min(few) <= max(few) < 60_000


def test_the_firmware_with_this_chip_fits_its_boards(tmp_path: Path) -> None:
    need("avr-gcc", "gcc-avr")
    options = ("CHIP=race", "BOARDS=atmega8-16 uno", f"FIRMWARE={tmp_path}", f"PYTHON={sys.executable}")
    done = subprocess.run(["make", "-s", "-C", AVR, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("flash") == 2
