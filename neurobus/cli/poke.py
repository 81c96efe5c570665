"""`neurobus poke`: give a neuron of a running cluster a push."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence

import click

from neurobus import units
from neurobus.bus.peer import Peer
from neurobus.cli.clusters import chosen, started
from neurobus.cli.common import cluster_option, json_option, print_rows
from neurobus.cluster.folder import Manifest
from neurobus.cluster.observer import stamped
from neurobus.errors import InputError, RunError
from neurobus.events import Stimulus
from neurobus.wire import bus as wire

WEIGHTS = {"pA": 4000.0, "mV": 20.0}
"""A push by weight unit that makes a neuron with common parameters fire once; 1 in other units."""
PATIENCE_S = 2.0


@click.command(name="poke")
@click.argument("neurons", metavar="NEURON...", nargs=-1, required=True)
@click.option(
    "--weight", metavar="WEIGHT", help="'200 pA', or a number in the model's unit. Default: 4000 pA, 20 mV."
)
@cluster_option
@json_option
def command(neurons: tuple[str, ...], weight: str | None, cluster: str | None, as_json: bool) -> None:
    """Give NEURON a push, as if one spike had arrived over a synapse of that weight; a source fires once.

    \b
    neurobus poke n.0
    neurobus poke ALML ALMR AVM --weight "400 pA"
    neurobus poke "AV*" n.3..7 exc          patterns, ranges, groups, as wherever neurons are named

    The push is part of the run's recording, and `log verify` repeats it.
    """
    manifest = started(cluster)
    named = chosen(manifest, neurons)
    pushes = [(name, _weight(manifest, name, weight)) for name in named]
    peer = Peer(manifest.bus, observer=True)
    try:
        for name in named:
            peer.subscribe(wire.topic(wire.STIMULUS, name))
        origin = f"poke-{os.getpid()}"
        peer.join(origin)
        done = _push(peer, manifest, pushes, origin)
    finally:
        peer.close()
    rows = []
    for push in done:
        index = manifest.ids.index(push.neuron)
        unit, t_ms = manifest.weight_units[index], push.t_ns / 1e6
        acts = felt(manifest.grains[index] if manifest.grains else None, push.weight)
        rows.append({"neuron": push.neuron, "weight": push.weight, "felt": acts, "unit": unit, "t_ms": t_ms})
        if not as_json:
            word = f" (its chip feels {acts:.8g} {unit}".rstrip() + ")" if acts != push.weight else ""
            click.echo(f"{push.neuron} gets {push.weight:g} {unit}".rstrip() + f"{word} at {t_ms:.1f} ms")
    if as_json:
        print_rows(rows)


def felt(grain: Sequence[float] | None, weight: float) -> float:
    """A poke as it acts on a neuron with this `Manifest.grains`."""
    if grain is None:
        return weight
    unit, most = grain
    return round(max(-most, min(weight / unit, most))) * unit


def _weight(manifest: Manifest, name: str, written: str | None) -> float:
    """The weight in the neuron's unit. Raises InputError for a neuron or weight that cannot be."""
    index = manifest.ids.index(name)
    if not manifest.lives(index):
        raise InputError(f"'{name}' is played from a recording; nobody there feels a push")
    unit = manifest.weight_units[index]
    if written is None:
        return WEIGHTS.get(unit, 1.0)
    try:
        _, given = units.split(written)
        return units.parse(written if given or not unit else f"{written} {unit}", unit)
    except units.UnitError as error:
        raise InputError(f"--weight: {error}") from error


def _push(peer: Peer, manifest: Manifest, pushes: list[tuple[str, float]], origin: str) -> list[Stimulus]:
    """Send them, and hear each on the bus, stamped with the model time at which it acts."""
    for name, weight in pushes:
        peer.send(wire.encode(stamped(manifest, name, weight, origin)))
    heard: list[Stimulus] = []
    give_up = time.monotonic() + PATIENCE_S
    while len(heard) < len(pushes):
        data = peer.wait(max(0.0, give_up - time.monotonic()))
        if data is None:
            raise RunError("the push was not heard on the bus; is the run at its end?")
        with contextlib.suppress(wire.Malformed):
            event = wire.decode(data)
            if isinstance(event, Stimulus) and event.origin == origin and event.t_ns >= 0:
                heard.append(event)
    return heard
