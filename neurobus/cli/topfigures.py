"""What `neurobus top` says, whether live or once: figures as text, potentials as levels."""

from __future__ import annotations

from math import isnan
from typing import NamedTuple

import numpy as np
from rich.text import Text

from neurobus.cli.poke import WEIGHTS
from neurobus.cluster.folder import Manifest
from neurobus.cluster.live import Floats, Live

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


def figure(value: float | int | None, form: str = "{:,}") -> str:
    """A number with thin groups; what is not measured is a dash."""
    return "–" if value is None or isnan(value) else form.format(value).replace(",", " ")


def default_push(manifest: Manifest, index: int) -> Push | None:
    """The weight that `poke` gives if not told, or None for what cannot be poked."""
    if index >= manifest.n_neurons or manifest.ids[index] in manifest.external:
        return None
    unit = manifest.weight_units[index]
    return Push(WEIGHTS.get(unit, 1.0), unit)


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
        (manifest.name, "bold"), f"   {clock(manifest)}   ", (f"{figure(model_s, '{:,.1f}')} s", "bold")
    )
    size = Text(f"{figure(manifest.n_neurons)} neurons · {figure(manifest.processes)} processes", "dim")
    activity = Text.assemble(
        f"{figure(totals['spikes'])} spikes   ", (figure(spikes_per_s(live), "{:,.0f}"), "bold"), " spikes/s"
    )
    trouble = Text("   ").join(
        Text(f"{name} {figure(value)}", "bold red" if value else "" if value == 0 else "dim")
        for name, value in totals.items()
        if name in ("lost", "late", "duplicates", "dropped")
    )
    if live.missed:
        trouble.append(f"   {figure(live.missed)} spikes missed by this view", "yellow")
    return (who, size), (activity, trouble)
