"""`neurobus stop`: stop a cluster politely."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import click

from neurobus.cli.clusters import runs
from neurobus.cli.common import cluster_option, json_option, print_json
from neurobus.cluster import folder as folders
from neurobus.errors import InputError, RunError

PATIENCE_S = 30.0


@click.command(name="stop")
@click.argument("name", required=False)
@cluster_option
@json_option
def command(name: str | None, cluster: str | None, as_json: bool) -> None:
    """Stop the cluster NAME, or the only one: as Ctrl-C does where it was started.

    \b
    neurobus stop ring

    Every neuron runs to one agreed step, logs are closed, and the summary is printed in its terminal.
    """
    if name and cluster and name != cluster:
        raise InputError(f"two clusters are named, '{name}' and '{cluster}'; name one")
    manifest = folders.find(name or cluster)
    begun = time.monotonic()
    if folders.live(folders.runtime_dir() / manifest.name):
        with contextlib.suppress(ProcessLookupError):
            os.kill(manifest.pid, signal.SIGINT)
    while runs(manifest):
        if time.monotonic() - begun > PATIENCE_S:
            raise RunError(
                f"'{manifest.name}' has not ended in {PATIENCE_S:g} s; to kill it: kill -9 {manifest.pid}"
            )
        time.sleep(0.02)
    took_s = time.monotonic() - begun
    if as_json:
        print_json({"name": manifest.name, "pid": manifest.pid, "took_s": round(took_s, 3)})
    else:
        click.echo(f"{manifest.name} has ended, after {took_s:.1f} s")
