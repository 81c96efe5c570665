"""`neurobus attach`: a board becomes a neuron of a running cluster."""

from __future__ import annotations

import click

from neurobus.bridge import client
from neurobus.bridge.bridge import BAUD
from neurobus.bridge.lease import require_neuron
from neurobus.bridge.ports import resolve
from neurobus.cli.clusters import chosen, started
from neurobus.cli.common import TIME, cluster_option, json_option, print_rows
from neurobus.errors import InputError
from neurobus.wire import verbs
from neurobus.words import counted


@click.command(name="attach")
@click.argument("ports", metavar="PORT...", nargs=-1, required=True)
@click.option("--as", "neurons", metavar="NEURON", multiple=True, help="The neuron it becomes; one a port.")
@click.option("--baud", type=int, default=BAUD, show_default=True, help="As the firmware was built.")
@click.option(
    "--lag", "lag_ns", type=TIME, metavar="TIME",
    help="Let the board run so far behind the bus. Default: by the network's smallest delay.",
)  # fmt: skip
@cluster_option
@json_option
def command(
    ports: tuple[str, ...], neurons: tuple[str, ...], baud: int, lag_ns: int | None, cluster: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Let the board on PORT take NEURON over while the network runs. Nobody downstream notices.

    \b
    neurobus attach /dev/ttyUSB0 --as n.3
    neurobus attach ttySIM0 ttySIM1 --as n.3 --as n.4

    The board blinks, is given the neuron's state, catches up, and runs beside the neuron's process until
    their spikes agree; then it owns the neuron, and the process becomes its shadow. Pull the cable, and the
    shadow owns it again; plug it in, and the same board takes its neuron back. The bridge goes on in the
    background until the cluster ends or its last board is detached.
    """
    manifest = started(cluster)
    named = tuple(name for word in neurons for name in chosen(manifest, [word]))
    if len(set(named)) != len(named):
        raise InputError("one neuron, one board; --as names the same neuron twice")
    neurons = named
    if len(ports) != len(neurons):
        raise InputError(
            f"{counted(len(ports), 'port')} and {counted(len(neurons), 'neuron')}; "
            "give one --as NEURON for each port"
        )
    for neuron in neurons:
        if neuron in manifest.guests:
            raise InputError(
                f"'{neuron}' was started by hand; a board takes the place of a neuron of the config"
            )
        require_neuron(neuron, manifest.ids, manifest.n_neurons, manifest.streams)
    names = [resolve(port) for port in ports]
    word = (lambda text: None) if as_json else (lambda text: click.echo(text, err=True))
    with client.connected(manifest, start=True, word=word) as bridge:
        requests = [
            bridge.begin(
                verbs.Attach(
                    port=name, neuron=neuron, baud=baud, lag_ms=None if lag_ns is None else lag_ns * 1e-6
                )
            )
            for name, neuron in zip(names, neurons, strict=True)
        ]
        answers = bridge.all(requests, client.ATTACH_S)
    boards = [answer.board or {} for answer in answers]
    if as_json:
        print_rows(boards)
        return
    for board in boards:
        click.echo(
            f"{board['neuron']} is board {board['board']} on {board['port']}; "
            f"caught up in {board['catch_up_ms']:g} ms, {board['gap_ms']:g} ms without an owner"
        )
