"""Chips of the kind `race`, compiled for this machine: their images, and whole courses of them."""

from __future__ import annotations

import ctypes
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurobus.classroom import lesson, readout
from neurobus.wire import link
from tests import race

HERE = Path(__file__).parent
AVR = HERE.parents[1] / "firmware" / "avr"


def compile_chip(folder: Path) -> ctypes.CDLL:
    """chip_race.c with the driver of host/race_host.c; warnings are errors."""
    target, board = folder / "race.so", HERE / "host" / "board.h"
    sources = [AVR / "chip_race.c", HERE / "host" / "race_host.c"]
    flags = ["-std=gnu99", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-packed-bitfield-compat", "-shared",
             "-fPIC", f'-DBOARD="{board}"', f"-DCHIP=\"{AVR / 'chip_race.h'}\"", f"-I{AVR}"]  # fmt: skip
    done = subprocess.run(["gcc", *flags, "-o", target, *sources], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
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


@dataclass
class Run:
    """A course of chips: their images after it, and (tick, chip) of every spike, as the driver met them."""

    images: np.ndarray
    spikes: np.ndarray
    slots: int
    slot: int

    @property
    def weights(self) -> np.ndarray:
        """(chips, inputs)."""
        inputs = (self.images.shape[1] - HEAD) // 2
        return self.images[:, HEAD : HEAD + inputs].astype(np.int64)

    def answers(self) -> readout.Readout:
        timing = lesson.Timing(self.slot, race.START, race.TICKS_PER_MS, race.LEARN_AT, race.DELAY, race.TOP)
        heard = readout.Readout(timing, self.slots)
        for tick, chip in self.spikes.tolist():
            heard.hear(chip, [tick + race.DELAY + 1])  # as stamped on a bus, where RESET takes its delay
        return heard


def course(
    chip: ctypes.CDLL,
    levels: np.ndarray,
    kinds: np.ndarray,
    n_learnt: int,
    chips: int,
    slot: int,
    learn_at: int = race.LEARN_AT,
) -> Run:
    """New chips through a course: `levels` (slots, inputs), `kinds` (slots,) classes."""
    inputs, classes = levels.shape[1], 10
    images = b"".join(image(params(inputs, k, chips, classes)) for k in range(chips))
    length = len(images) // chips
    kept = ctypes.create_string_buffer(images, len(images))
    head = (ctypes.c_uint32 * 10)(chips, inputs, classes, len(levels), n_learnt, slot, race.START,
                                  race.TICKS_PER_MS, race.TOP, learn_at)  # fmt: skip
    room = 64 * len(levels)
    fired = np.zeros(room, np.int64)
    n = chip.race_course(
        ctypes.byref(head), kept, ctypes.c_uint16(length), np.ascontiguousarray(levels, np.uint8).tobytes(),
        kinds.astype(np.uint8).tobytes(), fired.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(room),
    )  # fmt: skip
    assert n >= 0
    end = np.frombuffer(kept.raw, np.uint8).reshape(chips, length)
    return Run(end, np.stack([fired[:n] // chips, fired[:n] % chips], axis=1), len(levels), slot)
