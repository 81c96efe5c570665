"""Gap junctions: spikelets, the closed-form time constant, and what send-on-delta costs in accuracy.

Two passive cells of leak g_L = C_m / tau_m, joined by g:

    C_m dV_a/dt = -g_L (V_a - E_L) - g (V_a - V_b) + I_a        and likewise for b

Their mean relaxes with tau_m, their difference with tau_m / (1 + 2 g / g_L); a steady current into one
moves the other by g / (g + g_L) as much (Bennett 1977). The cells exchange potentials when they have moved
by epsilon (send-on-delta, Miskowicz 2006); the error is that against the two equations solved together.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from neurobus.exhibits import Exhibit, Lab, Row, Run
from neurobus.model import Array
from neurobus.picture import COLOURS, FAINT, GREY, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TAU_M_MS, C_M_PF, G_NS, E_L_MV = 10.0, 250.0, 12.5, -70.0
G_L_NS = C_M_PF / TAU_M_MS
TAU_D_MS = TAU_M_MS / (1 + 2 * G_NS / G_L_NS)
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
        self.runs = {eps: lab.run("gap_junction", f"run.potential_delta={eps} mV") for eps in EPSILONS_MV}
        self.errors = {eps: worst_error(run) for eps, run in self.runs.items()}
        changes = ("switches.spikes=true", "run.potential_interval=0.4 ms", "run.potential_delta=0.03 mV")
        self.spiking = lab.run("gap_junction", *changes)
        self.spikes_ms = self.spiking.spikes_ms("firing")
        finest, (*_, least) = self.runs[EPSILONS_MV[-1]], self.errors.values()
        fed, neighbour = (finest.potential(name)[1][-1] - E_L_MV for name in ("fed", "neighbour"))
        echoes = self.spiking.spikes_ms("resting").size
        falls = " > ".join(f"{error:.2g}" for error in self.errors.values()) + " mV"
        return [
            Row.near("time constant of the difference", time_constant(finest), TAU_D_MS, 0.1, "ms",
                     "τ_m / (1 + 2g/g_L)"),
            Row.near("coupling coefficient", neighbour / fed, G_NS / (G_NS + G_L_NS), 0.01,
                     source="g / (g + g_L), Bennett 1977"),
            Row.above("smallest spikelet in the partner", spikelets(self.spiking, self.spikes_ms).min(), 0.2,
                      "mV", "Galarreta & Hestrin 1999"),
            Row.near("spikes of the partner", echoes, 0, 0),
            Row.that("error falls with every smaller ε", strictly_falling(self.errors), falls, "strictly"),
            Row.between("error grows as ε to the power", slope_of(self.errors), 0.6, 1.2,
                        source="linear but for the delay of a sample"),
            Row.below(f"error at ε = {EPSILONS_MV[-1]:g} mV", least, 0.1, "mV",
                      "against both equations solved together"),
        ]  # fmt: skip

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
            axis.step(
                [0, *sent_t, 40],
                [start, *sent, sent[-1]],
                where="post",
                color=colour,
                linewidth=0.8,
                alpha=0.55,
            )
            axis.plot(sent_t, sent, ".", color=colour, markersize=4)
        axis.text(40, -60.6, f"lines: closed form, τ = {TAU_D_MS:g} ms\ndots: what the cells sent, ε = 1 mV",
                  ha="right", va="top", color=GREY)  # fmt: skip
        axis.set(
            title="Two coupled cells converge", xlabel="time (ms)", ylabel="potential (mV)", xlim=(0, 40)
        )

    def _error(self, axis: Axes) -> None:
        eps, errors = list(self.errors), list(self.errors.values())
        axis.loglog(eps, np.array(eps) * errors[-1] / eps[-1], "--", color=GREY, linewidth=0.8)
        axis.loglog(eps, errors, "o-", color=COLOURS[0], linewidth=1.2, markersize=4)
        axis.text(eps[1] * 0.9, errors[-1] / eps[-1] * eps[1] * 1.3, "∝ ε", color=GREY, ha="right")
        axis.set_xticks(eps, [f"{e:g}" for e in eps])
        axis.set_yticks(ticks := [0.01, 0.03, 0.1, 0.3], [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
        axis.set(title="Error falls with ε", xlabel="ε of send-on-delta (mV)", ylabel="largest error (mV)")

    def _spikelets(self, above: Axes, below: Axes) -> None:
        for axis, name, colour in ((above, "firing", INK), (below, "resting", COLOURS[1])):
            t, v = self.spiking.potential(name)
            axis.step([0, *t, 80], [E_L_MV, *v, v[-1]], where="post", color=colour, linewidth=0.9)
            axis.set_xlim(0, 80)
            axis.set_ylabel(f"{name}\n(mV)")
        above.tick_params(labelbottom=False)
        above.set_title("Spikes of one cell are spikelets in the other")
        for t_ms in self.spikes_ms:
            below.axvline(t_ms, color=GREY, linewidth=0.6, linestyle=":")
        below.set_xlabel("time (ms)")

    def _fed(self, axis: Axes) -> None:
        t = np.linspace(0, 80, 400)
        fine = self.runs[EPSILONS_MV[-1]]
        for name, exact, colour in zip(("fed", "neighbour"), together(E_L_MV, E_L_MV, 300.0, t), COLOURS[2:],
                                       strict=False):  # fmt: skip
            sent_t, sent = fine.potential(name)
            axis.plot([*sent_t, 80], [*sent, sent[-1]], color=colour, linewidth=2.8, alpha=0.4)
            axis.plot(t, exact, color=colour, linewidth=0.9)
            axis.text(79, exact[-1] - 0.35, name, color=colour, ha="right", va="top")
        axis.set(
            title="A third of it crosses: g / (g + g_L)",
            xlabel="time (ms)",
            ylabel="potential (mV)",
            xlim=(0, 80),
        )


def worst_error(run: Run) -> float:
    """The largest distance (mV) of any potential sent from both equations solved together."""
    errors = []
    for pair, start, pa in (
        (("warm", "cold"), (-58.0, -72.0), 0.0),
        (("fed", "neighbour"), (-70.0, -70.0), 300.0),
    ):
        for side, name in enumerate(pair):
            t, v = run.potential(name)
            errors.append(np.abs(v - together(*start, pa, t)[side]).max())
    return float(max(errors))


def time_constant(run: Run) -> float:
    """Of the difference warm - cold (ms): the slope of its logarithm over the first 15 ms."""
    t = np.arange(0.5, 15.0, 0.5)
    apart = np.interp(t, *run.potential("warm")) - np.interp(t, *run.potential("cold"))
    return float(-1 / np.polyfit(t, np.log(apart), 1)[0])


def spikelets(run: Run, spikes_ms: Array) -> Array:
    """How far each spike lifts the resting partner (mV) within 1 ms."""
    t, v = run.potential("resting")
    before, after = np.searchsorted(t, spikes_ms, side="right") - 1, np.searchsorted(t, spikes_ms + 1.0)
    return np.array([v[a : b + 1].max() - v[a] for a, b in zip(before, after, strict=True)])


def strictly_falling(errors: dict[float, float]) -> bool:
    return all(a > b for a, b in pairwise(errors.values()))


def slope_of(errors: dict[float, float]) -> float:
    return float(np.polyfit(np.log(list(errors)), np.log(list(errors.values())), 1)[0])
