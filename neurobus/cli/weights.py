"""`neurobus weights`: the synapses of a living neuron, as they are now."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

import click

from neurobus.bus.peer import Peer
from neurobus.cli.clusters import chosen, started
from neurobus.cli.common import cluster_option, json_option, print_json
from neurobus.cluster.folder import Manifest
from neurobus.errors import InputError, RunError
from neurobus.wire import bus as wire
from neurobus.wire import verbs
from neurobus.wire.message import Control, Report
from neurobus.words import counted

PATIENCE_S = 5.0


@click.command(name="weights")
@click.argument("neuron", metavar="NEURON")
@click.option("--most", type=click.IntRange(min=0), default=20, show_default=True, metavar="N",
              help="Print the N strongest only; 0: all.")  # fmt: skip
@cluster_option
@json_option
def command(neuron: str, most: int, cluster: str | None, as_json: bool) -> None:
    """Print the synapses that end on NEURON: from whom, how strong now, how late, of which type.

    \b
    neurobus weights exc.0
    neurobus weights exc.0 --json

    What a run ended with stands in its snapshots.
    """
    manifest = started(cluster)
    (neuron, *others) = chosen(manifest, [neuron])
    if others or not manifest.is_neuron(manifest.ids.index(neuron)):
        raise InputError("name one neuron; sources have no synapses")
    if not manifest.lives(manifest.ids.index(neuron)):
        raise InputError(f"'{neuron}' lives outside of '{manifest.name}'; its weights are its own affair")
    rows, step = _asked(manifest, neuron)
    unit = manifest.weight_units[manifest.ids.index(neuron)]
    t_ms = step * manifest.dt_ns / 1e6
    if as_json:
        print_json({"neuron": neuron, "t_ms": t_ms, "unit": unit, "synapses": rows})
        return
    rows.sort(key=lambda row: -abs(row["weight"]))
    total = f"{neuron} has {counted(len(rows), 'synapse')} at {t_ms:.1f} ms"
    shown = rows[: most or None]
    click.echo(total + (f"; the {most} strongest:" if len(shown) < len(rows) else ":"))
    wide = max((len(row["pre"]) for row in shown), default=0)
    for row in shown:
        weight = f"{row['weight']:.6g} {unit}".rstrip()
        click.echo(f"  {row['pre']:<{wide}}  {weight:>16}  after {row['delay_ms']:g} ms  {row['type']}")


def _asked(manifest: Manifest, neuron: str) -> tuple[list[dict[str, Any]], int]:
    """The neuron's synapses, and the step they are of. Raises RunError when nobody answers."""
    stream = manifest.streams[manifest.ids.index(neuron)]
    peer = Peer(manifest.bus, observer=True)
    try:
        peer.subscribe(wire.topic(wire.REPORT, stream))
        peer.join(f"weights-{os.getpid()}")
        peer.send(wire.encode(Control(stream, verbs.AskWeights(neuron))))
        give_up = time.monotonic() + PATIENCE_S
        while (left := give_up - time.monotonic()) > 0:
            data = peer.wait(left)
            if data is None:
                break
            with contextlib.suppress(wire.Malformed, IndexError):
                event = wire.decode(data)
                if isinstance(event, Report) and isinstance(event.message, verbs.Weights):
                    return _rows(manifest, event.message), event.message.step
    finally:
        peer.close()
    raise RunError(f"'{neuron}' did not answer; is the run at its end?")


def _rows(manifest: Manifest, told: verbs.Weights) -> list[dict[str, Any]]:
    columns = zip(told.pre, told.weight, told.delay, told.receptor, told.kind, strict=True)
    return [
        {"pre": manifest.ids[pre], "weight": weight, "delay_ms": delay * manifest.dt_ns / 1e6,
         "receptor": receptor, "type": told.types[kind]}
        for pre, weight, delay, receptor, kind in columns
    ]  # fmt: skip
