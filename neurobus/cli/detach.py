"""`neurobus detach`: neurons come back from their boards."""

from __future__ import annotations

import click

from neurobus.bridge import client
from neurobus.cli.clusters import started
from neurobus.cli.common import at_most, cluster_option, json_option, print_json
from neurobus.wire import verbs

MOST_S = 60.0
"""No answer is waited for longer, however many boards there are."""


@click.command(name="detach")
@click.argument("which", metavar="NEURON|PORT...", nargs=-1)
@cluster_option
@json_option
def command(which: tuple[str, ...], cluster: str | None, as_json: bool) -> None:
    """Give NEURON, or what the board on PORT carries, back to its process. Without a name: all.

    \b
    neurobus detach n.3
    """
    manifest = started(cluster)
    with at_most(MOST_S, "the bridge does not answer"), client.connected(manifest) as bridge:
        answers = [bridge.end(bridge.begin(verbs.Detach(which=name))) for name in which or (None,)]
    boards = [board for answer in answers for board in answer.detached or ()]
    if as_json:
        print_json(boards)
        return
    for board in boards:
        click.echo(f"{board['neuron']} is back from board {board['board']} on {board['port']}")
    if not boards:
        click.echo(f"no board is attached to '{manifest.name}'")
