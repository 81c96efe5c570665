"""Rank-order coding: order decides, contrast does not, and one spike per input is enough.

    response = sum over inputs of mod^rank w,   in the order of their arrival (Thorpe & Gautrais 1998)

With w = mod^rank set for one order of n inputs, the response to that order is (1 - mod^2n) / (1 - mod^2), the
largest there is, and n mod^(n - 1) to the order turned round, the smallest (rearrangement inequality).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from neurobus.exhibits import Exhibit, Lab, Row
from neurobus.model import Array
from neurobus.picture import COLOURS, FAINT, GREY, INK, MARK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

N, CELLS, MOD = 64, 6, 0.9
CONTRASTS = (1.0, 0.5, 0.35, 0.2)
TURNED = CELLS * len(CONTRASTS)
PERIOD_MS, START_MS = 150.0, 1.0


class Thorpe(Exhibit):
    title = "Order decides, contrast does not"
    claim = ("A cell set for one order of arrival answers most to that order, at any contrast, "
             "from one spike per input.")  # fmt: skip
    source = "Thorpe 1990; Thorpe & Gautrais 1998; Delorme & Thorpe 2001"
    size_in = (9.6, 6.2)

    def measure(self, lab: Lab) -> list[Row]:
        self.run = lab.run("thorpe")
        self.x = np.loadtxt(lab.path("thorpe_samples.csv"), delimiter=",", skiprows=1)
        samples = len(self.x)
        edges: Array = START_MS + PERIOD_MS * np.arange(samples + 1, dtype=np.float64)
        trains = self.run.trains_ms("pixel")
        fired = np.array([np.histogram(train, edges)[0] for train in trains])
        self.response = np.array([self._responses(f"cell.{cell}", edges) for cell in range(CELLS)])
        patches = self.response[:, :TURNED].reshape(CELLS, len(CONTRASTS), CELLS)
        self.matrix = patches[:, 0]
        own = np.array([patches[cell, :, cell] for cell in range(CELLS)])
        self.own, self.random = own[0, 0], self.response[0, TURNED + 1 :]
        self.turned = self.response[0, TURNED]
        winners = patches.argmax(axis=0)
        right = int(np.sum(winners == np.arange(CELLS)))
        return [
            Row.near("response to the order it was set for", self.own, (1 - MOD ** (2 * N)) / (1 - MOD**2),
                     1e-9, source="(1 - mod^2n) / (1 - mod²)"),
            Row.near("response to that order turned round", self.turned, N * MOD ** (N - 1), 1e-9,
                     source="n mod^(n - 1)"),
            Row.below(f"largest response to {self.random.size} other orders", self.random.max(), self.own,
                      source="rearrangement inequality"),
            Row.above("smallest of them", self.random.min(), self.turned, source="rearrangement inequality"),
            Row.near("change of response from contrast 1 to 0.2", np.ptp(own, axis=1).max(), 0, 1e-9,
                     source="Thorpe 1990: only the order counts"),
            Row.that("spikes per input and sample", bool(np.all(fired == 1)),
                     f"{fired.min()} to {fired.max()}", "1"),
            Row.near(f"patches told apart, of {CELLS} at {len(CONTRASTS)} contrasts", right,
                     CELLS * len(CONTRASTS), 0, source="Delorme & Thorpe 2001"),
        ]  # fmt: skip

    def _responses(self, cell: str, edges: Array) -> Array:
        """The largest response of a cell in each sample's slot."""
        t, v = self.run.potential(cell)
        slot = np.searchsorted(edges, t, side="right") - 1
        found = np.zeros(edges.size - 1)
        inside = (slot >= 0) & (slot < found.size)
        np.maximum.at(found, slot[inside], v[inside])
        return found

    def draw(self, figure: Figure) -> None:
        mosaic: Any = [["p0", "raster", "steps"], ["p2", "raster", "steps"], ["p3", "raster", "steps"],
                       ["m", "orders", "orders"]]  # fmt: skip
        axes = figure.subplot_mosaic(mosaic, width_ratios=(0.55, 1, 1), height_ratios=(1, 1, 1, 1.8))
        for number, name in ((0, "p0"), (1, "p2"), (3, "p3")):
            image = self.x[CELLS * number].reshape(8, 8)
            axes[name].imshow(image, cmap="gray", vmin=0, vmax=N)
            axes[name].set(xticks=[], yticks=[])
            axes[name].set_ylabel(f"{CONTRASTS[number]:g}", rotation=0, ha="right", va="center")
            axes[name].yaxis.label.set_color(_shade(number))
        axes["p0"].set_title("Contrast")
        self._raster(axes["raster"])
        self._steps(axes["steps"])
        self._matrix(axes["m"])
        self._orders(axes["orders"])

    def _raster(self, axis: Axes) -> None:
        rank = np.argsort(np.argsort(-self.x[0]))
        for number in (0, 1, 3):
            begin = START_MS + PERIOD_MS * CELLS * number
            t, pixel = self.run.raster("pixel")
            now = (t >= begin) & (t < begin + PERIOD_MS)
            axis.plot(t[now] - begin, rank[pixel[now].astype(int)], ".", markersize=3.5, color=_shade(number))
        axis.set(title="One spike per pixel", xlabel="time after the patch (ms)",
                 ylabel="pixel, by brightness", ylim=(N, -1), xlim=(-2, 102))  # fmt: skip
        axis.grid(color=FAINT, linewidth=0.6)

    def _steps(self, axis: Axes) -> None:
        t, v = self.run.potential("cell.0")
        for number in (0, 1, 3):
            begin = START_MS + PERIOD_MS * CELLS * number
            now = (t >= begin) & (t < begin + 110)
            since, response = [0, *(t[now] - begin)], [0, *v[now]]
            axis.step(since, response, where="post", color=_shade(number), linewidth=1.2)
        axis.axhline(self.own, color=GREY, linewidth=0.7, linestyle="--")
        axis.set(title="The cell set for it: the same response", xlabel="time after the patch (ms)",
                 ylabel="response", xlim=(-2, 110), ylim=(0, self.own * 1.08))  # fmt: skip
        axis.grid(color=FAINT, linewidth=0.6)

    def _matrix(self, axis: Axes) -> None:
        axis.imshow(self.matrix, cmap="Blues", vmin=0)
        axis.set(
            title="Cells and patches", xlabel="patch", ylabel="cell", xticks=range(CELLS), yticks=range(CELLS)
        )
        axis.tick_params(length=0)

    def _orders(self, axis: Axes) -> None:
        axis.hist(self.random, list(np.linspace(0, self.own, 50)), color=COLOURS[0], alpha=0.7)
        marks = (self.turned, "turned round", COLOURS[1], "left"), (self.own, "its own order", MARK, "right")
        for value, words, colour, side in marks:
            axis.axvline(value, color=colour, linewidth=1.4)
            axis.annotate(words, (value, 1), (-4 if side == "right" else 4, -4), textcoords="offset points",
                          xycoords=axis.get_xaxis_transform(), color=colour, va="top", ha=side)  # fmt: skip
        axis.set(title=f"Response to {self.random.size} random orders of the same spikes", xlabel="response",
                 ylabel="orders", xlim=(0, self.own * 1.05))  # fmt: skip
        axis.grid(color=FAINT, linewidth=0.6)


def _shade(number: int) -> str:
    return (INK, COLOURS[0], "", COLOURS[1])[number]
