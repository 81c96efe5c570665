"""Runs that are started, hurt and looked at, and the networks they run."""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from neurobus.cluster import folder as folders
from tests.helpers import run_table, table

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0
"""No run of a campaign takes so long on a machine that is not idle; one that does hangs."""

RING = (
    table("groups", id="n", count=8, model="nodes.lif")
    + table("sources", id="start", kind="spikes", times=["10 ms"])
    + table("synapses", pre="start", post="n.0", weight="4000 pA", delay="30 ms")
    + table("synapses", pre="n", post="n", csv="ring.csv", weight="4000 pA", delay="30 ms")
).replace('pre = "n"\npost = "n"\n', "")
RING_CSV = "pre,post\n" + "".join(f"n.{i},n.{(i + 1) % 8}\n" for i in range(8))
BALANCED = (
    table("groups", id="e", count=8, model="nodes.lif", params='{ I_e = { uniform = ["380 pA", "450 pA"] } }')
    + table("groups", id="i", count=2, model="nodes.lif", params='{ I_e = "390 pA" }')
    + table("sources", id="p", kind="poisson", count=2, rate="40 Hz")
    + table("synapses", pre="e", post="e", rule="all_to_all", weight="40 pA", delay="30 ms")
    + table("synapses", pre="e", post="i", rule="all_to_all", weight="60 pA", delay="30 ms")
    + table("synapses", pre="i", post="e", rule="all_to_all", weight="-80 pA", delay="30 ms")
    + table("synapses", pre="p", post="e", rule="all_to_all", weight="200 pA", delay="40 ms")
)
STDP = (
    table("groups", id="e", count=4, model="nodes.lif", params='{ I_e = { uniform = ["380 pA", "450 pA"] } }')
    + table("sources", id="p", kind="poisson", count=2, rate="40 Hz")
    + table("electrical", a="e.0", b="e.1", conductance="2 nS")
    + table("synapses", pre="e", post="e", rule="all_to_all", weight="40 pA", delay="30 ms")
    + table("synapses", pre="p", post="e", rule="all_to_all", weight="300 pA", delay="30 ms",
            synapse="nodes.stdp")
)  # fmt: skip
NETWORKS = {"ring": RING, "balanced": BALANCED, "stdp": STDP}


def write_config(folder: Path, name: str, seed: int, **run: str) -> Path:
    """A config of `NETWORKS` in a folder of its own."""
    (folder / "ring.csv").write_text(RING_CSV)
    path = folder / f"{name}.toml"
    path.write_text(run_table(seed=seed, **run) + NETWORKS[name])
    return path


class Trial:
    """One `neurobus run`, from its start barrier on. Everything it leaves behind is found by `rest`."""

    def __init__(self, *args: object):
        command = [sys.executable, "-m", "neurobus", "run", *map(str, args), "--json"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
        self.seen: dict[int, psutil.Process] = {}
        self.folder: Path | None = None

    def wait_for(self, true: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> Any:
        give_up = time.monotonic() + timeout_s
        while not (found := true()):
            if time.monotonic() > give_up:
                raise AssertionError(f"waited {timeout_s:g} s for {what}")
            time.sleep(0.01)
        return found

    def started(self) -> folders.Manifest:
        """Past the start barrier."""

        def look() -> folders.Manifest | None:
            assert self.process.poll() is None, self.process.communicate()
            return next(
                (m for m in folders.running() if m.pid == self.process.pid and m.t0_ns is not None), None
            )

        manifest: folders.Manifest = self.wait_for(look, "the start")
        self.folder = folders.runtime_dir() / manifest.name
        self.look_around()
        return manifest

    def look_around(self) -> list[psutil.Process]:
        """The processes of the run now, the launcher's children's children; all ever seen are kept."""
        found: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            found = psutil.Process(self.process.pid).children(recursive=True)
        self.seen |= {process.pid: process for process in found}
        return found

    def end(self) -> tuple[int, dict[str, Any], str]:
        """Exit code, summary (empty where there is none) and stderr. Raises AssertionError if it hangs."""
        try:
            out, err = self.process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError("it hangs") from None
        last = out.strip().rpartition("\n")[2]
        return self.process.returncode, json.loads(last) if last else {}, err

    def rest(self, timeout_s: float = 15.0) -> None:
        """Raises AssertionError where a process or a run's folder is left after the run."""

        def left() -> list[object]:
            alive: list[object] = []
            for process in self.seen.values():
                with contextlib.suppress(psutil.NoSuchProcess):
                    if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                        alive.append(process)
            return [*alive, *([self.folder] if self.folder and self.folder.exists() else [])]

        give_up = time.monotonic() + timeout_s
        while found := left():
            if time.monotonic() > give_up:
                raise AssertionError(f"left behind: {found}")
            time.sleep(0.05)

    def abandon(self) -> None:
        """Kill whatever a failed trial has left."""
        self.look_around()
        for process in self.seen.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@contextmanager
def trial(*args: object) -> Iterator[Trial]:
    one = Trial(*args)
    try:
        yield one
    except BaseException:
        one.abandon()
        raise
    finally:
        for pipe in (one.process.stdout, one.process.stderr):
            if pipe is not None:
                pipe.close()


def campaign(one: Callable[[Path, str, str, int], str], most: int, doc: str | None) -> None:
    """Trials `one` by one, the networks and clocks by turns; a line of each, and an exit code.

    `one` takes a folder, the network, the clock and a seed; what it asserts and does not find is told.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--n", type=int, default=most)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    wrong = 0
    for n in range(given.n):
        name, clock = list(NETWORKS)[n % len(NETWORKS)], ("wall", "virtual")[n // len(NETWORKS) % 2]
        with tempfile.TemporaryDirectory() as folder:
            try:
                line = one(Path(folder), name, clock, given.seed + n)
            except AssertionError as error:
                wrong += 1
                line = f"WRONG {error}"
        print(f"{n + 1:3}  {line}", flush=True)
    print(f"{given.n - wrong} of {given.n} as they should be")
    raise SystemExit(wrong > 0)
