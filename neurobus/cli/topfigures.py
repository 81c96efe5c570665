"""What `neurobus top` says, whether live or once: figures as text, potentials as levels."""

from __future__ import annotations

from math import isnan, isqrt
from typing import NamedTuple

import numpy as np
from rich.text import Text

from neurobus.cli.poke import WEIGHTS
from neurobus.cluster.folder import Manifest
from neurobus.cluster.live import Floats, Live
from neurobus.words import counted, number

USUAL_MV = (-70.0, -55.0)
"""Rest and threshold where a manifest does not tell."""


class Push(NamedTuple):
    """A poke's weight and its unit."""

    weight: float
    unit: str


class Depolarisation:
    """Membrane potentials in mV as levels: 0 at rest, 1 at threshold, nan where not known."""

    def __init__(self, manifest: Manifest):
        levels = manifest.levels_mv or [None] * len(manifest.ids)
        known = np.array([level or USUAL_MV for level in levels], np.float64).reshape(-1, 2)
        self._rest = known[:, 0]
        # A neuron whose threshold lies at its rest or below it fires all the time; any scale will do.
        self._span = np.maximum(known[:, 1] - known[:, 0], 1.0)

    def __call__(self, mv: Floats) -> Floats:
        return (mv - self._rest) / self._span


def figure(value: float | int | None, form: str = ",") -> str:
    """A number; what is not measured is a dash."""
    return "–" if value is None or isnan(value) else number(value, form)


def default_push(manifest: Manifest, index: int) -> Push | None:
    """The weight that `poke` gives if not told, or None for what cannot be poked."""
    if not manifest.is_neuron(index) or not manifest.lives(index):
        return None
    unit = manifest.weight_units[index]
    return Push(WEIGHTS.get(unit, 1.0), unit)


INFERNO = ((0, 0, 4), (66, 10, 104), (147, 38, 103), (221, 81, 58), (252, 165, 10), (252, 255, 164))
SEA = ((0, 0, 4), (30, 70, 140), (90, 170, 230), (220, 240, 255))
WIDEST = 64


def shaped(n: int) -> tuple[int, int]:
    """Rows and columns in which n weights are shown: a square where they are one."""
    side = isqrt(n)
    return (side, side) if side * side == n else (-(-n // WIDEST), min(n, WIDEST))


def weight_picture(weights: Floats) -> list[Text]:
    """Weights as half blocks, two rows a line: dark is 0, bright the largest; negative ones are blue."""
    rows, columns = shaped(len(weights))
    cells = np.zeros((rows + rows % 2, columns))
    cells.ravel()[: len(weights)] = weights
    cells /= max(float(np.abs(weights).max(initial=0.0)), 1e-12)

    def colour(x: float) -> str:
        scale = INFERNO if x >= 0 else SEA
        at = min(abs(x), 1.0) * (len(scale) - 1)
        low, part = min(int(at), len(scale) - 2), at - min(int(at), len(scale) - 2)
        mixed = (round(a + part * (b - a)) for a, b in zip(scale[low], scale[low + 1], strict=True))
        return "#" + "".join(f"{value:02x}" for value in mixed)

    lines = []
    for y in range(0, len(cells), 2):
        line = Text(" ")
        for x in range(columns):
            block = "▀▀" if columns <= WIDEST // 2 else "▀"
            line.append(block, f"{colour(cells[y, x])} on {colour(cells[y + 1, x])}")
        lines.append(line)
    return lines


def spikes_per_s(live: Live) -> float:
    """Of all neurons and sources together; nan: not measured yet."""
    return float(live.rates_hz().sum())


def clock(manifest: Manifest) -> str:
    if "replay" in manifest.options:
        return "replay" + (f" × {manifest.pace:g}" if manifest.pace else "")
    return f"{manifest.clock} clock" + (f" × {manifest.pace:g}" if manifest.pace else "")


def headline(live: Live) -> tuple[tuple[Text, Text], tuple[Text, Text]]:
    """Two lines, each with a left and a right half."""
    manifest, totals = live.manifest, live.totals()
    model_s = None if live.model_ns is None else live.model_ns * 1e-9
    who = Text.assemble(
        (manifest.name, "bold"), f"   {clock(manifest)}   ", (f"{figure(model_s, ',.1f')} s", "bold")
    )
    size = Text(
        f"{counted(manifest.neurons_now, 'neuron')} · {counted(manifest.processes_now, 'process')}", "dim"
    )
    activity = Text.assemble(
        f"{figure(totals['spikes'])} spikes   ", (figure(spikes_per_s(live), ",.0f"), "bold"), " spikes/s"
    )
    trouble = Text("   ").join(
        Text(f"{name} {figure(value)}", "bold red" if value else "" if value == 0 else "dim")
        for name, value in totals.items()
        if name in ("lost", "late", "duplicates", "dropped")
    )
    if live.missed:
        trouble.append(f"   {figure(live.missed)} spikes missed by this view", "yellow")
    return (who, size), (activity, trouble)
