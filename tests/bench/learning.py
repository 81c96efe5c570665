"""What thirty chips learn: the table of `make train-report`, every split of it.

    python -m tests.bench.learning [--only ROW,ROW] [--short] [--processes] [--brian PYTHON] [--json FILE]

The first split of a row is a run of `neurobus train`, whose weights must be those of the reference in plain
integers, bit for bit; the other splits are the reference's (`--processes`: all are runs). Random splits have
seeds 100 … 119 and order 1, the fixed split (the first 1,000 digits; the rest is by other writers) has orders
1 … 10. Nothing was tuned on them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neurobus import config as configs
from neurobus.classroom import brain, course, data, lesson, readout
from neurobus.classroom.course import Choice, Course
from tests import compete, race

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "configs" / "digits"
RANDOM, FIXED, ORDERS = "random", "fixed", 10
PACKED = ("--set", "run.neurons_per_process=100")


@dataclass
class Row:
    """One line of the table. `values` in `unit`, one a split; `goal` holds for `of`: mean, min or max."""

    id: str
    what: str
    unit: str
    goal: float
    of: str = "mean"
    more_is_better: bool = True
    least: float | None = None
    values: list[float] = field(default_factory=list)
    note: str = ""

    @property
    def value(self) -> float:
        return float({"mean": np.mean, "min": np.min, "max": np.max}[self.of](self.values))

    @property
    def met(self) -> bool:
        better = self.value >= self.goal if self.more_is_better else self.value <= self.goal
        return better and (self.least is None or min(self.values) >= self.least)


def train(config: str, *args: object) -> tuple[dict[str, Any], brain.Brain]:
    """One course: what `--json` says, and the brain."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "one.brain"
        command = [sys.executable, "-m", "neurobus", "train", str(DIGITS / config), "--json", "-o", str(out),
                   "--save", str(Path(folder) / "state"), *map(str, args)]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: {done.stderr}")
        return json.loads(done.stdout.splitlines()[-1]), brain.load(out)


def accuracies(config: str, split: str, passes: int, n: int, processes: bool) -> list[float]:
    """Held-out accuracy in per cent, of each split or order."""
    found = []
    for k in range(n):
        seed = 100 + k if split == RANDOM else None
        choice = Choice(passes=passes, order=1 if split == RANDOM else 1 + k, split=seed, n_train=1000)
        one, heard, W = referred(config, choice)
        found.append(round(100 * course.result(one, heard).accuracy, 3))
        if k == 0 or processes:
            where = ("--split", seed) if seed is not None else ()
            said, learnt = train(
                config, "--passes", passes, "--order", choice.order, "--train", 1000, *where, *PACKED
            )
            network = brain.with_weights(one.network, learnt.weights)
            same = np.array_equal(brain.picture(network, one.room.inputs, one.room.readers), W)
            if not same or abs(100 * said["accuracy"] - found[-1]) > 1e-3:
                raise SystemExit(
                    f"{config}, {split} {k}: the processes learnt something else than the reference"
                )
        print(f"  {config} {split} {k}: {found[-1]:.2f} %", file=sys.stderr, flush=True)
    return found


def referred(config: str, choice: Choice) -> tuple[Course, readout.Readout, np.ndarray]:
    """A course as the reference gives it: its answers and weights (readers, inputs)."""
    one = course.plan(configs.load(DIGITS / config), choice)
    levels, n = one.samples.levels, len(one.room.readers)
    if one.room.teachers:
        W, first, _ = race.run(levels, one.samples.labels, one.shown, one.n_learnt, n)
    else:
        W, first = compete.run(levels, one.shown, one.n_learnt, n)
    heard = readout.Readout(one.room.timing, one.n_slots)
    heard.first = first
    return one, heard, W


def rows(short: bool, processes: bool, brian: str | None) -> dict[str, tuple[Row, Callable[[Row], None]]]:
    n, orders = (2, 2) if short else (20, ORDERS)

    def answers(config: str, split: str, passes: int, count: int) -> Callable[[Row], None]:
        def measure(row: Row) -> None:
            row.values = accuracies(config, split, passes, count, processes)

        return measure

    made = [
        (Row("thirty_random", "30 neurons, 3 passes, random splits", "%", 95.5, least=94.0),
         answers("thirty.toml", RANDOM, 3, n)),
        (Row("thirty_fixed", "30 neurons, 3 passes, fixed split", "%", 93.5),
         answers("thirty.toml", FIXED, 3, orders)),
        (Row("thirty_fixed_once", "30 neurons, 1 pass, fixed split", "%", 91.0),
         answers("thirty.toml", FIXED, 1, orders)),
        (Row("hundred_random", "100 neurons, 3 passes, random splits", "%", 97.0),
         answers("hundred.toml", RANDOM, 3, n)),
        (Row("hundred_fixed", "100 neurons, 3 passes, fixed split", "%", 95.5),
         answers("hundred.toml", FIXED, 3, orders)),
        (Row("unsupervised", "50 neurons without a teacher, 3 passes, random splits", "%", 90.0),
         answers("unsupervised.toml", RANDOM, 3, n)),
        (Row("wall", "30 neurons, a process each: 3 passes of 1,000 and the test", "s", 90.0,
             more_is_better=False), course_time),
        (Row("clocks", "wall clock with late = 0: weights other than under the virtual clock", "", 0.0,
             more_is_better=False), clocks),
    ]  # fmt: skip
    if brian is not None:
        row = Row("brian", "30 neurons packed in one process, against Brian2's numpy target", "×", 10.0)
        row.note = brian
        made.append((row, beside_brian))
    return {row.id: (row, measure) for row, measure in made}


