"""`neurobus record`: record a running cluster into a log."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from neurobus import config
from neurobus.bounds import on_grid
from neurobus.cli.clusters import model_ns, started
from neurobus.cli.common import TIME, cluster_option, json_option, overwrite_option, print_json
from neurobus.cli.observe import observe
from neurobus.cluster import folder as folders
from neurobus.cluster.folder import Manifest
from neurobus.cluster.options import Options
from neurobus.errors import RunError
from neurobus.log import Header
from neurobus.log.place import require_free
from neurobus.log.recording import Recording


@click.command(name="record")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--for", "for_ns", type=TIME, metavar="TIME", help="Model time to record. Default: to the end.")
@overwrite_option("a log")
@cluster_option
@json_option
def command(file: Path, for_ns: int | None, overwrite: bool, cluster: str | None, as_json: bool) -> None:
    """Record what is on the bus of a running cluster (or replay) into FILE, from now on.

    \b
    neurobus record later.mcap --for 10s

    It observes: it never slows the run, and says what it missed. To have everything from the first spike
    on, use `neurobus run --record` instead.
    """
    require_free(file, overwrite)
    manifest = started(cluster)
    if for_ns is not None:
        on_grid(for_ns, manifest.dt_ns, "--for")
    header, notes = _facts(manifest)
    name, joined_ns = f"record-{os.getpid()}", model_ns(manifest)
    recording = Recording(file, header, name, joined_ns, overwrite, manifest.options.get("start_ns", 0))
    if not as_json:
        click.echo(f"recording '{manifest.name}' into {file}; Ctrl-C ends it", err=True)
    account = observe(recording, manifest, name, for_ns)
    account["notes"] = notes + account["notes"]
    if as_json:
        print_json(account)
    else:
        click.echo(_render(account), err=True)
    if recording.failure is not None:
        raise RunError(str(recording.failure))


def _facts(manifest: Manifest) -> tuple[Header, list[str]]:
    """The header of a log of a running cluster, and what a person should know of it."""
    options = Options.read(folders.runtime_dir() / manifest.name)
    notes = []
    if options.config_file:
        path = options.config_file
        read = config.load(path, options.overrides)
        for file in (path.name, *read.files):
            if (path.parent / file).stat().st_mtime_ns > manifest.started_unix_ns:
                notes.append(f"{file} was changed after the cluster had started; the log has it as it is now")
    else:
        read = config.loads(options.config_text or "", options.config_name, options.files, options.overrides)
    first = manifest.n_config_ids
    guests = {name: manifest.guests[name] for name in manifest.ids[first:] if name in manifest.guests}
    header = Header(
        config_name=Path(options.config_path or options.config_name).name,
        config_text=read.text,
        seed=manifest.seed,
        dt_ns=manifest.dt_ns,
        clock=manifest.clock,
        ids=[*manifest.ids[:first], *guests],
        started_unix_ns=manifest.started_unix_ns,
        n_neurons=manifest.n_neurons,
        files=read.files,
        overrides=list(options.overrides),
        groups=manifest.groups,
        guests=guests,
    )
    return header, notes


def _render(account: dict[str, Any]) -> str:
    begun = (
        ", and nobody told a time"
        if account["from_ms"] is None
        else (f", from {account['from_ms']:.1f} ms of model time on")
    )
    kinds = [name for name in ("spikes", "samples", "stimuli") if account[name] or name == "spikes"]
    what = ", ".join(f"{account[name]:,} {name}" for name in kinds)
    missed = f"missed {account['lost']:,} since" if account["lost"] else "missed nothing since"
    lines = [f"{account['path']}: {what}{begun}; {missed}"]
    if account["before"]:
        lines.append(f"{account['before']:,} spikes came before it listened")
    if account["malformed"]:
        lines.append(f"{account['malformed']:,} frames were malformed and were dropped")
    return "\n".join(lines + account["notes"])
