"""`neurobus boards`: the boards of a cluster and their links."""

from __future__ import annotations

import os
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from neurobus.bridge import client
from neurobus.cli.clusters import started
from neurobus.cli.common import at_most, cluster_option, json_option, print_json
from neurobus.errors import InputError
from neurobus.wire import verbs

MOST_S = 30.0
"""No answer is waited for longer; each wait has a limit of its own, and ends sooner."""
HUES = ("rest", "warm", "cool", "flash")


@click.command(name="boards")
@click.option("--blink", metavar="NEURON|PORT", help="Let that board's strip blink for 3 s.")
@click.option(
    "--palette", metavar="COLOURS",
    help="Colours of the strips: rest, warm, cool, flash as RRGGBB, e.g. 020203,602c06,081e60,787468.",
)  # fmt: skip
@cluster_option
@json_option
def command(blink: str | None, palette: str | None, cluster: str | None, as_json: bool) -> None:
    """List the boards of a running cluster with live figures of their links.

    \b
    neurobus boards
    neurobus boards --json
    neurobus boards --blink n.3

    Round trip, bytes of credit free, frames damaged (bad) or missing (gaps), what was sent again; inputs that
    came late; spikes on which board and shadow did not agree. Zero is the normal figure of all but the first.
    """
    manifest = started(cluster)
    colours = None if palette is None else _colours(palette)
    if not client.runs(manifest):
        if as_json:
            print_json([])
        else:
            click.echo(f"no board is attached to '{manifest.name}'; neurobus attach PORT --as NEURON")
        return
    with at_most(MOST_S, "the bridge does not answer"), client.connected(manifest) as bridge:
        if blink is not None:
            bridge.end(bridge.begin(verbs.Identify(which=blink, seconds=3)))
        if colours is not None:
            bridge.end(bridge.begin(verbs.SetPalette(colours=colours)))
        boards = bridge.end(bridge.begin(verbs.ListBoards())).boards or []
    if as_json:
        print_json(boards)
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for head in ("neuron", "board", "chip", "port", "is", "trip", "drift", "free", "bad", "gaps", "resent",
                 "spikes", "late", "disagreed", "losses"):  # fmt: skip
        table.add_column(
            head, justify="left" if head in ("neuron", "board", "chip", "port", "is") else "right"
        )
    for board in boards:
        table.add_row(*_row(board))
    terminal = Console(highlight=False)
    (terminal if terminal.is_terminal else Console(highlight=False, width=160)).print(table)


def _row(board: dict[str, Any]) -> list[str]:
    line = board["link"]

    def figure(value: float | None, unit: str = "") -> str:
        return "–" if value is None else f"{value:g}{unit}"

    return [
        board["neuron"], board["board"] or "–", board["chip"] or "–", os.path.basename(board["port"]),
        board["stage"],
        figure(line["round_trip_ms"], " ms"), figure(line["drift_ppm"], " ppm"),
        f"{line['free']}/{line['credit']}", figure(line["bad"]), figure(line["gaps"]), figure(line["resent"]),
        *(figure(board[name]) for name in ("spikes", "late", "disagreements", "losses")),
    ]  # fmt: skip


def _colours(text: str) -> Any:
    parts = [part.strip().removeprefix("#") for part in text.split(",")]
    try:
        colours = [list(bytes.fromhex(part)) for part in parts]
    except ValueError:
        colours = []
    if len(colours) != len(HUES) or any(len(colour) != 3 for colour in colours):
        raise InputError(f"--palette {text}: write four colours as RRGGBB, of {', '.join(HUES)}")
    return colours
