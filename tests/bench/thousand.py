"""[thousand] A thousand neuron processes run one second of model time and stop cleanly."""

from __future__ import annotations

import time
from statistics import median

from tests.bench.cluster import HERE, Failed, left_behind, run
from tests.bench.figure import Figure, in_turn, spread

N = 1000


def measure() -> list[Figure]:
    (found,) = in_turn(once)
    totals, ready, conduct = zip(*found, strict=True)
    more = {"spread": spread(totals), "ready_s": round(median(ready), 2), "run_s": round(median(conduct), 2)}
    goal = "runs 1 s, stops cleanly"
    return [Figure("thousand", median(totals), "s from start to nothing left", goal, True, "", None, more)]


def once() -> tuple[float, float, float]:
    """Seconds in all, until the barrier, and of the run. Raises `Failed` if anything went wrong."""
    begun = time.monotonic()
    summary = run(HERE / "thousand.toml")
    total_s = time.monotonic() - begun
    whole = {"processes": N, "lost": 0, "late": 0, "duplicates": 0, "dropped": 0, "restarts": 0, "notes": []}
    wrong = {key: summary[key] for key, right in whole.items() if summary[key] != right}
    if wrong or abs(summary["model_s"] - 1) > 1e-9:
        raise Failed(f"the run was not whole: {wrong}")
    if left := left_behind():
        raise Failed(f"{len(left)} processes were left behind")
    return total_s, summary["ready_s"], summary["wall_s"]
