"""`neurobus ps`: list the clusters that run."""

from __future__ import annotations

import time
from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table

from neurobus.cli.common import json_option, print_json
from neurobus.cluster import folder as folders

SHOWN = (
    "name",
    "pid",
    "config",
    "clock",
    "pace",
    "seed",
    "n_neurons",
    "processes",
    "external",
    "started_unix_ns",
)


@click.command(name="ps")
@json_option
def command(as_json: bool) -> None:
    """List the clusters that run, and the replays that have a bus of their own.

    \b
    neurobus ps
    """
    clusters = folders.running()
    now = time.time()
    if as_json:
        print_json(
            [
                {
                    **{key: asdict(m)[key] for key in SHOWN},
                    "n_neurons": m.neurons_now,
                    "processes": m.processes_now,
                    "guests": list(m.guests),
                    "up_s": round(now - m.started_unix_ns * 1e-9, 1),
                    "state": _state(m),
                }
                for m in clusters
            ]
        )
        return
    if not clusters:
        click.echo("no cluster is running; start one with 'neurobus run CONFIG'")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("name", "clock", "neurons", "processes", "up", "pid", "config"):
        table.add_column(name, justify="right" if name in ("neurons", "processes", "up", "pid") else "left")
    for m in clusters:
        clock = m.clock if m.pace is None or _state(m) == "replay" else f"{m.clock} × {m.pace:g}"
        state = _state(m)
        table.add_row(
            f"[bold]{m.name}[/]",
            clock if state == "runs" else state,
            str(m.neurons_now),
            str(m.processes_now),
            _span(now - m.started_unix_ns * 1e-9),
            str(m.pid),
            m.config,
        )
    Console(highlight=False, soft_wrap=True).print(table)


def _state(manifest: folders.Manifest) -> str:
    if "replay" in manifest.options:
        return "replay"
    return "runs" if manifest.t0_ns is not None else "starting"


def _span(seconds: float) -> str:
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
