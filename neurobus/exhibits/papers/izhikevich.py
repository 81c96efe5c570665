"""The seven kinds of neuron of Izhikevich's simple model, each by what the paper says of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from neurobus.exhibits import Exhibit, Lab, Row
from neurobus.model import Array
from neurobus.picture import COLOURS, GREY

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SOURCE = "Izhikevich 2003, fig. 2"
STEP_MS, END_MS = 20.0, 320.0
FIVE = ("RS", "IB", "CH", "FS", "LTS")
PANELS = {
    "RS": "regular spiking (RS)",
    "IB": "intrinsically bursting (IB)",
    "CH": "chattering (CH)",
    "FS": "fast spiking (FS)",
    "LTS": "low-threshold spiking (LTS)",
    "TC": "thalamo-cortical (TC), depolarized",
    "TC_released": "thalamo-cortical (TC), released",
    "RZ_in_time": "resonator (RZ), pulses in time",
    "RZ_out_of_time": "resonator (RZ), out of time",
}

INPUTS = {"TC_released": ((0, 20, 20, 150, 150, END_MS), (-98, -98, -105, -105, -98, -98))}


class Izhikevich(Exhibit):
    title = "Four numbers, seven neurons"
    claim = "Seven choices of (a, b, c, d) fire as seven kinds of neuron in cortex and thalamus."
    source = "Izhikevich 2003, IEEE Trans Neural Netw 14:1569, fig. 2"
    controls = ("neurons.CH.params.c=-65 mV",)
    size_in = (9.6, 6.4)

    def measure(self, lab: Lab) -> list[Row]:
        self.run = run = lab.run("izhikevich")
        published = lab.run("izhikevich", *(f"neurons.{name}.params.published=1" for name in FIVE))
        rows = [Row.that(name, says(run.spikes_ms(name)), words(run.spikes_ms(name)), wanted, SOURCE)
                for name, (wanted, says) in KINDS.items()]  # fmt: skip
        same = [name for name in FIVE if KINDS[name][1](published.spikes_ms(name))]
        faint = {name: run.spikes_ms(f"{name}_faint").size for name in ("RS", "FS", "LTS")}
        tonic, rebound = run.spikes_ms("TC"), run.spikes_ms("TC_released")
        together, apart = run.spikes_ms("RZ_in_time"), run.spikes_ms("RZ_out_of_time")
        return [
            *rows,
            Row.that("LTS has the lowest threshold: spikes under I = 2",
                     faint["LTS"] > 1 and not faint["RS"] + faint["FS"],
                     ", ".join(f"{name} {n}" for name, n in faint.items()), "RS 0, FS 0, LTS some", SOURCE),
            Row.that("TC depolarized from rest", tonic[0] > STEP_MS and even(tonic[6:]), words(tonic),
                     "a train, in the end regular", SOURCE),
            Row.that("TC released from hyperpolarization", rebound.size > 2 and rebound[0] > 150
                     and rebound[1] - rebound[0] < 5 and rebound[-1] < 250, words(rebound),
                     "a burst, then silence", SOURCE),
            Row.that("RZ, pulses a period apart and half of one", together.size > 0 and apart.size == 0,
                     f"{together.size} and {apart.size} spikes", "fires; does not", SOURCE),
            Row.that("the same by the paper's two half steps", same == list(FIVE), ", ".join(same),
                     ", ".join(FIVE), "published = 1, 0.1 ms"),
        ]  # fmt: skip

    def draw(self, figure: Figure) -> None:
        panels = figure.subplots(3, 3, sharex=True, sharey=True).flat
        for n, (axis, (name, title)) in enumerate(zip(panels, PANELS.items(), strict=True)):
            t, v = self.run.potential(name)
            colour = COLOURS[(0, 1, 2, 3, 4, 5, 5, 3, 3)[n]]
            axis.plot([0, *t, END_MS], [v[0], *v, v[-1]], color=colour, linewidth=0.8)
            if name.startswith("RZ"):
                axis.vlines((20, 61 if name == "RZ_in_time" else 40.5), -98, -88, color=GREY, linewidth=1.2)
            else:
                at, step = INPUTS.get(name, ((0, 20, 20, END_MS), (-95, -95, -88, -88)))
                axis.plot(at, step, color=GREY, linewidth=0.8)
            axis.set(xlim=(0, END_MS), ylim=(-108, 38), yticks=[-60, 0, 30])
            axis.set_title(title)
            if n % 3 == 0:
                axis.set_ylabel("v (mV)")
            if n > 5:
                axis.set_xlabel("time (ms)")


def words(t: Array) -> str:
    """Number of spikes and their intervals, as a person would tell them."""
    intervals = np.diff(t)
    if not intervals.size:
        return f"{t.size} spikes"
    return (
        f"{t.size} spikes, intervals {', '.join(f'{i:.0f}' for i in intervals[:4])} … {intervals[-1]:.0f} ms"
    )


def even(t: Array) -> bool:
    """Intervals neither lengthen nor shorten by more than a quarter from the second on."""
    intervals = np.diff(t)[1:]
    return bool(intervals.size > 2 and intervals.max() < 1.25 * intervals.min())


def _rs(t: Array) -> bool:
    i = np.diff(t)
    return bool(i.size > 2 and i[0] < 0.7 * i[-1] and i.min() > 10 and even(t[1:]))


def _ib(t: Array) -> bool:
    i = np.diff(t)
    return bool(i.size > 4 and i[0] < 8 and i[4:].min() > 20)


def _ch(t: Array) -> bool:
    i = np.diff(t)
    between = np.flatnonzero(i > 15)
    return bool(between.size > 3 and np.diff(between).min() >= 3 and np.median(i) < 6)


def _fs(t: Array) -> bool:
    i = np.diff(t)
    return bool(i.size > 20 and i.max() < 10 and i[3:].max() < 1.2 * i[3:].min())


def _lts(t: Array) -> bool:
    i = np.diff(t)
    return bool(
        i.size > 10 and i[0] < 6 and i[-1] > 2.5 * i[0] and i.max() < 25 and np.all(np.diff(i) > -1.1)
    )


KINDS: dict[str, tuple[str, Callable[[Array], bool]]] = {
    "RS": ("first interval short, then regular", _rs),
    "IB": ("a burst, then single spikes", _ib),
    "CH": ("bursts that come again", _ch),
    "FS": ("fast, without adaptation", _fs),
    "LTS": ("fast, with adaptation", _lts),
}
