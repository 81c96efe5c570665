"""Cell assemblies: patterns stored in the weights are attractors, and a part of one recalls the whole.

    w_ij ∝ sum over patterns of (x_i - a)(x_j - a) / (a (1 - a)),   a: share of cells active in a pattern

(Hopfield 1982; with few cells active: Tsodyks & Feigel'man 1988; in spiking cells: Amit & Brunel 1997).
The overlap with pattern x is the sum of (x_i - a) s_i / (N a (1 - a)), s_i = 1 for a cell that fired in the
last 20 ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neurobus.exhibits import Exhibit, Lab, Row
from neurobus.model import Array
from neurobus.picture import COLOURS, FAINT, GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 120
BIN_MS, CUES_MS = 20.0, ((200.0, 260.0), (600.0, 660.0))


class Assemblies(Exhibit):
    title = "Cell assemblies"
    claim = "A part of a stored pattern recalls the whole, which lasts without input until another is called."
    source = "Hopfield 1982; Tsodyks & Feigel'man 1988; Amit & Brunel 1997"
    controls = ("synapses.0.weight=0 pA",)
    size_in = (9.6, 5.4)

    def measure(self, lab: Lab) -> list[Row]:
        self.run = run = lab.run("assemblies")
        self.patterns = run.network.patterns["cells"]
        self.bins = np.arange(0.0, run.log.end_ns / 1e6 + 1, BIN_MS)
        fired = np.array([np.histogram(train, self.bins)[0] > 0 for train in run.trains_ms("cells")])
        share = self.patterns.mean(axis=1, keepdims=True)
        self.overlap = (self.patterns - share) @ fired / (share * (1 - share) * fired.shape[0])
        net = run.network
        cued = np.isin(
            np.arange(net.n_neurons), net.synapses.post[np.isin(net.synapses.pre, run.members("cue0"))]
        )
        uncued = self.patterns[0] & ~cued
        recalled = fired[uncued][:, self._between(300, 600)].mean()
        return [
            Row.below("overlap with any pattern before the first cue", self._mean(0, 200).max(), 0.2),
            Row.near("cells of the pattern that the cue reaches", cued.sum() / self.patterns[0].sum(), 0.6,
                     0.2),
            Row.above("of those it does not reach, firing long after it", recalled, 0.9,
                      source="pattern completion: Hopfield 1982"),
            Row.above("overlap with pattern 0, from 300 to 600 ms", self._mean(300, 600)[0], 0.9,
                      source="attractor: Amit & Brunel 1997"),
            Row.below("overlap with pattern 1 meanwhile", self._mean(300, 600)[1], 0.3),
            Row.above("overlap with pattern 1, from 700 to 1000 ms", self._mean(700, 1000)[1], 0.9,
                      source="attractor: Amit & Brunel 1997"),
            Row.below("overlap with pattern 0 meanwhile", self._mean(700, 1000)[0], 0.3),
        ]  # fmt: skip

    def _between(self, start_ms: float, end_ms: float) -> slice:
        return slice(int(start_ms / BIN_MS), int(end_ms / BIN_MS))

    def _mean(self, start_ms: float, end_ms: float) -> Array:
        found: Array = self.overlap[:, self._between(start_ms, end_ms)].mean(axis=1)
        return found

    def draw(self, figure: Figure) -> None:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.7, 1))
        self._raster(above)
        for number, (overlap, colour) in enumerate(zip(self.overlap, COLOURS, strict=False)):
            below.step(self.bins[1:], overlap, color=colour, linewidth=1.4, label=f"pattern {number}")
        below.set(xlabel="time (ms)", ylabel="overlap", xlim=(0, self.bins[-1]), ylim=(-0.2, 1.1))
        below.legend(loc="upper left", ncols=1)
        for axis in (above, below):
            axis.grid(axis="x", color=FAINT, linewidth=0.6)
            for (start, end), colour in zip(CUES_MS, COLOURS, strict=False):
                axis.axvspan(start, end, color=colour, alpha=0.12, linewidth=0)

    def _raster(self, axis: Axes) -> None:
        """Cells in the order of their first pattern; those of several stand between."""
        key = self.patterns.argmax(axis=0) + np.where(self.patterns.any(axis=0), 0, len(self.patterns))
        row = np.argsort(np.argsort(key * 10 + self.patterns.sum(axis=0), kind="stable"))
        t, cell = self.run.raster("cells")
        for group in range(len(self.patterns) + 1):
            mine = key[cell.astype(int)] == group
            colour = COLOURS[group] if group < len(self.patterns) else GREY
            axis.plot(
                t[mine], row[cell[mine].astype(int)], ".", markersize=3, markeredgewidth=0, color=colour
            )
        axis.set(ylim=(SHOWN, -1), ylabel=f"cell, by pattern ({SHOWN} of {len(key)})")
        for (start, _), words in zip(CUES_MS, ("part of pattern 0", "part of pattern 1"), strict=True):
            axis.annotate(words, (start, 1), (0, 3), xycoords=axis.get_xaxis_transform(),
                          textcoords="offset points", color=GREY)  # fmt: skip
