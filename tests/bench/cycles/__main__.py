"""See the package's docstring."""

from __future__ import annotations

import argparse
import ctypes
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from neurobus.classroom import data, lesson
from tests import race
from tests.firmware.race_chips import AVR, HEAD, Run, compile_chip, course, params

HERE = Path(__file__).parent
SLOT, BEFORE, SLOTS, CHIPS_TRIED, CLOCK_HZ = 288, 400, 12, 10, 16_000_000
SIZES = (10, 30, 100)
WARNINGS = ("-std=gnu99", "-Wall", "-Wextra", "-Werror")


def build(*command: object) -> None:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)


def array(values: np.ndarray) -> str:
    return "{" + ",".join(map(str, np.ravel(values).astype(int).tolist())) + "}"


class Bench:
    """A course of `SIZES` of networks up to slot BEFORE, and what happens in the next SLOTS."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.counter = folder / "count"
        build("gcc", "-O2", *WARNINGS, "-o", self.counter, HERE / "count.c", "-lsimavr", "-lelf")
        self.chip = compile_chip(folder)
        samples = data.read("digits", race.TOP)
        shown = lesson.order(samples, 1, 1)[: BEFORE + SLOTS]
        self.levels, self.kinds = samples.levels[shown], samples.labels[shown]

    def course(self, chips: int, slots: int) -> Run:
        return course(self.chip, self.levels[:slots], self.kinds[:slots], slots, chips, SLOT)

    def cycles(self, mcu: str, name: str, *sources: object) -> int:
        elf = self.folder / f"{name}.elf"
        flags = ("-mmcu=" + mcu, "-Os", *WARNINGS, "-DF_CPU=16000000UL", '-DBOARD="boards/atmega328p.h"',
                 '-DCHIP="chip_race.h"', f"-I{AVR}", f"-I{self.folder}")  # fmt: skip
        build("avr-gcc", *flags, "-o", elf, *sources)
        done = subprocess.run([self.counter, mcu, elf, "1000"], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{name} crashed in simavr: {done.stderr}")
        *_, self.image, cycles = ["", *done.stdout.split()]
        return int(cycles)

    def per_slot(self, mcu: str, name: str, header: str, *sources: object) -> float:
        """Cycles of one slot: those of SLOTS, less those of the same program without any."""
        counts = []
        for slots in (0, SLOTS):
            (self.folder / "course.h").write_text(f"#define SLOTS {slots}\n{header}")
            counts.append(self.cycles(mcu, name, *sources))
        return (counts[1] - counts[0]) / SLOTS

    def chips(self, chips: int, tried: int = CHIPS_TRIED) -> list[float]:
        """Cycles a slot of some chips of a network, evenly chosen; each must learn what it should."""
        before, after = self.course(chips, BEFORE), self.course(chips, BEFORE + SLOTS)
        chosen = np.unique(np.linspace(0, chips - 1, tried).astype(int)).tolist()
        found = []
        for k in chosen:
            events = array(self.events(after, k, chips))
            header = (
                f"#define IMAGE {array(before.images[k])}\n#define EVENTS {events}\n#define SLOT {SLOT}\n"
            )
            sources = (HERE / "chip.c", AVR / "chip_race.c")
            found.append(self.per_slot("atmega328p", "chip", header, *sources))
            inputs = self.levels.shape[1]
            W = np.frombuffer(bytes.fromhex(self.image), np.uint8)[HEAD : HEAD + inputs]
            if not np.array_equal(W, after.weights[k]):
                raise SystemExit(f"chip {k} of {chips} has learnt something else in simavr")
        return found

    def events(self, run: Run, k: int, chips: int) -> np.ndarray:
        """(tick in the slot, synapse) pairs that chip k hears, 255 at the end of each slot."""
        p = params(self.levels.shape[1], k, chips, 10)
        told: list[int] = []
        for m in range(BEFORE, BEFORE + SLOTS):
            happens = [(0, p["learns"]), (race.LEARN_AT, p["teachers"])]
            if self.kinds[m] == k % 10:
                happens.append((race.TICKS_PER_MS // 2, p["foreign"]))
            for i, x in enumerate(self.levels[m].tolist()):
                if x:
                    happens.append((race.START + race.TICKS_PER_MS * (race.TOP - x), i))
            for tick, sender in run.spikes.tolist():
                at = tick + race.DELAY - m * SLOT
                if sender != k and 0 <= at < 255:
                    first = p["inputs"] if sender < k else p["elders"]
                    happens.append((at, first if sender % 10 == k % 10 else p["youngers"]))
            for at, synapse in sorted(happens):
                told += [at, synapse]
            told.append(255)
        return np.array(told)

    def single(self, chips: int) -> float:
        """Cycles a slot of one chip that does it all; its weights are checked first."""
        before, after = self.course(chips, BEFORE), self.course(chips, BEFORE + SLOTS)
        header = (
            f"#define K {chips}\n#define INPUTS {self.levels.shape[1]}\n#define CLASSES 10\n"
            f"#define WEIGHTS {array(before.weights)}\n#define LEVELS {array(self.levels[BEFORE:])}\n"
            f"#define KINDS {array(self.kinds[BEFORE:])}\n"
        )
        (self.folder / "course.h").write_text(f"#define SLOTS {SLOTS}\n{header}")
        library = self.folder / f"sequential{chips}.so"
        build(
            "gcc",
            "-O2",
            "-shared",
            "-fPIC",
            *WARNINGS,
            f"-I{self.folder}",
            "-o",
            library,
            HERE / "sequential.c",
        )
        host = ctypes.CDLL(str(library))
        host.run()
        W = np.ctypeslib.as_array((ctypes.c_uint8 * (chips * self.levels.shape[1])).in_dll(host, "W"))
        if not np.array_equal(W.reshape(chips, -1), after.weights):
            raise SystemExit("sequential.c has learnt something else than the chips")
        return self.per_slot("atmega1284p", "sequential", header, HERE / "sequential.c")


def plot(rows: list[dict[str, float]], out: Path) -> None:
    import matplotlib

    from neurobus.picture import COLOURS, MARK, STYLE, blank, save

    n = [row["neurons"] for row in rows]
    with matplotlib.rc_context(STYLE):
        figure = blank(5.2, 3.4)
        axis = figure.subplots()
        for key, name, colour in (
            ("single_ms", "one chip, one program", MARK),
            ("network_ms", "a chip for each neuron", COLOURS[0]),
        ):
            axis.plot(n, [row[key] for row in rows], "o-", color=colour)
            axis.annotate(
                name, (n[-1], rows[-1][key]), (-4, 7), textcoords="offset points", ha="right", color=colour
            )
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xticks(n, [f"{k:g}" for k in n])
        axis.minorticks_off()
        axis.set_xlabel("neurons")
        axis.set_ylabel("ms of computing per sample, 16 MHz")
        save(figure, out)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cycles")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    args = parser.parse_args()
    for tool in ("avr-gcc", "gcc"):
        if shutil.which(tool) is None:
            raise SystemExit(f"no {tool} here; run: make system")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for chips in SIZES:
            each, single = bench.chips(chips), bench.single(chips)
            rows.append({
                "neurons": chips,
                "network_cycles": round(max(each)), "network_ms": max(each) / CLOCK_HZ * 1e3,
                "single_cycles": round(single), "single_ms": single / CLOCK_HZ * 1e3,
            })  # fmt: skip
            print(f"{chips} neurons", file=sys.stderr, flush=True)
    lines = ["| neurons | a chip each, the slowest: cycles | ms | one chip for all: cycles | ms | times |",
             "| --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    lines += [f"| {r['neurons']} | {r['network_cycles']} | {r['network_ms']:.2f} | {r['single_cycles']} "
              f"| {r['single_ms']:.2f} | {r['single_ms'] / r['network_ms']:.1f} |" for r in rows]  # fmt: skip
    print("\n".join(lines))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))
    if args.plot:
        plot(rows, args.plot)


if __name__ == "__main__":
    main()
