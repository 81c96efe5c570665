"""The exponential integrate-and-fire neuron against its closed form, and against AdEx with a = b = 0.

With F(V) = (V_L - V) + Delta_T exp((V - V_T) / Delta_T) and a steady current I, tau dV/dt = F(V) + I / g_L:
it fires where I / g_L exceeds -min F = V_T - V_L - Delta_T, with the period T = tau ∫ dV / (F(V) + I / g_L)
from V_r to V_peak.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neurobus.exhibits import Exhibit, Lab, Row, Run
from neurobus.model import Array
from neurobus.picture import COLOURS, GREY, MARK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TAU_MS, G_L_NS, V_L_MV, V_T_MV, DELTA_MV, V_R_MV, V_PEAK_MV = 10.0, 10.0, -65.0, -59.9, 3.48, -68.0, 20.0
RHEOBASE_PA = G_L_NS * (V_T_MV - V_L_MV - DELTA_MV)
SOURCE = "Fourcaud-Trocmé et al. 2003"


class Eif(Exhibit):
    title = "A spike is an exponential"
    claim = "Its rate is that of the closed form, and AdEx with a = b = 0 fires the same spikes."
    source = "Fourcaud-Trocmé et al. 2003, J Neurosci 23:11628; Brette & Gerstner 2005"
    controls = ("groups.eif.params.Delta_T=1 mV",)
    size_in = (9.6, 4.6)

    def measure(self, lab: Lab) -> list[Row]:
        self.run = lab.run("eif")
        self.hz = rates(self.run, "eif")
        pairs = list(zip(self.run.trains_ms("eif"), self.run.trains_ms("adex"), strict=True))
        pairs.append((self.run.spikes_ms("eif_stormy"), self.run.spikes_ms("adex_stormy")))
        apart = max(float(np.abs(a - b).max(initial=0.0)) for a, b in pairs if a.size == b.size)
        least = min(pa for pa, hz in self.hz.items() if hz)
        off = max(abs(hz / closed_form_hz(pa) - 1) for pa, hz in self.hz.items() if hz)
        return [
            Row.that("AdEx with a = b = 0 fires as often", all(a.size == b.size for a, b in pairs),
                     f"{sum(a.size for a, _ in pairs)} spikes",
                     f"{sum(b.size for _, b in pairs)} spikes"),
            Row.below("and at the same times, within", apart, 0.11, "ms", "one step of the grid"),
            Row.above("spikes compared under noise", float(pairs[-1][0].size), 10),
            Row.between("least current of the grid that fires", least, RHEOBASE_PA, RHEOBASE_PA + 4, "pA",
                        "g_L (V_T - V_L - Delta_T)"),
            Row.below("rates off the closed form by at most", 100 * off, 0.2, "%", SOURCE),
        ]  # fmt: skip

    def draw(self, figure: Figure) -> None:
        trace, force, curve = figure.subplots(1, 3)
        t, v = self.run.potential("eif.60")
        spikes = self.run.spikes_ms("eif.60")
        shown = t < spikes[3] + 5
        trace.plot([0, *t[shown]], [V_L_MV, *v[shown]], color=COLOURS[0], linewidth=1.1)
        trace.axhline(V_T_MV, color=MARK, linewidth=0.7, linestyle=":")
        trace.text(0.5, V_T_MV + 1, "$V_T$", color=MARK)
        trace.set(title="Under 60 pA", xlabel="time (ms)", ylabel="potential (mV)", ylim=(-72, 24))
        self._force(force, t, v, spikes)
        pa = np.linspace(RHEOBASE_PA + 0.01, 400, 400)
        curve.plot(pa, [closed_form_hz(i) for i in pa], color=GREY, linewidth=1, label="closed form")
        curve.plot(list(self.hz), list(self.hz.values()), "o", color=COLOURS[0], markersize=4, label="EIF")
        adex = rates(self.run, "adex")
        curve.plot(
            list(adex), list(adex.values()), "+", color=COLOURS[1], markersize=7, label="AdEx, a = b = 0"
        )
        curve.axvline(RHEOBASE_PA, color=MARK, linewidth=0.7, linestyle=":")
        curve.legend(loc="lower right")
        curve.set(title="Rate against current", xlabel="current (pA)", ylabel="rate (Hz)", xlim=(0, 410))

    def _force(self, axis: Axes, t: Array, v: Array, spikes: Array) -> None:
        """dV/dt against V, from the trace: each rise to a spike drawn over the equation."""
        grid = np.linspace(-69, -48, 300)
        axis.axhline(0, color=GREY, linewidth=0.6)
        axis.plot(grid, (force_mv(grid) + 60 / G_L_NS) / TAU_MS, color=GREY, linewidth=2.5, alpha=0.5)
        slope = np.diff(v) / np.diff(t)
        middle, rising = (v[1:] + v[:-1]) / 2, (slope > 0) & (v[1:] < -48) & (t[1:] > spikes[0] + 1)
        axis.plot(middle[rising], slope[rising], ".", color=COLOURS[0], markersize=2)
        axis.text(-68.5, 3.6, "line: $F(V) + I / g_L$\ndots: what the trace does", color=GREY, va="top")
        axis.set(title="Its only nonlinearity", xlabel="potential (mV)", ylabel="dV/dt (mV/ms)",
                 xlim=(-69, -48), ylim=(-0.3, 4))  # fmt: skip


def force_mv(v: Array) -> Array:
    return V_L_MV - v + DELTA_MV * np.exp((v - V_T_MV) / DELTA_MV)


def closed_form_hz(pa: float) -> float:
    """The rate under a steady current: one over the period's integral (10⁵ trapezia)."""
    v = np.linspace(V_R_MV, V_PEAK_MV, 100_001)
    return float(1000 / (TAU_MS * np.trapezoid(1 / (force_mv(v) + pa / G_L_NS), v)))


def rates(run: Run, group: str) -> dict[float, float]:
    """Current (pA) → one over the mean interval after the first spike (Hz); 0 where it does not fire."""
    return {float(id.partition(".")[2]): 1000 / np.diff(train).mean() if train.size > 1 else 0.0
            for id, train in zip(run.ids(group), run.trains_ms(group), strict=True)}  # fmt: skip
