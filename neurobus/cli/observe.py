"""`neurobus observe`: let an observer of one's own hear a running cluster."""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from typing import Any

import click

from neurobus.bounds import on_grid
from neurobus.bus.peer import Peer
from neurobus.cli.clusters import model_ns, runs, started
from neurobus.cli.common import TIME, cluster_option, find_models, json_option, on_interrupt, print_json
from neurobus.cluster.folder import Manifest
from neurobus.cluster.own_observer import make, parse
from neurobus.observer import LOOK_S, Listening, Observer, Run
from neurobus.words import counted, number


@click.command(name="observe")
@click.argument("observer", metavar="MODULE[:CLASS][,KEY=VALUE]")
@click.option("--for", "for_ns", type=TIME, metavar="TIME", help="Model time to listen. Default: to the end.")
@cluster_option
@json_option
def command(observer: str, for_ns: int | None, cluster: str | None, as_json: bool) -> None:
    """Let an observer of your own hear a running cluster, from now on.

    \b
    neurobus observe mine:Count --for 10s
    neurobus observe mine:Count,every=100 --cluster worm

    MODULE is looked for in the current folder; CLASS is a subclass of neurobus.observer.Observer. It never
    slows the run, and what it missed is told. To have everything from the first spike on, use
    neurobus run --with.
    """
    target, options = parse(observer)
    find_models()
    manifest = started(cluster)
    if for_ns is not None:
        on_grid(for_ns, manifest.dt_ns, "--for")
    one, name = make(target, options), f"observe-{os.getpid()}"
    one.tell = partial(click.echo, err=True)
    account = observe(one, manifest, name, for_ns)
    if as_json:
        print_json(account)
        return
    for note in account["notes"]:
        click.echo(note.removeprefix(f"{name}: "))
    missed = f"missed {number(account['lost'])}" if account["lost"] else "missed nothing"
    click.echo(f"heard {counted(account['spikes'], 'spike')}, {missed}", err=True)


def observe(observer: Observer, manifest: Manifest, name: str, for_ns: int | None) -> dict[str, Any]:
    """Until Ctrl-C, the cluster's end, or for so much model time. Returns what it heard and missed."""
    peer = Peer(manifest.bus, observer=True)
    try:
        tell = partial(print, file=sys.stderr)
        listening = Listening(
            observer, Run.of_manifest(manifest), peer, name, False, tell, set(manifest.streams)
        )
        until = _Until(manifest, for_ns, listening)
        with on_interrupt(until.end):
            listening.serve(until.over)
        if (end_ns := model_ns(manifest)) is not None:
            listening.accounts.end_ns = end_ns
        return listening.close()
    finally:
        peer.close()


class _Until:
    """When to stop: told to, the cluster is gone, or its model time has gone on by `for_ns`."""

    def __init__(self, manifest: Manifest, for_ns: int | None, listening: Listening):
        self._manifest, self._for_ns, self._accounts = manifest, for_ns, listening.accounts
        self._begin_ns: int | None = None
        self._ended = False
        self._look_s = 0.0

    def end(self) -> None:
        self._ended = True

    def over(self) -> bool:
        now = time.monotonic()
        if now >= self._look_s:
            self._look_s = now + LOOK_S
            self._ended = self._ended or not runs(self._manifest)
        if self._for_ns is None or self._ended:
            return self._ended
        now_ns = model_ns(self._manifest) or self._accounts.t_ns
        if self._begin_ns is None:
            self._begin_ns = now_ns
        return self._begin_ns is not None and now_ns is not None and now_ns - self._begin_ns >= self._for_ns
