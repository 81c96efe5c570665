"""Gap junctions: the closed-form time constant, spikelets, and what send-on-delta costs in accuracy.

Two passive cells of leak g_L = C_m / tau_m, joined by g:

    C_m dV_a/dt = -g_L (V_a - E_L) - g (V_a - V_b) + I_a        and likewise for b

Their mean relaxes with tau_m, their difference with tau_m / (1 + 2 g / g_L); a steady current into one
moves the other by g / (g + g_L) as much (Bennett 1977). A cell tells its potential when the line on which
its partner follows it is off by epsilon (send-on-delta, Miskowicz 2006); the error is that against the
equations of both solved together: in closed form for passive cells, by SciPy's LSODA for two axons of Hodgkin
& Huxley (1952).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.integrate import solve_ivp

from neurobus.exhibits import Exhibit, Lab, Row, Run
from neurobus.model import Array
from neurobus.picture import COLOURS, FAINT, GREY, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TAU_M_MS, C_M_PF, G_NS, E_L_MV = 10.0, 250.0, 12.5, -70.0
G_L_NS = C_M_PF / TAU_M_MS
TAU_D_MS = TAU_M_MS / (1 + 2 * G_NS / G_L_NS)
AXON_G_NS, AXON_PA, END_MS = 3.0, 1000.0, 60.0
EPSILONS_MV = (1.0, 0.3, 0.1, 0.03)


def together(a0_mv: float, b0_mv: float, pa: float, t_ms: Array) -> tuple[Array, Array]:
    """Both potentials in closed form, from their values at 0, with `pa` flowing into a. Shape of `t_ms`."""
    mean_end, half_end = pa / (2 * G_L_NS), pa / (2 * (G_L_NS + 2 * G_NS))
    mean = mean_end + ((a0_mv + b0_mv) / 2 - E_L_MV - mean_end) * np.exp(-t_ms / TAU_M_MS)
    half = half_end + ((a0_mv - b0_mv) / 2 - half_end) * np.exp(-t_ms / TAU_D_MS)
    return E_L_MV + mean + half, E_L_MV + mean - half


class GapJunction(Exhibit):
    title = "Gap junctions"
    claim = ("Coupled cells converge with the closed-form time constant, spikes cross as spikelets, "
             "and the error of send-on-delta falls with ε.")  # fmt: skip
    source = "Bennett 1977; Galarreta & Hestrin 1999; send-on-delta: Miskowicz 2006"
    size_in = (9.6, 6.0)
    controls = ("electrical.0.conductance=5 nS",)

    def measure(self, lab: Lab) -> list[Row]:
        self.runs = {eps: lab.run("gap_junction", f"run.junction_delta={eps} mV") for eps in EPSILONS_MV}
        self.axons = axons_together()
        self.errors = {eps: worst_error(run) for eps, run in self.runs.items()}
        self.axon_errors = {eps: self._axon_error(run) for eps, run in self.runs.items()}
        self.finest = finest = self.runs[EPSILONS_MV[-1]]
        fed, neighbour = (finest.potential(name)[1][-1] - E_L_MV for name in ("fed", "neighbour"))
        self.spikes_ms = finest.spikes_ms("firing")
        exact_ms = self._spikes_together()
        late = np.abs(self.spikes_ms - exact_ms).max() if len(exact_ms) == len(self.spikes_ms) else np.inf
        to_floor = {eps: error for eps, error in self.axon_errors.items() if eps >= 0.1}
        return [
            Row.near("time constant of the difference", time_constant(finest), TAU_D_MS, 0.1, "ms",
                     "τ_m / (1 + 2g/g_L)"),
            Row.near("coupling coefficient", neighbour / fed, G_NS / (G_NS + G_L_NS), 0.01,
                     source="g / (g + g_L), Bennett 1977"),
            Row.between("smallest spikelet of a resting axon", spikelets(finest, self.spikes_ms).min(), 0.5,
                        10, "mV", "Galarreta & Hestrin 1999: about a millivolt"),
            Row.near("spikes of the resting axon", finest.spikes_ms("resting").size, 0, 0),
            Row.below("spikes of the firing one, off by at most", late, 0.1, "ms", "both solved together"),
            Row.that("error of passive cells falls with ε", falling(self.errors), listed(self.errors),
                     "strictly", "both solved together"),
            Row.that("error of axons falls with ε", falling(to_floor), listed(self.axon_errors),
                     "down to ε = 0.1", "both solved together; then a sample's delay counts"),
            Row.between("error of passive cells grows as ε to the power", slope_of(self.errors), 0.6, 1.2,
                        source="linear but for the delay of a sample"),
        ]  # fmt: skip

    def _axon_error(self, run: Run) -> float:
        """The largest distance (mV) of what the resting axon sent from its exact potential."""
        t, v = run.potential("resting")
        return float(np.abs(v - self.axons.sol(t)[4]).max())

    def _spikes_together(self) -> Array:
        """The maxima above 0 mV of the firing axon, solved together."""
        t = np.arange(0.0, END_MS, 0.002)
        v = self.axons.sol(t)[0]
        peak = (v[1:-1] >= 0) & (v[1:-1] > v[:-2]) & (v[1:-1] >= v[2:])
        found: Array = t[1:-1][peak]
        return found

    def draw(self, figure: Figure) -> None:
        mosaic: list[Any] = [
            ["apart", "apart", "error"],
            ["firing", "firing", "fed"],
            ["resting", "resting", "fed"],
        ]
        axes = figure.subplot_mosaic(mosaic, height_ratios=(1.5, 0.7, 0.8))
        self._apart(axes["apart"])
        self._error(axes["error"])
        self._spikelets(axes["firing"], axes["resting"])
        self._fed(axes["fed"])
        for axis in axes.values():
            axis.grid(color=FAINT, linewidth=0.6)
            axis.set_axisbelow(True)

    def _apart(self, axis: Axes) -> None:
        coarse, t = self.runs[EPSILONS_MV[0]], np.linspace(0, 40, 400)
        cells = zip(("warm", "cold"), (-58.0, -72.0), together(-58.0, -72.0, 0.0, t), COLOURS, strict=False)
        for name, start, exact, colour in cells:
            sent_t, sent = coarse.potential(name)
            axis.plot(t, exact, color=colour, linewidth=1.4)
            held = [start, *sent, sent[-1]]
            axis.step([0, *sent_t, 40], held, where="post", color=colour, linewidth=0.8, alpha=0.55)
            axis.plot(sent_t, sent, ".", color=colour, markersize=4)
        words = f"lines: closed form, τ = {TAU_D_MS:g} ms\ndots: what the cells sent, ε = 1 mV"
        axis.text(40, -60.6, words, ha="right", va="top", color=GREY)
        axis.set(
            title="Two coupled cells converge", xlabel="time (ms)", ylabel="potential (mV)", xlim=(0, 40)
        )

    def _error(self, axis: Axes) -> None:
        eps = np.array(EPSILONS_MV)
        series = (self.errors, "passive", COLOURS[0], "o-"), (self.axon_errors, "axons", COLOURS[1], "s-")
        for errors, name, colour, line in series:
            axis.loglog(
                eps, list(errors.values()), line, color=colour, linewidth=1.2, markersize=4, label=name
            )
        axis.loglog(eps, eps * self.errors[1.0] * 0.5, "--", color=GREY, linewidth=0.8, label="∝ ε")
        axis.set_xticks(eps, [f"{e:g}" for e in eps])
        axis.set_yticks(ticks := [0.01, 0.03, 0.1, 0.3], [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
        axis.legend()
        axis.set(title="Error falls with ε", xlabel="ε of send-on-delta (mV)", ylabel="largest error (mV)")

    def _spikelets(self, above: Axes, below: Axes) -> None:
        t = np.linspace(0, END_MS, 3000)
        for axis, name, row, colour in ((above, "firing", 0, INK), (below, "resting", 4, COLOURS[1])):
            axis.plot(*self.finest.potential(name), color=colour, linewidth=2.6, alpha=0.35)
            axis.plot(t, self.axons.sol(t)[row], color=colour, linewidth=0.8)
            axis.set_xlim(0, END_MS)
            axis.set_ylabel(f"{name}\n(mV)")
        above.tick_params(labelbottom=False)
        above.set_title("Spikes of one axon are spikelets in the other")
        for t_ms in self.spikes_ms:
            below.axvline(t_ms, color=GREY, linewidth=0.6, linestyle=":")
        below.set_xlabel("time (ms)")

    def _fed(self, axis: Axes) -> None:
        t = np.linspace(0, END_MS, 400)
        cells = zip(("fed", "neighbour"), together(E_L_MV, E_L_MV, 300.0, t), COLOURS[2:], strict=False)
        for name, exact, colour in cells:
            sent_t, sent = self.finest.potential(name)
            axis.plot([*sent_t, END_MS], [*sent, sent[-1]], color=colour, linewidth=2.8, alpha=0.4)
            axis.plot(t, exact, color=colour, linewidth=0.9)
            axis.text(END_MS - 1, exact[-1] - 0.35, name, color=colour, ha="right", va="top")
        axis.set(title="A third of it crosses: g / (g + g_L)", xlabel="time (ms)", ylabel="potential (mV)",
                 xlim=(0, END_MS))  # fmt: skip


def worst_error(run: Run) -> float:
    """The largest distance (mV) of any potential a passive cell sent from the closed form."""
    errors = []
    pairs = (("warm", "cold"), (-58.0, -72.0), 0.0), (("fed", "neighbour"), (-70.0, -70.0), 300.0)
    for pair, start, pa in pairs:
        for side, name in enumerate(pair):
            t, v = run.potential(name)
            errors.append(np.abs(v - together(*start, pa, t)[side]).max())
    return float(max(errors))


def axons_together() -> Any:
    """Two axons of 1e-4 cm² as one system, V m h n of each (Hodgkin & Huxley 1952, at rest at -65 mV).

    `sol(t_ms)` has the shape (8, M).
    """

    def slope(t: float, y: Array) -> list[float]:
        found: list[float] = []
        for (V, m, h, n), other, pa in ((y[:4], y[4], AXON_PA), (y[4:], y[0], 0.0)):
            am, bm, ah, bh, an, bn = rates(V)
            I = 12000 * m**3 * h * (V - 50) + 3600 * n**4 * (V + 77) + 30 * (V + 54.4)
            found += [(pa - I + AXON_G_NS * (other - V)) / 100, am * (1 - m) - bm * m, ah * (1 - h) - bh * h,
                      an * (1 - n) - bn * n]  # fmt: skip
        return found

    am, bm, ah, bh, an, bn = rates(-65.0)
    start = [-65.0, am / (am + bm), ah / (ah + bh), an / (an + bn)] * 2
    return solve_ivp(slope, (0, END_MS), start, "LSODA", dense_output=True, rtol=1e-8, atol=1e-8)


def rates(V: float) -> tuple[float, ...]:
    """alpha and beta (1/ms) of m, h, n."""

    def linoid(x: float) -> float:
        return 10.0 if abs(x) < 1e-7 else x / (1 - np.exp(-x / 10))

    return (0.1 * linoid(V + 40), 4 * np.exp(-(V + 65) / 18),
            0.07 * np.exp(-(V + 65) / 20), 1 / (1 + np.exp(-(V + 35) / 10)),
            0.01 * linoid(V + 55), 0.125 * np.exp(-(V + 65) / 80))  # fmt: skip


def time_constant(run: Run) -> float:
    """Of the difference warm - cold (ms): the slope of its logarithm over the first 15 ms."""
    t = np.arange(0.5, 15.0, 0.5)
    apart = np.interp(t, *run.potential("warm")) - np.interp(t, *run.potential("cold"))
    return float(-1 / np.polyfit(t, np.log(apart), 1)[0])


def spikelets(run: Run, spikes_ms: Array) -> Array:
    """How far each spike lifts the resting axon (mV): from 2 ms before it to the highest around it."""
    t, v = run.potential("resting")
    found = [
        v[(t > at - 2) & (t < at + 2)].max() - np.interp(at - 2, t, v) for at in spikes_ms if at < END_MS - 2
    ]
    return np.array(found)


def falling(errors: dict[float, float]) -> bool:
    return all(a > b for a, b in pairwise(errors.values()))


def listed(errors: dict[float, float]) -> str:
    return ", ".join(f"{error:.2g}" for error in errors.values()) + " mV"


def slope_of(errors: dict[float, float]) -> float:
    return float(np.polyfit(np.log(list(errors)), np.log(list(errors.values())), 1)[0])
