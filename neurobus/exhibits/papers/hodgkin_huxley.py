"""The squid's giant axon: two thresholds, the rate that jumps, the action potential.

"Rheobase" means either of two numbers: the least steady current that gives one spike at its onset, and the
least that gives a train without end. Here they are far apart; below the second the axon falls silent after
one or a few spikes (Hodgkin's class 2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neurobus.exhibits import Exhibit, Lab, Row, Run
from neurobus.model import Array
from neurobus.picture import COLOURS, GREY, INK, MARK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SETTLED_MS = 500.0
SOURCE = "Hodgkin & Huxley 1952"


class HodgkinHuxley(Exhibit):
    title = "The squid's axon at 6.3 °C"
    claim = "One threshold for a spike, another for a train, and there the rate jumps from nothing to 52 Hz."
    source = "Hodgkin & Huxley 1952, J Physiol 117:500; equations and constants of the paper, rest at -65 mV"
    controls = ("groups.steady.params.g_Na=11000 nS",)
    size_in = (9.6, 6.2)

    def measure(self, lab: Lab) -> list[Row]:
        self.run = lab.run("hodgkin_huxley")
        half = lab.run("hodgkin_huxley", "run.dt=0.05 ms", "run.record_potentials=[]")
        self.rate = rates_hz(self.run)
        onset = fires_once(self.run)
        silent, fires = max(i for i, n in onset.items() if not n), min(i for i, n in onset.items() if n)
        t, v = self.run.potential("steady.10.0")
        late = v[t > SETTLED_MS]
        moved = max(abs(self.rate[i] - hz) for i, hz in rates_hz(half).items())
        return [
            Row.between("least current for one spike", fires, 2.24, 2.25, "µA/cm²", SOURCE),
            Row.told("greatest current for none", silent, "µA/cm²"),
            Row.near("rate at 6.2 µA/cm²", self.rate[6.2], 0, 0, "Hz", "class 2: no train"),
            Row.near("rate at 6.3 µA/cm²", self.rate[6.3], 52.3, 0.3, "Hz", "class 2: the rate jumps"),
            Row.near("rate at 10 µA/cm²", self.rate[10.0], 67.5, 1.0, "Hz", SOURCE),
            Row.near("swing at 10 µA/cm²", float(np.ptp(late)), 105, 2, "mV", SOURCE),
            Row.that("one threshold at half the step", fires_once(half) == onset, "the same", "the same"),
            Row.below("rates move at half the step by", moved, 0.1, "Hz"),
        ]

    def draw(self, figure: Figure) -> None:
        grid = figure.add_gridspec(2, 2, width_ratios=(1, 1.15))
        self._onset(figure.add_subplot(grid[0, 0]))
        self._spike(figure.add_subplot(grid[1, 0]))
        self._rates(figure.add_subplot(grid[0, 1]))
        self._trains(figure, grid[1, 1])

    def _onset(self, axis: Axes) -> None:
        for name, colour in (("2.240", COLOURS[0]), ("2.245", COLOURS[2]), ("2.250", COLOURS[1])):
            t, v = self.run.potential(f"onset.{name}")
            axis.plot([0, *t], [-65, *v], color=colour, linewidth=1.2, label=f"{float(name):g}")
        axis.legend(title="µA/cm²", loc="upper right", title_fontsize=8)
        axis.set(title="All or none: steps of current at t = 0", xlabel="time (ms)", ylabel="potential (mV)",
                 xlim=(0, 30), ylim=(-82, 45))  # fmt: skip

    def _spike(self, axis: Axes) -> None:
        t, v = self.run.potential("steady.10.0")
        peak = self.run.spikes_ms("steady.10.0")[20]
        near = (t > peak - 4) & (t < peak + 10)
        axis.axhline(-65, color=GREY, linewidth=0.6, linestyle=":")
        axis.text(3.2, -64.5, "rest", color=GREY, va="bottom")
        axis.plot(t[near] - peak, v[near], color=INK, linewidth=1.6)
        axis.set(title="The action potential at 10 µA/cm²", xlabel="time from its peak (ms)",
                 ylabel="potential (mV)", xlim=(-4, 10), ylim=(-82, 45))  # fmt: skip

    def _rates(self, axis: Axes) -> None:
        current, hz = np.array(list(self.rate)), np.array(list(self.rate.values()))
        off = current <= 6.2
        axis.plot(current[off], hz[off], ".-", color=COLOURS[0], markersize=4)
        axis.plot(current[~off], hz[~off], ".-", color=COLOURS[0], markersize=4)
        axis.plot([6.2, 6.3], [self.rate[6.2], self.rate[6.3]], ":", color=MARK, linewidth=1.2)
        axis.axvline(2.245, color=GREY, linewidth=0.6, linestyle=":")
        axis.text(2.45, 84, "one spike", color=GREY)
        axis.text(6.6, 26, f"a train, at once with {self.rate[6.3]:.1f} Hz", color=MARK)
        axis.set(title="Class 2: the rate jumps", xlabel="steady current (µA/cm²)", ylabel="rate (Hz)",
                 xlim=(0, 20), ylim=(-3, 95))  # fmt: skip

    def _trains(self, figure: Figure, where: object) -> None:
        for n, (axis, i) in enumerate(
            zip(where.subgridspec(3, 1).subplots(sharex=True), ("6.2", "6.3", "10.0"), strict=True)  # type: ignore[attr-defined]
        ):
            t, v = self.run.potential(f"steady.{i}")
            axis.plot([0, *t, 300], [-65, *v, v[-1]], color=COLOURS[n], linewidth=0.9)
            axis.set(xlim=(0, 250), ylim=(-85, 95), yticks=[-65, 0])
            axis.text(249, 92, f"{float(i):g} µA/cm²", color=COLOURS[n], ha="right", va="top")
            if n < 2:
                axis.tick_params(labelbottom=False)
        axis.set_xlabel("time (ms)")


def currents(run: Run, group: str) -> dict[float, Array]:
    """Current (µA/cm²) → spike times (ms)."""
    return {float(id.partition(".")[2]): train
            for id, train in zip(run.ids(group), run.trains_ms(group), strict=True)}  # fmt: skip


def fires_once(run: Run) -> dict[float, int]:
    return {i: int(train.size) for i, train in currents(run, "onset").items()}


def rates_hz(run: Run) -> dict[float, float]:
    """Of the train that goes on after `SETTLED_MS`: one over its mean interval, 0 where there is none."""
    return {i: 1000 / np.diff(late).mean() if (late := train[train > SETTLED_MS]).size > 1 else 0.0
            for i, train in currents(run, "steady").items()}  # fmt: skip
