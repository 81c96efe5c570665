"""Eight firing patterns of the adaptive exponential integrate-and-fire neuron, told by intervals alone.

The rules of `pattern` know nothing of parameters: they see when a neuron fired during a step of current.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neurobus.exhibits import Exhibit, Lab, Row
from neurobus.model import Array
from neurobus.picture import COLOURS, GREY, INK

if TYPE_CHECKING:
    from matplotlib.figure import Figure

END_MS = 600.0
PATTERNS = {
    "tonic": "tonic spiking",
    "adapting": "adaptation",
    "initial_burst": "initial burst",
    "bursting": "regular bursting",
    "accelerating": "delayed accelerating",
    "delayed_bursting": "delayed regular bursting",
    "transient": "transient spiking",
    "irregular": "irregular spiking",
}
LETTERS = "abcdefgh"


class AdexPatterns(Exhibit):
    title = "One model, eight firing patterns"
    claim = (
        "Eight sets of parameters of AdEx fire in eight ways, which the intervals between spikes tell apart."
    )
    source = (
        "Naud, Marcille, Clopath, Gerstner 2008, Biol Cybern 99:335; parameters as in Brian2's example of it"
    )
    controls = ("neurons.bursting.params.V_r=-58 mV",)
    size_in = (9.6, 7.6)

    def measure(self, lab: Lab) -> list[Row]:
        self.run = lab.run("adex_patterns")
        rows = []
        for name, wanted in PATTERNS.items():
            t = self.run.spikes_ms(name)
            found = pattern(t, END_MS)
            rows.append(Row.that(f"{name}: {facts(t)}", found == wanted, found, wanted, "Naud et al. 2008"))
        return rows

    def draw(self, figure: Figure) -> None:
        panels = figure.subplots(4, 2, sharex=True, sharey=True).T.flat
        for n, (axis, (name, words)) in enumerate(zip(panels, PATTERNS.items(), strict=True)):
            t, v = self.run.potential(name)
            axis.plot([0, *t, END_MS], [v[0], *v, v[-1]], color=COLOURS[n % 6] if n else INK, linewidth=0.8)
            axis.set(xlim=(0, END_MS), ylim=(-78, 22), yticks=[-70, -40, 0])
            axis.set_title(f"{LETTERS[n]}  {words}")
            spikes = self.run.spikes_ms(name)
            axis.plot(spikes, np.full(spikes.size, 12.0), "|", color=GREY, markersize=5, markeredgewidth=0.7)
            if n % 4 == 3:
                axis.set_xlabel("time (ms)")
            if n < 4:
                axis.set_ylabel("mV")


def facts(t: Array) -> str:
    """Number of spikes, latency, intervals, in words."""
    intervals = np.diff(t)
    among = f", intervals {intervals.min():.1f} to {intervals.max():.1f} ms" if intervals.size else ""
    return f"{t.size} spike{'s' * (t.size != 1)} from {t[0]:.0f} ms on{among}" if t.size else "silent"


def pattern(t: Array, end: float) -> str:
    """The firing pattern of spike times `t` (ms) under a current that flows from 0 to `end`.

    Bursts are runs of short intervals, split where an interval is above the geometric mean of the shortest
    and the longest. A pattern is delayed where the first spike takes longer than half the time from one
    burst to the next, or, without bursts, than the first interval.
    """
    if not t.size:
        return "silent"
    if t[-1] < end / 2:
        return "transient spiking"
    intervals = np.diff(t)
    falls = int(np.sum(intervals[1:] < intervals[:-1] / 2))
    if falls > 1:  # short intervals come back after long ones
        long = intervals > np.sqrt(intervals.min() * intervals.max())
        starts = t[1:][long]
        periods, sizes = np.diff(starts), np.diff(np.flatnonzero(long))
        if np.ptp(sizes) > 0 or periods.std() > 0.1 * periods.mean():
            return "irregular spiking"
        return "delayed regular bursting" if t[0] > periods.mean() / 2 else "regular bursting"
    if intervals[-1] < 0.8 * intervals[0]:
        return "delayed accelerating" if t[0] > intervals[0] else "accelerating"
    if intervals[-1] < 1.5 * intervals[0]:
        return "tonic spiking"
    return "initial burst" if (intervals[1:] / intervals[:-1]).max() > 3 else "adaptation"
