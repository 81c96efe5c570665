"""Winnerless competition: an order of states that repeats itself, and what it takes.

    tau dx_i/dt = x_i (alpha_i - sum_j rho_ij x_j) + noise

With rho_ii = alpha / beta, (alpha - alpha / nu) / beta towards the next state and 2 alpha / beta else, the
state in which i alone is active is a saddle: the next state grows at lambda_u = alpha / nu, all others die at
alpha. For nu > 1 trajectories that run from saddle to saddle are stable (a stable heteroclinic channel); the
time spent at each grows as ln(1 / noise) / lambda_u.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from neurobus.exhibits import Exhibit, Lab, Row, Run
from neurobus.model import Array
from neurobus.picture import COLOURS, GREY, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TAU_MS, NU, END_MS = 20.0, 1.5, 12_000.0
RINGS = ("r0", "r1", "r2", "r3", "r4")
NOISE = {"s2": 1e-2, "r0": 1e-3, "s4": 1e-4, "s5": 1e-5}
TRACES = {
    "r0": "Unequal inhibition, ν = 1.5: a sequence that repeats itself",
    "lost0": "ν = 0.7: no channel, no sequence",
    "even_b": "Equal inhibition: the winner stays",
}
EVEN = ("even_a", "even_b", "even_c")
SOURCE = "Rabinovich et al. 2008"


class Winnerless(Exhibit):
    title = "Competition without a winner"
    claim = (
        "Units that inhibit each other unequally take turns in one order; equal inhibition freezes a winner."
    )
    source = (
        "Rabinovich, Huerta, Varona, Afraimovich 2008, PLoS Comput Biol 4:e1000072; Afraimovich et al. 2004"
    )
    size_in = (9.6, 6.4)
    controls = (
        # As much inhibition in each pair, but the same both ways: noise still makes the units take turns, in
        # an order that is chance.
        ("graded.0.csv=winnerless_symmetric.csv", *(f"groups.{ring}.params.sigma=0.1" for ring in RINGS)),
        # At a saddle the next state grows at 1 - 1 / (3 rho), the other dies at 2 / rho - 1: nu = 0.56, and
        # r0 has no channel any more.
        "groups.r0.params.rho=1.4",
    )

    def measure(self, lab: Lab) -> list[Row]:
        self.run = lab.run("winnerless")
        alone = lab.run("winnerless", "run.neurons_per_process=1", for_ms=200)
        orders = {ring: states(activity(self.run, ring)) for ring in RINGS}
        self.dwell = {noise: dwell_ms(self.run, ring) for ring, noise in NOISE.items()}
        slope = slope_ms(self.dwell) / TAU_MS
        lost = [activity(self.run, ring) for ring in ("lost0", "lost1")]
        even = [states(activity(self.run, ring)) for ring in EVEN]
        same = all(np.array_equal(first(self.run, i), first(alone, i)) for i in range(len(alone.network.ids)))
        return [
            Row.above("switches in five rings, nu = 1.5", sum(map(switches, orders.values())), 100),
            Row.near("of these in the order of the inhibition", in_order(orders.values()), 100, 0, "%",
                     SOURCE),
            Row.near("time at a saddle: slope against ln(1/noise), in tau", slope, NU, 0.15 * NU, "",
                     "1 / lambda_u = nu / alpha"),
            Row.below("nu = 0.7: time in which one unit has 80 % of the activity",
                      100 * max(float(alone_share(x)) for x in lost), 5, "%", "no channel for nu < 1"),
            Row.above("the same for nu = 1.5", 100 * float(alone_share(activity(self.run, "r0"))), 50, "%"),
            Row.near("equal inhibition: switches", sum(map(switches, even)), 0, 0, "", "multistability"),
            Row.that("equal inhibition: winners from three starts", [o[-1] for o in even] == [0, 1, 2],
                     ", ".join(str(o[-1]) for o in even), "0, 1, 2: who began ahead", SOURCE),
            Row.that("each unit a process of its own", same, "the same, bit for bit" if same else "others",
                     "the same samples", "any packing"),
        ]  # fmt: skip

    def draw(self, figure: Figure) -> None:
        grid = figure.add_gridspec(3, 2, width_ratios=(1.75, 1))
        for row, (ring, title) in enumerate(TRACES.items()):
            axis = figure.add_subplot(grid[row, 0])
            x = activity(self.run, ring)
            t = np.arange(len(x)) / 1000
            for unit in range(3):
                axis.plot(t, x[:, unit], color=COLOURS[unit], linewidth=1.1)
                axis.fill_between(t, x[:, unit], color=COLOURS[unit], alpha=0.12, linewidth=0)
            axis.set(title=title, xlim=(0, 3), ylim=(0, 1.15), ylabel="activity x", yticks=[0, 1])
            if row < 2:
                axis.tick_params(labelbottom=False)
        axis.set_xlabel("time (s)")
        self._simplex(figure.add_subplot(grid[:2, 1]))
        self._dwell(figure.add_subplot(grid[2, 1]))

    def _simplex(self, axis: Axes) -> None:
        """The three activities as a point in a triangle whose corners are the saddles."""
        corners = np.array([[0, 0], [1, 0], [0.5, np.sqrt(3) / 2]])
        for ring, colour, alpha in (("r0", INK, 0.55), ("lost0", COLOURS[3], 0.8)):
            x = activity(self.run, ring)[200:3000]
            at = (x / np.maximum(x.sum(1, keepdims=True), 1e-9)) @ corners
            axis.plot(*at.T, color=colour, linewidth=0.8, alpha=alpha)
        axis.plot(*corners[[0, 1, 2, 0]].T, color=GREY, linewidth=0.6)
        for unit, corner in enumerate(corners):
            axis.plot(*corner, "o", color=COLOURS[unit], markersize=9)
        axis.text(0.5, 0.2, "ν = 0.7", color=COLOURS[3], ha="center")
        axis.text(0.5, -0.09, "ν = 1.5: from saddle to saddle", color=INK, ha="center")
        axis.set(title="The heteroclinic channel", aspect="equal", ylim=(-0.13, 0.95))
        axis.axis("off")

    def _dwell(self, axis: Axes) -> None:
        axis.set(title="Time at a saddle: ln(1/noise) / λ", xlabel="noise σ", ylabel="dwell time (ms)")
        noise, ms = np.array(list(self.dwell)), np.array(list(self.dwell.values()))
        if not np.isfinite(ms).all():
            axis.text(0.5, 0.5, "not every ring switches", color=GREY, ha="center", transform=axis.transAxes)
            return
        axis.semilogx(noise, np.polyval([TAU_MS * NU, ms.mean() - TAU_MS * NU * np.log(1 / noise).mean()],
                                        np.log(1 / noise)), "--", color=GREY, linewidth=1)  # fmt: skip
        axis.semilogx(noise, ms, "o", color=COLOURS[0], markersize=5)
        slope = slope_ms(self.dwell) / TAU_MS
        axis.text(noise.min(), ms.min(), f"slope {slope:.2f} τ; theory {NU} τ", color=GREY)


def first(run: Run, index: int) -> Array:
    """The samples of the first 190 ms of one unit."""
    mine = (run.log.samples.i == index) & (run.log.samples.t < 190_000_000)
    return np.array(run.log.samples.v_mv[mine])


def activity(run: Run, ring: str) -> Array:
    """x of the three units at every millisecond, as others know it; shape (ms, 3)."""
    t = np.arange(1.0, END_MS)
    columns = []
    for id in run.ids(ring):
        at, x = run.potential(id)
        columns.append(np.append(0.0, x)[np.searchsorted(at, t, side="right")])
    return np.array(columns).T


def states(x: Array) -> list[int]:
    """Who was above a half, one after the other."""
    who = x.argmax(axis=1)[x.max(axis=1) > 0.5]
    return [int(who[0]), *who[1:][np.diff(who) != 0].tolist()] if who.size else []


def switches(order: list[int]) -> int:
    return max(len(order) - 1, 0)


def in_order(orders: Iterable[list[int]]) -> float:
    """Share of switches (%) that lead to the next unit of the ring."""
    steps = [(b - a) % 3 for order in orders for a, b in pairwise(order)]
    return 100 * steps.count(1) / len(steps) if steps else 0.0


def dwell_ms(run: Run, ring: str) -> float:
    """Mean time from one switch to the next, the first three left out; NaN where there are too few."""
    x = activity(run, ring)
    who = np.where(x.max(axis=1) > 0.5, x.argmax(axis=1), -1)
    held = who >= 0
    at_ms = np.flatnonzero(held)[1:][np.diff(who[held]) != 0] if held.any() else np.empty(0)
    lasted = np.diff(at_ms)[3:]
    return float(lasted.mean()) if lasted.size else np.nan


def slope_ms(dwell: dict[float, float]) -> float:
    """Of the dwell time against ln(1 / noise); NaN where a ring does not switch."""
    noise, ms = np.array(list(dwell)), np.array(list(dwell.values()))
    return float(np.polyfit(np.log(1 / noise), ms, 1)[0]) if np.isfinite(ms).all() else np.nan


def alone_share(x: Array) -> float:
    """Share of the second half of the time in which one unit has more than 80 % of the activity."""
    late = x[len(x) // 2 :]
    return float((late.max(axis=1) > 0.8 * late.sum(axis=1)).mean())
