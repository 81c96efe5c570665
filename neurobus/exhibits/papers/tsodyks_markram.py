"""Short-term depression and facilitation: steady states against their closed form.

Of spikes an interval D apart, with P_u = exp(-D / tau_fac), P_y = exp(-D / tau_psc), P_z = exp(-D / tau_rec),
each utilises u = U / (1 - (1 - U) P_u) of the recovered fraction that it finds,

    x = Q / (1 - (1 - u) P_z - (R - Q) u / (1 - P_y)),     Q = 1 - P_z,
    R = (tau_psc (1 - P_y) - tau_rec (1 - P_z)) / (tau_psc - tau_rec)

the fixed point of the linear map from spike to spike; u x of the weight acts. With tau_psc -> 0 it is the
paper's Q / (1 - (1 - u) P_z). Depressed, u x falls as 1 / (r tau_rec): the neuron does not see the rate r.
"""

from __future__ import annotations

from math import exp
from typing import TYPE_CHECKING, Any

import numpy as np

from neurobus.exhibits import Exhibit, Lab, Row, Run
from neurobus.model import Array
from neurobus.picture import COLOURS, FAINT, GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DEP = {"U": 0.5, "tau_rec": 800.0, "tau_fac": 0.0, "tau_psc": 3.0}
FAC = {"U": 0.03, "tau_rec": 130.0, "tau_fac": 530.0, "tau_psc": 1.5}
PERIOD_MS = {5: 200.0, 10: 100.0, 20: 50.0, 40: 25.0, 70: 14.3, 80: 12.5}
RATES = {"dep": (5, 10, 20, 40, 80), "fac": (5, 10, 20, 40, 70)}
LEAK = exp(-0.1 / 2.0)
"""What a step of 0.1 ms leaves of a potential with tau_m = 2 ms."""


def steady(U: float, tau_rec: float, tau_fac: float, tau_psc: float, period_ms: float) -> float:
    """u x, the share of the weight that acts, when nothing changes any more."""
    P_u = exp(-period_ms / tau_fac) if tau_fac else 0.0
    P_y, P_z = exp(-period_ms / tau_psc), exp(-period_ms / tau_rec)
    u = U / (1 - (1 - U) * P_u)
    Q = 1 - P_z
    R = (tau_psc * (1 - P_y) - tau_rec * Q) / (tau_psc - tau_rec)
    return u * Q / (1 - (1 - u) * P_z - (R - Q) * u / (1 - P_y))


