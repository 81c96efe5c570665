"""`neurobus top`: watch a running cluster."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from math import isnan
from typing import Any

import click
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from neurobus import led
from neurobus.cli.clusters import picked
from neurobus.cli.common import cluster_option, json_option, print_json
from neurobus.cli.plain import CELLS, use_stand_ins
from neurobus.cli.topfigures import Depolarisation, figure, headline, spikes_per_s
from neurobus.cluster import folder as folders
from neurobus.cluster.live import Live
from neurobus.cluster.observer import LiveObserver
from neurobus.errors import InputError

LISTEN_S = 1.2
"""For a rate of the last second, as `--once` shows it."""
PATIENCE_S = 3.0
"""How long `--once` waits for processes that have not answered."""
BAR = 20


@click.command(name="top")
@cluster_option
@click.option("--once", is_flag=True, help="Print one picture and leave.")
@click.option("--only", metavar="IDS", help="With --once: only these neurons: a,exc,AV*,n.3..7.")
@json_option
def command(cluster: str | None, once: bool, only: str | None, as_json: bool) -> None:
    """Watch a running cluster: every neuron's LED, potential, rate and spikes, and what was lost or late.

    \b
    neurobus top
    neurobus top --cluster worm --once --json

    \b
    q quit   s sort by rate or id   / filter   arrows choose   p poke the chosen neuron   + - harder, softer

    An LED is amber towards the threshold, blue below rest, and flashes white at a spike. A dash stands for
    what is not measured. The view ends with the cluster.
    """
    if as_json and not once:
        raise InputError("--json prints one picture; it goes with --once")
    if not once and not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise InputError("the live view needs a terminal; --once prints one picture")
    if only is not None and not once:
        raise InputError("--only goes with --once; the live view filters by /")
    manifest = folders.find(cluster)
    shown: Sequence[int] = [i for i, name in enumerate(manifest.ids) if name not in manifest.left]
    if only is not None:
        shown = picked(manifest, [only])
    with closing(LiveObserver(manifest, f"top-{os.getpid()}")) as observer:
        if once:
            _listen(observer)
            if as_json:
                print_json(_picture(observer.live, shown))
            else:
                _print(observer.live, shown)
            return
        from neurobus.cli.topview import Top

        use_stand_ins(CELLS)
        if Top(observer).run() == "ended":
            click.echo(_farewell(observer.live))


def _listen(observer: LiveObserver) -> None:
    """Until there is a rate and every process has answered, or has had its time, or the run has ended."""
    begun = asked = time.monotonic()
    observer.ask()
    while (now := time.monotonic()) - begun < (LISTEN_S if observer.live.answered else PATIENCE_S):
        if now - asked > observer.ask_every_s:
            observer.ask()
            asked = now
            if not observer.running():
                break
        observer.listen(0.05)
        time.sleep(0.01)


def _picture(live: Live, shown: Sequence[int]) -> dict[str, Any]:
    """One object; what is not measured is null. Late and lost are of a neuron's process."""
    manifest, rates = live.manifest, live.rates_hz()
    neurons = []
    for index, name in ((index, manifest.ids[index]) for index in shown):
        status = live.status.get(manifest.streams[index], {})
        neurons.append({
            "neuron": name, "process": manifest.streams[index] if manifest.lives(index) else None,
            "rate_hz": _number(rates[index], 3), "spikes": _known(live.counts[index]),
            "mv": _number(live.mv[index], 4), "lost": status.get("lost"), "late": status.get("late"),
            "board": live.boards.get(index), "strip": _strip(live, index),
        })  # fmt: skip
    return {
        "name": manifest.name, "config": manifest.config, "clock": manifest.clock,
        "model_s": None if live.model_ns is None else live.model_ns * 1e-9,
        "neurons": manifest.neurons_now, "processes": manifest.processes_now,
        "spikes_per_s": _number(spikes_per_s(live), 3), **live.totals(), "missed_here": live.missed,
        "silent": _silent(live), "each": neurons,
    }  # fmt: skip


def _silent(live: Live) -> list[str]:
    """Processes that do not answer, or not any more."""
    gone = live.silent(time.monotonic())
    manifest = live.manifest
    return sorted({stream for stream, silent in zip(manifest.streams, gone, strict=True) if silent}
                  & manifest.answering)  # fmt: skip


def _strip(live: Live, index: int) -> list[str] | None:
    """Colours of the LEDs on a neuron's board, RRGGBB."""
    rgb = live.strips.get(index)
    return None if rgb is None else [rgb[at : at + 3].hex() for at in range(0, len(rgb), 3)]


def _known(count: int) -> int | None:
    return int(count) if count >= 0 else None


def _number(value: float, digits: int) -> float | None:
    return None if isnan(value) else round(float(value), digits)


def _print(live: Live, shown: Sequence[int]) -> None:
    """The same for the eye."""
    console = Console(highlight=False)
    for left, right in headline(live):
        console.print(Text.assemble(left, "   ", right))
    rates, levels = live.rates_hz(), Depolarisation(live.manifest)(live.mv)
    now = time.monotonic()
    silent = set(_silent(live))
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("neuron")
    table.add_column("potential", min_width=BAR)
    for name in ("mV", "Hz", "spikes"):
        table.add_column(name, justify="right")
    table.add_column()
    for index, name in ((index, live.manifest.ids[index]) for index in shown):
        colour = led.colour(levels[index], now - live.spiked_s[index])
        style = Style(color=Color.from_rgb(*colour))
        filled = 0 if isnan(levels[index]) else round(max(0.0, min(levels[index], 1.0)) * BAR)
        status = live.status.get(live.manifest.streams[index], {})
        words = [live.boards[index]] if index in live.boards else []
        words += [f"{what} {figure(status[what])}" for what in ("lost", "late") if status.get(what)]
        if live.manifest.streams[index] in silent:
            words.insert(0, "silent")
        table.add_row(
            Text.assemble(("● ", style), name), Text("━" * filled, style), figure(live.mv[index], ".1f"),
            figure(rates[index], ".1f"), figure(_known(live.counts[index])), Text("  ".join(words), "red"),
        )  # fmt: skip
    console.print(table)


def _farewell(live: Live) -> str:
    model_s = 0.0 if live.model_ns is None else live.model_ns * 1e-9
    return f"{live.manifest.name} has ended, {model_s:.1f} s of model time after its start"
