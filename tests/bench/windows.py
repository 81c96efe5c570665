"""[windows] Virtual clock, everybody active: process-windows per second."""

from __future__ import annotations

from typing import Any

from tests.bench.cluster import HERE, Failed, bare, run
from tests.bench.figure import Figure, compared, in_turn

CONFIG = HERE / "windows.toml"
N = 100
WINDOWS = 200
WINDOW_MS = 1.5
AT_LEAST = 0.7


def measure() -> list[Figure]:
    sizes: list[int] = []

    def ours() -> float:
        summary = windows_run(N, WINDOWS)
        sizes[:] = [round(summary[key] / summary["duties"]) for key in ("deliveries", "spikes")]
        return float(summary["duties"] / summary["wall_s"])

    def theirs() -> float:
        return float(bare("windows", N, WINDOWS, *sizes)["per_s"])

    peer = "a bare sequencer and processes that pack and unpack the same messages"
    found = in_turn(ours, theirs)
    return [compared("windows", "process-windows/s", found[0], peer, found[1], at_least=AT_LEAST,
                     spikes_in_and_out=sizes)]  # fmt: skip


def windows_run(n: int, windows: int) -> dict[str, Any]:
    """Summary of a run in which each of n processes had something to do in every window."""
    small = ["--set", f"synapses.0.indegree={n - 1}"] if n <= 10 else []
    summary = run(CONFIG, "--for", f"{windows * WINDOW_MS}ms", "--set", f"groups.n.count={n}", *small)
    if summary["duties"] < 0.95 * n * windows:
        raise Failed(f"{summary['duties']} duties in {windows} windows of {n} processes: not all were active")
    return summary
