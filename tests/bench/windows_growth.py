"""[windows_growth] The cost of a process-window as the network grows."""

from __future__ import annotations

from statistics import median

from tests.bench.figure import Figure, in_turn, spread
from tests.bench.windows import windows_run

WINDOWS = {10: 1000, 100: 150, 300: 60, 1000: 25}
REFERENCE = 100
AT_MOST = 1.5


def measure() -> list[Figure]:
    found = in_turn(*(lambda n=n, windows=windows: cost_us(n, windows) for n, windows in WINDOWS.items()))
    costs = dict(zip(WINDOWS, found, strict=True))
    reference = median(costs[REFERENCE])
    # Flat is neither dearer nor cheaper: the size that differs most, in either direction.
    value = max((median(c) for c in costs.values()), key=lambda cost: max(cost / reference, reference / cost))
    met = max(value / reference, reference / value) <= AT_MOST
    more = {f"us_at_{n}": round(median(c), 1) for n, c in costs.items()}
    more |= {f"spread_at_{n}": spread(c) for n, c in costs.items()}
    goal, peer = (
        f"flat within {AT_MOST} ×",
        f"itself at {REFERENCE} (10 to 1000 neurons; the one farthest off)",
    )
    return [Figure("windows_growth", value, "µs a process-window", goal, met, peer, reference, more)]


def cost_us(n: int, windows: int) -> float:
    summary = windows_run(n, windows)
    return float(summary["wall_s"] / summary["duties"] * 1e6)
