"""How a memory persists while everything changes: a slow component of the weight, beside STDP alone.

What a call of the pattern moves the potential by, less a call of its complement, is the memory, as a share
of what the largest weights could do. Noise drives weights that obey STDP alone to one value, whatever they
were. With the slow component s of Benna & Fusi (two beakers, w and s) noise overwrites w; when it ends, w
returns to what s has kept, with the time constant 1 / (1 / tau_fast + 1 / tau_slow).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from neurobus.exhibits import Exhibit, Lab, Row, Run
from neurobus.model import Array
from neurobus.picture import COLOURS, FAINT, GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TAUGHT_S, NOISE_S, END_S = 60.0, (62.0, 122.0), 166.0
CALLS_MS = np.arange(1100.0, END_S * 1e3, 4000.0)
"""The pattern reaches the readers 10 ms after its call, its complement 60 ms later."""
LARGEST_MV, TAU_M_MS = 50 * 1.0, 10.0
RETURN_S = 1 / (1 / 20 + 1 / 60)
READERS = ("plain", "kept")


class Memory(Exhibit):
    title = "A memory that outlives noise"
    claim = "With a slow component of the weight a memory overwritten by noise comes back; without it, never."
    source = "Benna & Fusi 2016 (two variables); STDP: van Rossum, Bi & Turrigiano 2000"
    quick = False
    controls = ('synapses.12.params={ W_max = "1 mV", tau_fast = "20 s", tau_slow = "1 s" }',)

    def measure(self, lab: Lab) -> list[Row]:
        run = lab.run("memory", keep_state=True)
        self.memory = {reader: called(run, reader, 10.0) - called(run, reader, 70.0) for reader in READERS}
        self.final = {
            reader: (run.weights("pattern", reader), run.weights("rest", reader)) for reader in READERS
        }
        at_s = CALLS_MS / 1e3
        plain, kept = self.memory["plain"], self.memory["kept"]
        heard = np.isfinite(plain)
        taught, noisy = (np.flatnonzero(heard & (at_s < end))[-1] for end in (TAUGHT_S, NOISE_S[1]))
        calm = at_s > NOISE_S[1] + 2
        tau_s = time_constant(at_s[calm], kept[calm])
        rows = [
            Row.above("taught, without", plain[taught], 0.8),
            Row.above("taught, with a slow component", kept[taught], 0.5),
            Row.below("after the noise, without", abs(plain[noisy]), 0.05),
            Row.below("at the end, without", abs(plain[-1]), 0.02, source="all weights are one"),
            Row.above("at the end, with a slow component", kept[-1], 0.15),
            Row.above("… how much of it came back after the noise", kept[-1] - kept[noisy], 0.05),
            Row.near("time constant of the return", tau_s, RETURN_S, 2, "s", "of tau_fast and tau_slow"),
        ]  # fmt: skip
        for reader in READERS:
            pattern, rest = self.final[reader]
            rows.append(Row.near(f"weights of '{reader}' say the same", pattern.mean() - rest.mean(),
                                 self.memory[reader][-1], 0.02))  # fmt: skip
        return rows

    def draw(self, figure: Figure) -> None:
        mosaic: list[Any] = [["time", "plain"], ["time", "kept"]]
        axes = figure.subplot_mosaic(mosaic, width_ratios=(2.2, 1))
        self._time(axes["time"])
        for reader, word in zip(READERS, ("without", "with a slow component"), strict=True):
            pattern, rest = self.final[reader]
            bins = np.linspace(0, 1, 26).tolist()
            axes[reader].hist(pattern, bins, color=COLOURS[2], alpha=0.75, label="pattern")
            axes[reader].hist(rest, bins, color=GREY, alpha=0.6, label="complement")
            axes[reader].set(title=f"At the end, {word}", ylabel="synapses", xlim=(0, 1))
        axes["plain"].legend()
        axes["plain"].tick_params(labelbottom=False)
        axes["kept"].set_xlabel("weight / largest")

    def _time(self, axis: Axes) -> None:
        for start, stop, word in (
            (0.0, TAUGHT_S, "taught"),
            (*NOISE_S, "noise"),
            (NOISE_S[1], END_S, "rest"),
        ):
            axis.axvspan(start, stop, color=FAINT, alpha=1.0 if word == "noise" else 0.35, linewidth=0)
            axis.text((start + stop) / 2, 1.03, word, color=GREY, ha="center")
        for reader, colour, word, at, up in (
            ("plain", COLOURS[1], "STDP alone", 28, 0.9),
            ("kept", COLOURS[0], "with a slow component", 164, 0.25),
        ):
            heard = np.isfinite(self.memory[reader])
            axis.plot(CALLS_MS[heard] / 1e3, self.memory[reader][heard], "o-", color=colour, ms=3, lw=1.1)
            axis.text(at, up, word, color=colour, ha="right")
        axis.axhline(0, color=GREY, linewidth=0.6)
        axis.set(xlabel="time (s)", ylabel="memory: answer to the pattern less to its complement",
                 xlim=(0, END_S), ylim=(-0.08, 1.1))  # fmt: skip


def called(run: Run, reader: str, late_ms: float) -> Array:
    """By how much each call moved a reader at once, as a share of what the largest weights could do; NaN
    where it had just fired, and heard nothing."""
    t, v = run.potential(reader)
    v = v + 70.0
    moved, fired = [], run.spikes_ms(reader)
    for at in CALLS_MS + late_ms:
        here, before = (np.searchsorted(t, at + offset) - 1 for offset in (0.05, -0.05))
        left = v[before] * np.exp((t[before] - at) / TAU_M_MS) if before >= 0 else 0.0
        deaf = np.any((fired > at - 2.15) & (fired < at + 0.05))
        moved.append(np.nan if deaf else v[here] - left if here > before else 0.0)
    return np.array(moved) / LARGEST_MV


def time_constant(t: Array, x: Array) -> float:
    """Of x = end - (end - x0) exp(-t / tau), by what each interval of equal length leaves of the way."""
    steps = np.diff(x)
    return float(-(t[1] - t[0]) / np.polyfit(np.arange(len(steps)), np.log(np.abs(steps) + 1e-12), 1)[0])
