"""`neurobus ports`: boards that are plugged in, and what they run."""

from __future__ import annotations

import asyncio

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from neurobus.bridge import identify
from neurobus.bridge.identify import Identity, State
from neurobus.cli.common import json_option, print_json

WIDTH = 120
HELD = {"whole": "holds a neuron", "running": "runs a neuron"}
COLOUR = {State.BOARD: "green", State.OTHER: "yellow", State.SILENT: "dim"}


@click.command(name="ports")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long to wait for an answer. Default: 3 for real boards, 1.5 for simulated ones.",
)
@json_option
def command(wait_s: float | None, as_json: bool) -> None:
    """Ask every serial port who is there; nothing that runs is disturbed.

    \b
    neurobus ports

    A port that somebody else holds, or that you may not open, is listed with the reason and what to do.
    """
    found = asyncio.run(identify.identify_all(timeout_s=wait_s))
    if as_json:
        print_json([identity.row() for identity in found])
    elif not found:
        click.echo("no board is plugged in; 'neurobus simboard' starts simulated ones")
    else:
        _show(found)


def _show(found: list[Identity]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console = Console(highlight=False, soft_wrap=True, width=WIDTH)
    boards = [identity for identity in found if identity.state is State.BOARD]
    if boards:
        console.print(_table(boards))
    for serial, names in _namesakes(boards).items():
        console.print(
            f"[yellow]{' and '.join(names)} have one serial number, {serial:08X}; attached to one cluster, "
            "the second is given another[/]"
        )
    for identity in found:
        if identity.state is not State.BOARD:
            colour, name = COLOUR.get(identity.state, "red"), short(identity)
            console.print(f"[bold]{name}[/]  [{colour}]{escape(identity.word)}[/]{_usb(identity)}")


def _namesakes(boards: list[Identity]) -> dict[int, list[str]]:
    """Serial numbers that more than one board has, and the ports of those."""
    having: dict[int, list[str]] = {}
    for identity in boards:
        if (serial := identity.row()["serial"]) is not None:
            having.setdefault(serial, []).append(short(identity))
    return {serial: names for serial, names in having.items() if len(names) > 1}


def _table(boards: list[Identity]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("port", "MCU", "baud", "chip", "synapses", "LEDs", "serial", ""):
        table.add_column(name, justify="right" if name in ("baud", "synapses") else "left", no_wrap=True)
    for identity in boards:
        row = identity.row()
        table.add_row(
            f"[bold]{short(identity)}[/]",
            f"[green]{row['mcu']}[/] {row['clock_hz'] / 1e6:g} MHz",
            str(identity.baud),
            str(row["chip"]),
            str(row["synapses"]),
            f"{row['leds']} {row['led']}" if row["leds"] else "none",
            f"{row['serial']:08X}" if row["serial"] is not None else "–",
            HELD.get(row["held"], ""),
        )
    return table


def short(identity: Identity) -> str:
    return identity.port.short if identity.port.simulated else identity.port.name


def _usb(identity: Identity) -> str:
    return f"  [dim]{escape(identity.port.description)}[/]" if identity.port.vid is not None else ""