class TsodyksMarkram(Exhibit):
    title = "Short-term plasticity"
    claim = ("Depression and facilitation settle at the closed-form steady states; a depressed synapse does "
             "not transmit its rate.")  # fmt: skip
    source = "Tsodyks & Markram 1997; Markram, Wang & Tsodyks 1998; Tsodyks, Pawelzik & Markram 1998"
    controls = ('synapses.0.params={ U = 0.6, tau_rec = "800 ms" }',
                'synapses.1.params={ U = 0.03, tau_rec = "130 ms", tau_fac = "400 ms" }')  # fmt: skip

    def measure(self, lab: Lab) -> list[Row]:
        self.run = lab.run("tsodyks_markram")
        self.jumps = {
            f"{kind}{rate}": jumps(self.run, f"{kind}{rate}") for kind in RATES for rate in RATES[kind]
        }
        rows = []
        for kind, p, rates in (("dep", DEP, (20,)), ("fac", FAC, (20, 70))):
            for rate in rates:
                found = self.jumps[f"{kind}{rate}"]
                what = f"{'depressing' if kind == 'dep' else 'facilitating'}, {rate} Hz: "
                expected = steady(**p, period_ms=PERIOD_MS[rate])
                rows.append(Row.near(what + "first spike", found[0], p["U"], 1e-9, source="U"))
                rows.append(Row.near(what + "steady", found[-1], expected, 1e-6, source="closed form"))
        worst = max(abs(self.jumps[f"{kind}{rate}"][-1] - steady(**p, period_ms=PERIOD_MS[rate]))
                    for kind, p in (("dep", DEP), ("fac", FAC)) for rate in RATES[kind])  # fmt: skip
        sums = [self.jumps[f"dep{rate}"][-1] * 1e3 / PERIOD_MS[rate] for rate in (20, 40, 80)]
        growth = self.jumps["fac70"].max() / self.jumps["fac70"][0]
        return [
            *rows,
            Row.below("largest distance at any of 10 rates", worst, 1e-6),
            Row.near("depressing: acts per second at 80 Hz", sums[-1], 1.25, 0.05, "1/s", "1 / tau_rec"),
            Row.below("… and how much more at 80 than at 20 Hz", sums[2] / sums[0] - 1, 0.1, "",
                      "the limiting frequency"),
            Row.above("facilitating, 70 Hz: largest by first", growth, 3, source="Tsodyks et al. 1998"),
        ]  # fmt: skip

    def draw(self, figure: Figure) -> None:
        mosaic: list[Any] = [["dep20", "rates"], ["fac20", "rates"], ["fac70", "rates"]]
        axes = figure.subplot_mosaic(mosaic, width_ratios=(1.5, 1))
        traces = (("dep20", "depressing", COLOURS[0]), ("fac20", "facilitating", COLOURS[1]),
                  ("fac70", "facilitating", COLOURS[1]))  # fmt: skip
        for name, kind, colour in traces:
            title = f"{kind}, {name[3:]} Hz"
            self._trace(axes[name], name, title, colour)
        for name in ("dep20", "fac20"):
            axes[name].tick_params(labelbottom=False)
        axes["fac70"].set_xlabel("time (ms)")
        self._rates(axes["rates"])

    def _trace(self, axis: Axes, name: str, title: str, colour: str) -> None:
        t, v = self.run.potential(f"{name}_trace")
        axis.plot([0, t[0] - 0.1, *t], [0, 0, *(v + 70)], color=colour, linewidth=1.1)
        axis.text(0.99, 0.9, title, transform=axis.transAxes, ha="right", va="top", color=GREY)
        axis.set(xlim=(0, 1300), ylabel="EPSP (mV)", ylim=(0, (v + 70).max() * 1.25))
        axis.grid(color=FAINT, linewidth=0.6)

    def _rates(self, axis: Axes) -> None:
        fine = np.geomspace(4, 100, 200)
        for kind, p, colour, word, at, up in (
            ("dep", DEP, COLOURS[0], "depressing", 6.5, 0.62),
            ("fac", FAC, COLOURS[1], "facilitating", 22.0, 1.12),
        ):
            axis.loglog(fine, [steady(**p, period_ms=1e3 / r) for r in fine], color=colour, linewidth=1)
            rates = [1e3 / PERIOD_MS[rate] for rate in RATES[kind]]
            axis.loglog(
                rates, [self.jumps[f"{kind}{rate}"][-1] for rate in RATES[kind]], "o", color=colour, ms=4
            )
            axis.text(at, steady(**p, period_ms=1e3 / at) * up, word, color=colour, ha="center")
        axis.loglog(fine, 1.25 / fine, "--", color=GREY, linewidth=0.8)
        axis.text(60, 1.25 / 60 * 0.75, "1 / (r τ_rec)", color=GREY, ha="right", va="top")
        axis.set_xticks(ticks := [5, 10, 20, 40, 80], [str(tick) for tick in ticks])
        axis.set_yticks(levels := [0.01, 0.03, 0.1, 0.3], [str(level) for level in levels])
        axis.minorticks_off()
        axis.set(title="Steady state: dots measured, lines closed form", xlabel="rate (Hz)",
                 ylabel="share of the weight that acts")  # fmt: skip
        axis.grid(color=FAINT, linewidth=0.6)


def jumps(run: Run, name: str) -> Array:
    """By how many mV each spike moved the potential at once, in order."""
    t, v = run.potential(name)
    v = v + 70.0
    late = np.rint(np.diff(t, prepend=0.0) / 0.1).astype(int)
    before = np.concatenate([[0.0], v[:-1]]) * LEAK**late
    moved = v - before
    return moved[moved > 1e-4]
