"""Damaged and crafted logs and brains through all that reads them: `python -m tests.campaigns.logs --n 1000`.

A worker does what the verbs do, within limits of time and memory; what raises anything but an error meant
for a person, hangs, takes too much, or calls a damaged log complete is kept in a folder and told. Exit code
1 then.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from neurobus import modelpath
from neurobus.errors import NeurobusError
from tests.mutants import craft, mutated_brain, mutated_log

TIME_S, MEMORY_MB, ADDRESSES_MB = 10.0, 500, 8000
DAMAGE = ("bits", "cut", "garbage", "swap")
"""Of a sound log: if such a one is complete, it must hold what that one holds."""


def reading(path: Path, sound: Path, kind: str) -> dict[str, Callable[[], object]]:
    """What each verb does with a log, by its name."""
    from neurobus.log import read, recover
    from neurobus.log.diff import diff, same_weights
    from neurobus.log.export import export
    from neurobus.log.info import describe, render
    from neurobus.log.plot import plot
    from neurobus.log.replay import Schedule
    from neurobus.log.rerun import late, rerun

    def info() -> None:
        log = read(path)
        json.dumps(describe(log))
        assert render(describe(log)).isprintable() or "\n" in render(describe(log))
        whole = read(sound)
        if kind in DAMAGE and log.complete:
            same = diff(whole, log).equal and same_weights(whole, log)[1] == 0 and log.end_ns == whole.end_ns
            assert same and len(log.stimuli) == len(whole.stimuli), "a damaged log is called complete"

    def parts() -> None:
        for start, end in ((0, 5_000_000), (15_000_000, None)):
            part = read(path, start, end)
            assert not part.spikes_t.size or part.spikes_t.min() >= start

    def replay() -> None:
        schedule = Schedule(read(path), start_ns=3_000_000)
        while schedule.step():
            pass

    def recovered() -> None:
        back = recover(path, path.with_suffix(".back.mcap"), overwrite=True)
        again = read(back.path)
        assert again.complete == (not back.problems) and (again.complete or again.recovered)
        assert kind not in DAMAGE or again.recovered or again.complete

    def verify() -> None:
        log = read(path)
        late(log)
        rerun(log, [])

    return {
        "info": info,
        "parts": parts,
        "diff": lambda: diff(read(sound), read(path)).render(),
        "csv": lambda: export(read(path), path.with_suffix(".csv")),
        "h5": lambda: export(read(path), path.with_suffix(".h5")),
        "plot": lambda: plot(read(path), path.with_suffix(".svg")),
        "replay": replay,
        "recover": recovered,
        "verify": verify,
    }


def of_brain(path: Path) -> dict[str, Callable[[], object]]:
    from neurobus.classroom import brain as brains

    return {"brain": lambda: brains.load(path).network()}


def tried(verbs: dict[str, Callable[[], object]]) -> list[str]:
    """What went wrong, a line each."""
    wrong = []
    for name, verb in verbs.items():
        try:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                verb()
            wrong += [f"{name}: warns {warning.message}" for warning in told]
        except NeurobusError as error:
            if "\n" in str(error) or len(str(error)) > 2000:
                wrong.append(f"{name}: more than a line: {str(error)[:200]!r}")
        except BaseException:
            wrong.append(f"{name}: {' | '.join(traceback.format_exc().splitlines()[-4:])}")
    return wrong


def work(requests: Any, answers: Any) -> None:
    """A case a line, `["log" or "brain", path, sound, kind]`; its answer is what went wrong and MB at the
    most."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES_MB << 20, ADDRESSES_MB << 20))
    modelpath.guard()
    for line in requests:
        what, path, sound, kind = json.loads(line)
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        verbs = reading(Path(path), Path(sound), kind) if what == "log" else of_brain(Path(path))
        wrong = tried(verbs)
        status = dict(row.split(":", 1) for row in Path("/proc/self/status").read_text().splitlines())
        answers.write(json.dumps([wrong, int(status["VmHWM"].split()[0]) // 1024]) + "\n")
        answers.flush()


class Worker:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.campaigns.logs", "--work"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip

    def ask(self, case: list[str], patience_s: float) -> list[str]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(case) + "\n")
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], patience_s)[0]:
            self.close()
            return [f"takes longer than {patience_s:g} s"]
        line = self.process.stdout.readline()
        if not line:
            return [f"the worker died: {self.process.wait()}"]
        wrong, mb = json.loads(line)
        return [*wrong, *([f"took {mb} MB"] if mb > MEMORY_MB else [])]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            with contextlib.suppress(OSError):
                pipe.close()


def sound_brain(path: Path) -> bytes:
    import numpy as np

    from neurobus.classroom.brain import Brain
    from tests.mutants import RING

    Brain("ring.toml", RING, {"a.csv": b"x,y\n1,2\n"}, [], 1, np.full(8, 2.0), {"accuracy": 0.5}).save(path)
    return path.read_bytes()


def campaign(n_logs: int, n_brains: int, seed: int, patience_s: float = 30.0) -> int:
    """How many cases went wrong. `patience_s` is more than `TIME_S`, as other programs may be at work."""
    draw, kinds, failures = random.Random(seed), Counter[str](), 0
    folder, kept = Path(tempfile.mkdtemp(prefix="neurobus-campaign-")), Path("build/campaign")
    sound, brain = craft(folder / "sound.mcap"), sound_brain(folder / "sound.brain")
    worker = Worker()
    try:
        worker.ask(["log", str(sound), str(sound), "bits"], 120)  # imports, fonts
        for n in range(n_logs + n_brains):
            what = "log" if n < n_logs else "brain"
            path = folder / ("x.mcap" if what == "log" else "x.brain")
            path.unlink(missing_ok=True)
            kind = mutated_log(path, draw) if what == "log" else mutated_brain(path, brain, draw)
            kinds[f"{what} {kind}"] += 1
            wrong = worker.ask([what, str(path), str(sound), kind], patience_s)
            if worker.process.returncode is not None:
                worker.close()
                worker = Worker()
            if wrong:
                failures += 1
                kept.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, kept / f"{seed}-{n}-{kind}{path.suffix}")
                print(f"{what} {n} ({kind}):", *wrong, sep="\n    ", flush=True)
    finally:
        worker.close()
        shutil.rmtree(folder)
    print(f"seed {seed}: {failures} of {n_logs} logs and {n_brains} brains went wrong;", dict(kinds))
    return failures


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--n", type=int, default=1000, help="logs")
    options.add_argument("--brains", type=int, default=500)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.work:
        answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        work(sys.stdin, answers)
        return
    sys.exit(1 if campaign(given.n, given.brains, given.seed) else 0)


if __name__ == "__main__":
    main()
