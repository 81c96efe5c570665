"""[windows_growth] The cost of a process-window as the network grows."""

from __future__ import annotations

from statistics import median

from tests.bench.cluster import bare
from tests.bench.figure import Figure, in_turn, spread
from tests.bench.windows import windows_run

SIZES = (10, 100, 300, 1000)
WINDOWS = 200
"""As many for all: each process's first windows copy pages, and must not weigh more where there are many."""
REFERENCE, LARGEST = 100, 1000
AT_MOST = 1.5


def measure() -> list[Figure]:
    sizes: list[int] = []
    found = in_turn(
        *(lambda n=n: cost_us(n, sizes) for n in SIZES),
        *(lambda n=n: bare_us(n, sizes) for n in (REFERENCE, LARGEST)),
    )
    costs = dict(zip(SIZES, found, strict=False))
    small, large = (median(c) for c in found[len(SIZES) :])
    reference = median(costs[REFERENCE])
    # Flat is neither dearer nor cheaper: the size that differs most, in either direction.
    value = max((median(c) for c in costs.values()), key=lambda cost: max(cost / reference, reference / cost))
    met = max(value / reference, reference / value) <= AT_MOST
    more = {f"us_at_{n}": round(median(c), 1) for n, c in costs.items()}
    more |= {f"spread_at_{n}": spread(c) for n, c in costs.items()}
    more |= {"growth_of_the_bare_peer": round(large / small, 2)}
    goal, peer = (
        f"flat within {AT_MOST} ×",
        f"itself at {REFERENCE} (10 to 1000 neurons; the one farthest off)",
    )
    return [Figure("windows_growth", value, "µs a process-window", goal, met, peer, reference, more)]


def cost_us(n: int, sizes: list[int]) -> float:
    """`sizes` becomes spikes into and out of a window, for the peer."""
    summary = windows_run(n, WINDOWS)
    sizes[:] = [round(summary[key] / summary["duties"]) for key in ("deliveries", "spikes")]
    return float(summary["wall_s"] / summary["duties"] * 1e6)


def bare_us(n: int, sizes: list[int]) -> float:
    return 1e6 / float(bare("windows", n, WINDOWS, *sizes)["per_s"])
