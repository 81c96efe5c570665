"""`neurobus record`: record a running cluster into a log."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click

from neurobus import config
from neurobus.bounds import on_grid
from neurobus.bus.peer import Peer
from neurobus.cli.clusters import runs, started
from neurobus.cli.common import TIME, cluster_option, json_option, on_interrupt, overwrite_option, print_json
from neurobus.cluster import folder as folders
from neurobus.cluster.folder import Manifest
from neurobus.cluster.options import Options
from neurobus.errors import RunError
from neurobus.log import Header
from neurobus.log.place import require_free
from neurobus.log.recording import Recording

LOOK_S = 0.1


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
    peer = Peer(manifest.bus, observer=True)
    try:
        joined_ns = _model_ns(manifest)
        recording = Recording(
            file,
            header,
            peer,
            f"record-{os.getpid()}",
            from_start=False,
            observer=True,
            joined_ns=joined_ns,
            overwrite=overwrite,
            begin_ns=manifest.options.get("start_ns", 0),
        )
        if not as_json:
            click.echo(f"recording '{manifest.name}' into {file}; Ctrl-C ends it", err=True)
        until = _Until(manifest, for_ns, recording)
        with on_interrupt(until.end):
            recording.serve(until.over, None)
        if (end_ns := _model_ns(manifest)) is not None:
            recording.stopped = {"end_ns": end_ns}
        account = recording.close()
    finally:
        peer.close()
    account["notes"] = notes + account["notes"]
    if as_json:
        print_json(account)
    else:
        click.echo(_render(account), err=True)
    if recording.failure is not None:
        raise RunError(str(recording.failure))


class _Until:
    """When to stop recording: told to, the cluster is gone, or its model time has gone on by `for_ns`."""

    def __init__(self, manifest: Manifest, for_ns: int | None, recording: Recording):
        self._manifest, self._for_ns, self._recording = manifest, for_ns, recording
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
        model_ns = _model_ns(self._manifest)
        if model_ns is None:
            model_ns = self._recording.collector.t_ns or None
        if self._begin_ns is None:
            self._begin_ns = model_ns
        return (
            self._begin_ns is not None and model_ns is not None and model_ns - self._begin_ns >= self._for_ns
        )


def _model_ns(manifest: Manifest) -> int | None:
    """Model time now; None under the virtual clock, where only what is heard tells it."""
    if manifest.clock != "wall" or manifest.t0_ns is None:
        return None
    return max(0, time.monotonic_ns() - manifest.t0_ns)


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
