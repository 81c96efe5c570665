"""Synaptic fatigue on heterogeneous graphs: how much of it a memory stands, and what comes beyond.

N binary neurons on a graph with degrees k store patterns by covariance. Fatigue weakens the synapses of an
axon that was active by up to |Phi|. In mean field an attractor needs beta w (1 - |Phi|) <k²> > 2 <k>², so
the critical fatigue grows with the heterogeneity <k²> / <k>. Beyond it the activity leaves a pattern when its
synapses are tired and falls into a fresh one.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from neurobus.exhibits import Exhibit, Lab, Row, Run
from neurobus.model import Array
from neurobus.picture import COLOURS, GREY, INK, MARK

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXPONENTS = (6.0, 3.2, 2.6, 2.2)
SEEDS = (1, 2, 3, 4, 5)
"""Of the graphs of each exponent: one graph alone can swap neighbours."""
GROUPS = tuple(f"f{n:02d}" for n in range(9))
REGIMES = {"stays": "fatigue 0.2: the pattern stays", "hops": "fatigue 0.6: hopping among patterns",
           "forgets": "fatigue 1: none lasts"}  # fmt: skip
END_MS, LONG_MS = 300, 900
SOURCE = "Johnson, Marro & Torres 2008"


class Fatigue(Exhibit):
    title = "Memory that tires"
    claim = (
        "The more heterogeneous the wiring, the more fatigue a stored pattern survives; then activity hops."
    )
    source = "Johnson, Marro, Torres 2008, EPL 83:46006 (arXiv:0805.1309): its monotony and its regimes"
    quick = False
    size_in = (9.6, 6.4)

    def measure(self, lab: Lab) -> list[Row]:
        self.curves: dict[float, Array] = {}
        self.heterogeneity: dict[float, float] = {}
        for exponent in EXPONENTS:
            changes = [f"graded.{n}.exponent={exponent}" for n in range(len(GROUPS))]
            runs = [lab.run("fatigue", *changes, seed=seed) for seed in SEEDS]
            self.curves[exponent] = np.mean([curve(run) for run in runs], axis=0)
            self.heterogeneity[exponent] = float(np.mean([spread_of_degrees(run) for run in runs]))
        self.critical = {exponent: critical_fatigue(m) for exponent, m in self.curves.items()}
        run = lab.run("fatigue", "switches.regimes=true", "run.record_potentials=[]", for_ms=LONG_MS, seed=5)
        self.overlaps = {name: overlap(run, name, LONG_MS) for name in REGIMES}
        found = list(self.critical.values())
        tables = {name: visits(m) for name, m in self.overlaps.items()}
        rows = [Row.told(f"critical fatigue at <k²>/<k> = {self.heterogeneity[e]:.0f}", c)
                for e, c in self.critical.items()]  # fmt: skip
        return [
            *rows,
            Row.that("it grows with heterogeneity", all(a < b for a, b in pairwise(found)),
                     " < ".join(f"{c:.2f}" for c in found), "monotone", SOURCE),
            Row.near("fatigue 0.2: changes of pattern", tables["stays"][0], 0, 0, "", "attractor"),
            Row.above("fatigue 0.6: changes of pattern", tables["hops"][0], 5, "", "hopping"),
            Row.above("fatigue 0.6: patterns visited", tables["hops"][1], 1, "", "of 3 and their negatives"),
            Row.below("fatigue 1: mean of the largest overlap", tables["forgets"][2], tables["hops"][2],
                      "", "below that of hopping"),
        ]  # fmt: skip

    def draw(self, figure: Figure) -> None:
        grid = figure.add_gridspec(3, 2, width_ratios=(1.75, 1))
        for row, (name, title) in enumerate(REGIMES.items()):
            axis = figure.add_subplot(grid[row, 0])
            for n, m in enumerate(self.overlaps[name].T):
                axis.plot(np.arange(m.size), m, color=COLOURS[n], linewidth=0.9)
            axis.axhline(0, color=GREY, linewidth=0.5)
            axis.set(title=title, xlim=(0, LONG_MS), ylim=(-1.05, 1.05), ylabel="overlap", yticks=[-1, 0, 1])
            if row < 2:
                axis.tick_params(labelbottom=False)
        axis.set_xlabel("time (ms)")
        above, below = figure.add_subplot(grid[:2, 1]), figure.add_subplot(grid[2, 1])
        fatigue = np.arange(len(GROUPS)) / 10
        for n, (exponent, m) in enumerate(self.curves.items()):
            label = f"γ = {exponent:g},  {self.heterogeneity[exponent]:.0f}"
            above.plot(fatigue, m, "o-", color=COLOURS[n], markersize=3.5, linewidth=1.1, label=label)
        above.legend(title="exponent, ⟨k²⟩/⟨k⟩", title_fontsize=8)
        above.set(title="The pattern is lost", xlabel="fatigue", ylabel="overlap", ylim=(-0.05, 1))
        x = [self.heterogeneity[exponent] for exponent in EXPONENTS]
        below.plot(x, list(self.critical.values()), "o-", color=INK, markersize=5, linewidth=1)
        below.set(title="Critical fatigue", xlabel="heterogeneity ⟨k²⟩/⟨k⟩", ylabel="fatigue")
        below.axhline(min(self.critical.values()), color=MARK, linewidth=0.5, linestyle=":")


def overlap(run: Run, group: str, ms: int) -> Array:
    """Overlap with each stored pattern at every millisecond, -1 to 1; shape (ms, patterns)."""
    patterns = run.network.patterns[group] * 2.0 - 1.0
    active = np.zeros((ms + 1, patterns.shape[1]))
    t, member = run.raster(group)
    active[np.minimum(np.rint(t).astype(int), ms), member.astype(int)] = 1.0
    result: Array = (2 * active[1:] - 1) @ patterns.T / patterns.shape[1]
    return result


def curve(run: Run) -> Array:
    """Mean overlap with the stored pattern over the second half, by fatigue."""
    return np.array([overlap(run, group, END_MS)[END_MS // 2 :, 0].mean() for group in GROUPS])


def critical_fatigue(m: Array) -> float:
    """Where the overlap falls through half of what it is without fatigue."""
    half = m[0] / 2
    n = int(np.argmax(m < half))
    return float((n - 1 + (m[n - 1] - half) / (m[n - 1] - m[n])) / 10)


def spread_of_degrees(run: Run) -> float:
    """<k²> / <k> of the graphs in the run."""
    k = np.bincount(run.network.graded.pre).astype(float)
    return float((k**2).mean() / k.mean())


def visits(m: Array) -> tuple[int, int, float]:
    """Changes of the pattern with an overlap beyond 0.35, how many such there are (a negative is one of its
    own), and the mean of the largest overlap; after 100 ms."""
    late = m[100:]
    which = np.abs(late).argmax(axis=1)
    largest = np.take_along_axis(late, which[:, None], 1)[:, 0]
    kept = (which * 2 + (largest < 0))[np.abs(largest) > 0.35]
    return int(np.sum(np.diff(kept) != 0)), int(np.unique(kept).size), float(np.abs(largest).mean())
