"""Spike-timing-dependent plasticity: the curve of pairs, and competition between a thousand inputs.

A pair whose postsynaptic spike comes Dt after (before) the presynaptic one changes the weight by

    W_max A+ exp(-Dt / tau)     (-W_max A- exp(Dt / tau)),        A+ = 0.01, A- = 1.05 A+, tau = 20 ms

Under Poisson inputs depression wins on the whole, and what helps to make the neuron fire escapes it: the
weights part into two heaps, and the rate falls to where the neuron fires by chance of its inputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neurobus.exhibits import Exhibit, Lab, Row
from neurobus.picture import COLOURS, FAINT, GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TAU_MS, A_PLUS, A_MINUS, PAIRS = 20.0, 0.01, 0.0105, 20
DT_MS = np.array([5.0 * k for k in range(-20, 21) if k])
"""Of each neuron `pair.k`, as its synapse sees it; with the delay 1 ms the soma fires 1 ms before."""
SECONDS, BINS = 100, 20


class Stdp(Exhibit):
    title = "Spike-timing-dependent plasticity"
    claim = "Pairs move a weight by their order and distance; a thousand weights part into two heaps."
    source = "Bi & Poo 1998; Song, Miller & Abbott 2000"
    quick = False
    controls = (
        'synapses.0.params={ W_max = "0.1 nS", lambda_ = 0.01, alpha = 0.9, mu_plus = 0, mu_minus = 0 }',
    )

    def measure(self, lab: Lab) -> list[Row]:
        run = lab.run("stdp", "switches.pairs=true", for_ms=PAIRS * 1e3, keep_state=True)
        self.moved = (run.weights("pre", "pair") - 0.5) / PAIRS
        fired = [train.size for train in run.trains_ms("pair")]
        self.expected = np.where(DT_MS > 0, A_PLUS, -A_MINUS) * np.exp(-np.abs(DT_MS) / TAU_MS)
        worst = np.abs(self.moved - self.expected).max()
        rows = [
            Row.that("every neuron fires once a pair", set(fired) == {PAIRS}, f"{min(fired)}", f"{PAIRS}"),
            Row.near("largest distance from the exponentials", worst, 0, 1e-5, source="closed form"),
        ]  # fmt: skip
        for side, word in ((DT_MS > 0, "potentiation"), (DT_MS < 0, "depression")):
            slope = np.polyfit(np.abs(DT_MS[side]), np.log(np.abs(self.moved[side])), 1)[0]
            right = bool(np.all(np.sign(self.moved[side]) == np.sign(DT_MS[side])))
            rows.append(
                Row.near(f"time constant of {word}", -1 / slope, TAU_MS, 0.1, "ms", "Song et al. 2000")
            )
            rows.append(Row.that(f"{word} all along its side", right, "yes" if right else "no", "yes"))

        run = lab.run("stdp", keep_state=True)
        self.weights = run.weights("input", "neuron") / 0.1
        self.counts = np.histogram(self.weights, 10, (0, 1))[0]
        self.rate_hz = np.histogram(run.spikes_ms("neuron"), np.arange(0, SECONDS + 1) * 1e3)[0]
        middle = self.counts[3:7].max()
        end_hz = self.rate_hz[-20:].mean()
        apart = self.counts[1:-1].max() < min(self.counts[[0, -1]])
        return [
            *rows,
            Row.that("two heaps: both ends above all between", apart, " ".join(map(str, self.counts)),
                     "of 10 bins"),
            Row.above("lowest tenth, by the fullest of the middle", self.counts[0] / middle, 2),
            Row.above("highest tenth, by the fullest of the middle", self.counts[-1] / middle, 1.5),
            Row.between("rate at the end", end_hz, 5, 30, "Hz", "Song et al. 2000"),
            Row.above("rate in the first second, by that", self.rate_hz[0] / end_hz, 1.5),
        ]  # fmt: skip

    def draw(self, figure: Figure) -> None:
        axes = figure.subplot_mosaic([["pairs", "heaps"], ["pairs", "rate"]], height_ratios=(2, 1))
        self._pairs(axes["pairs"])
        axes["heaps"].hist(self.weights, bins=BINS, range=(0, 1), color=COLOURS[0], rwidth=0.9)
        axes["heaps"].set(
            title=f"1,000 weights after {SECONDS} s", xlabel="weight / largest", ylabel="synapses"
        )
        axes["rate"].step(np.arange(SECONDS), self.rate_hz, where="post", color=COLOURS[1], linewidth=1)
        axes["rate"].set(xlabel="time (s)", ylabel="rate (Hz)", xlim=(0, SECONDS), ylim=(0, None))
        axes["rate"].grid(color=FAINT, linewidth=0.6)

    def _pairs(self, axis: Axes) -> None:
        for side in (np.linspace(-105, -0.01, 200), np.linspace(0.01, 105, 200)):
            curve = np.where(side > 0, A_PLUS, -A_MINUS) * np.exp(-np.abs(side) / TAU_MS)
            axis.plot(side, 100 * curve, color=GREY, linewidth=1)
        late = DT_MS > 0
        axis.plot(DT_MS[late], 100 * self.moved[late], "o", color=COLOURS[2], markersize=4)
        axis.plot(DT_MS[~late], 100 * self.moved[~late], "o", color=COLOURS[1], markersize=4)
        axis.axhline(0, color=GREY, linewidth=0.6)
        axis.axvline(0, color=GREY, linewidth=0.6)
        axis.text(60, 0.55, "pre before post", color=COLOURS[2], ha="center")
        axis.text(-60, -0.6, "post before pre", color=COLOURS[1], ha="center")
        axis.set(title="The curve of pairs: dots measured, lines A exp(-|Δt| / τ)", xlim=(-105, 105),
                 xlabel="t_post - t_pre (ms)", ylabel="change a pair (% of the largest weight)")  # fmt: skip
        axis.grid(color=FAINT, linewidth=0.6)