def course_time(row: Row) -> None:
    said, _ = train("thirty.toml")
    row.values = [round(said["wall_s"], 2)]
    row.note = f"{said['rounds'] / 3797:.1f} rounds and {said['duties'] / 3797:.0f} duties an image"


def clocks(row: Row) -> None:
    """A few samples in real time, one process a neuron; run again where the machine was late."""
    shown = ("--train", 20, "--test", 0, "--passes", 1)
    for _ in range(5):
        wall, brain_wall = train("slow.toml", *shown, "--set", "run.grace='200 ms'")
        if wall["late"] == wall["lost"] == 0:
            break
    _, brain_virtual = train("slow.toml", *shown, "--clock", "virtual")
    row.values = [float(np.sum(brain_wall.weights != brain_virtual.weights))]
    row.note = f"late {wall['late']}, lost {wall['lost']}, {wall['model_s']:.1f} s of model time"
    if wall["late"] or wall["lost"]:
        row.note += ": this machine is too slow now, the row says nothing"


BRIAN_BEFORE, BRIAN_SAMPLES, BRIAN_WARM = 400, 22, 2


def beside_brian(row: Row) -> None:
    """ms a sample of the same network and spikes: packed in one process, and in Brian2; twice, in turn."""
    samples = data.read("digits", race.TOP)
    shown = lesson.order(samples, 1, 1)
    W, _, _ = race.run(samples.levels, samples.labels, shown[:BRIAN_BEFORE], BRIAN_BEFORE, 30)
    next_ = shown[BRIAN_BEFORE : BRIAN_BEFORE + BRIAN_SAMPLES]
    after, first, at = W.copy(), np.empty(len(next_), np.int64), np.empty(len(next_), np.int64)
    kinds = np.arange(30) % 10
    race.show(samples.levels.astype(np.int64), samples.labels, next_, len(next_), after, kinds, first, at,
              race.LEARN_AT)  # fmt: skip
    ms: dict[str, list[float]] = {"ours": [], "numpy": [], "cython": []}
    with tempfile.TemporaryDirectory() as folder:
        course_file = Path(folder) / "course.npz"
        np.savez(
            course_file, levels=samples.levels[next_], labels=samples.labels[next_], W=W, warm=BRIAN_WARM
        )
        for _ in range(2):
            said, _ = train("thirty.toml", "--passes", 1, "--test", 0, *PACKED)
            ms["ours"].append(1000 * said["wall_s"] / said["samples"])
            for target in ("numpy", "cython"):
                script = Path(__file__).parent / "brian_race.py"
                done = subprocess.run([row.note, script, course_file, target], capture_output=True, text=True)
                if done.returncode:
                    raise SystemExit(f"Brian2, {target}: {done.stderr[-400:]}")
                told = json.loads(done.stdout.splitlines()[-1])
                if told["first"] != first.tolist() or not np.array_equal(
                    np.load(f"{course_file}.{target}.npy"), after
                ):
                    raise SystemExit(f"Brian2, {target}, simulates another network")
                ms[target].append(told["ms"])
    best = {name: min(values) for name, values in ms.items()}
    row.values = [round(best["numpy"] / best["ours"], 1)]
    row.note = (f"ms a sample: {best['ours']:.1f} here, {best['numpy']:.0f} Brian2 numpy, "
                f"{best['cython']:.0f} Brian2 Cython; the same spikes and weights")  # fmt: skip


def table(measured: list[Row]) -> str:
    """Markdown."""
    lines = ["| measure | result | every split | goal | met |", "| --- | --- | --- | --- | --- |"]
    for row in measured:
        spread = f" ± {np.std(row.values):.2f}" if len(row.values) > 1 else ""
        form = "{:.2f}" if row.unit else "{:g}"
        every = " ".join(f"{value:.1f}" for value in row.values) if len(row.values) > 1 else row.note
        least = f", none < {row.least:g}" if row.least is not None else ""
        sign = "≥" if row.more_is_better else "≤"
        met = "yes" if row.met else "**no**"
        lines.append(f"| {row.what} | {form.format(row.value)}{spread} {row.unit} | {every} "
                     f"| {sign} {row.goal:g} {row.unit}{least} | {met} |")  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.learning")
    parser.add_argument("--only", help="rows by id, with commas")
    parser.add_argument("--short", action="store_true", help="two splits of each")
    parser.add_argument("--processes", action="store_true", help="every split a run, not the first alone")
    parser.add_argument("--brian", metavar="PYTHON", help="a Python that has Brian2: adds the row `brian`")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    all_rows = rows(args.short, args.processes, args.brian)
    chosen = args.only.split(",") if args.only else list(all_rows)
    measured = []
    for name in chosen:
        row, measure = all_rows[name]
        print(f"{row.what} …", file=sys.stderr, flush=True)
        measure(row)
        measured.append(row)
        if args.json:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            told = [{**asdict(r), "value": r.value, "met": r.met} for r in measured]
            args.json.write_text(json.dumps(told, indent=1))
    print(table(measured))
    sys.exit(0 if all(row.met for row in measured) else 1)


if __name__ == "__main__":
    main()
