"""[ready] [memory] The 302 processes of the worm: until the barrier opens, and what each weighs."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from statistics import mean

from neurobus.cluster.launcher import pss_kb
from tests.bench.cluster import ROOT, Failed, program, run, started
from tests.bench.figure import Figure, compared, in_turn

WORM = ROOT / "configs" / "worm" / "worm.toml"
N = 302
READY_AT_MOST = 2.0
MEMORY_AT_MOST = 2.5
MEMORY_MB = 8.0


def measure() -> list[Figure]:
    ours, theirs = in_turn(worm, bare_processes)
    ready = compared("ready", "s until all are connected", [s for s, _ in ours],
                     f"{N} bare processes that connect two sockets", [s for s, _ in theirs],
                     at_most=READY_AT_MOST)  # fmt: skip
    memory = compared("memory", "MB a process (PSS)", [mb for _, mb in ours], "the same bare processes",
                      [mb for _, mb in theirs], at_most=MEMORY_AT_MOST)  # fmt: skip
    assert memory.value is not None
    goal = f"{memory.goal} and ≤ {MEMORY_MB:g} MB"
    return [ready, replace(memory, goal=goal, met=memory.met and memory.value <= MEMORY_MB)]


def worm() -> tuple[float, float]:
    """Seconds from the start of the launch to the barrier; MB measured by the launcher at the run's end."""
    summary = run(WORM, "--for", "500ms", "--set", "switches.touch_nose=true")
    if summary["processes"] < N:
        raise Failed(f"the worm has {summary['processes']} processes, and not {N}")
    return summary["ready_s"], summary["pss_mb_per_process"]


def bare_processes() -> tuple[float, float]:
    begun = time.monotonic()
    with started(program("tests.bench.bare", "processes", N)) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        ready_s = time.monotonic() - begun
        sizes = [pss_kb(pid) or 0 for pid in json.loads(line)["pids"]]
        process.communicate("\n", timeout=30)
    return ready_s, mean(sizes) / 1024
