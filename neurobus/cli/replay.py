"""`neurobus replay`: play a log back."""

from __future__ import annotations

import contextlib
import os
import sys
import termios
import threading
import time
import tty
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from neurobus.bounds import on_grid
from neurobus.bus.peer import Peer
from neurobus.cli.clusters import runs, started
from neurobus.cli.common import cluster_option, ids_of, json_option, on_interrupt, print_json, window_options
from neurobus.cluster import folder as folders
from neurobus.cluster.folder import Manifest
from neurobus.errors import InputError, one_line
from neurobus.log import Log, read
from neurobus.log.names import select
from neurobus.log.place import kept
from neurobus.log.player import Player, Stamp, as_recorded, at_once, now_of_wall
from neurobus.log.replay import Schedule, confined
from neurobus.log.replay_bus import Audience, own_bus
from neurobus.words import counted

BAR = 30
STEP_KEYS, QUIT_KEYS = b" \r\n", b"qQ\x03\x04"


@click.command(name="replay")
@click.argument("log", type=click.Path(path_type=Path))
@click.option(
    "--rate", type=float, default=1.0, metavar="RATE", help="Times real time, such as 0.5. Default: 1."
)
@click.option("--loop", is_flag=True, help="Begin again at the end, until Ctrl-C; model time goes on.")
@click.option("--step", is_flag=True, help="One instant of model time per key: Enter or space; q ends.")
@click.option("--wait", is_flag=True, help="Begin only when somebody listens: `record`, `top`.")
@window_options
@cluster_option
@click.option("--alone", is_flag=True, help="On a bus of its own, even where a cluster runs.")
@json_option
def command(
    log: Path,
    rate: float,
    loop: bool,
    step: bool,
    wait: bool,
    start_ns: int,
    end_ns: int | None,
    only: str | None,
    cluster: str | None,
    alone: bool,
    as_json: bool,
) -> None:
    """Play LOG: every spike at its time, onto a running cluster or a bus of its own.

    \b
    neurobus replay ring.mcap --rate 0.5
    neurobus replay ring.mcap --cluster eyes --only retina --loop

    On a cluster it plays the neurons that its config calls external, and repeats the log's pokes of neurons
    that live there. On a bus of its own, `top` and `record` find it like any cluster.
    """
    if alone and cluster:
        raise InputError("--alone and --cluster exclude each other")
    if step and loop:
        raise InputError("--step and --loop exclude each other")
    if wait and cluster:
        raise InputError("--wait goes with a bus of its own; a cluster listens already")
    recorded = read(log)
    for given_ns, name in ((start_ns, "--start"), (end_ns, "--end")):
        if given_ns is not None:
            on_grid(given_ns, recorded.header.dt_ns, name)
    ids = ids_of(only)
    target = None if alone else _target(cluster)
    if wait and target is not None:
        raise InputError("--wait goes with a bus of its own; give --alone as well, as a cluster runs here")
    if target is not None:
        recorded, word = _cast(
            recorded, target, ids, hint="" if cluster else "; --alone gives it a bus of its own"
        )
        click.echo(word, err=True)
        # A replay that follows another owns the ids anew, and the later one has the higher epoch.
        epoch = 1 + (time.time_ns() - target.started_unix_ns) // 1_000_000
        schedule = Schedule(recorded, None, start_ns, end_ns, rate, loop, epoch)
    else:
        schedule = Schedule(recorded, ids, start_ns, end_ns, rate, loop)
    if schedule.position_ns is None:
        raise InputError("there is nothing to play in that part of it", log)
    for problem in recorded.problems:
        click.echo(one_line(f"this log is not complete: {problem}"), err=True)
    with contextlib.ExitStack() as stage:
        stage.enter_context(kept(log))
        audience: list[Audience] = []
        manifest = target
        if manifest is None:
            gather = partial(_gather, audience, stage) if wait else None
            manifest = stage.enter_context(own_bus(recorded, rate, start_ns, gather))
        if not as_json and audience:
            click.echo(f"{manifest.name} waits for somebody to listen: neurobus record, or top", err=True)
        for waiting in audience:
            ended = threading.Event()
            with on_interrupt(ended.set):
                if not waiting.come(ended.is_set):
                    raise click.Abort
        played = _play(manifest, schedule, own=target is None, step=step, quiet=as_json)
    if as_json:
        print_json({"log": str(log), "cluster": manifest.name, **played})
    else:
        click.echo(_render(played), err=True)


def _gather(audience: list[Audience], stage: contextlib.ExitStack, manifest: Manifest) -> None:
    peer = Peer(manifest.bus)
    stage.callback(peer.close)
    audience.append(Audience(peer, f"waiting-{os.getpid()}"))


def _target(name: str | None) -> Manifest | None:
    """The cluster to play onto: the one named, or the only one. None where none runs but replays."""
    if name is None and not [m for m in folders.running() if "replay" not in m.options]:
        return None
    manifest = started(name)
    if "replay" in manifest.options:
        raise InputError(f"'{manifest.name}' is a replay itself, and nobody there listens")
    return manifest


def _cast(log: Log, manifest: Manifest, only: list[str] | None, hint: str) -> tuple[Log, str]:
    """What of a log can be played onto a cluster, and a line on that. Raises InputError where nothing can."""
    ids = log.header.ids
    chosen = select(log.header, only) if only else [True] * len(ids)
    wanted = {id for id, yes in zip(ids, chosen, strict=True) if yes}
    external = set(manifest.external)
    live = set(manifest.ids[: manifest.n_neurons]) - external
    spiking, left_out = wanted & external, wanted & set(manifest.ids) - external
    cast = confined(log, spiking, wanted & live)
    pushed = {entry.item.neuron for entry in cast.stimuli}
    if not spiking and not pushed:
        have = f"its external ids are {_some(external)}" if external else "it has no external ids"
        raise InputError(
            f"nothing of this log can be played onto '{manifest.name}': {have}, and the log has no poke of a "
            f"neuron that lives there{hint}",
            log.path,
        )
    parts = [
        f"plays {_some(spiking)}" if spiking else "",
        f"repeats {len(cast.stimuli)} pokes of {_some(pushed)}" if pushed else "",
        f"leaves out {_some(left_out)}, alive there" if left_out else "",
    ]
    return cast, f"onto '{manifest.name}': " + ", ".join(part for part in parts if part)


def _some(ids: set[str]) -> str:
    return ", ".join(sorted(ids)[:3]) + (f" … ({len(ids)} in all)" if len(ids) > 3 else "")


def _play(manifest: Manifest, schedule: Schedule, own: bool, step: bool, quiet: bool) -> dict[str, Any]:
    peer = Peer(manifest.bus, observer=not own)
    name = f"replay-{os.getpid()}"
    stamp: Stamp = as_recorded
    if not own:
        assert manifest.t0_ns is not None
        stamp = now_of_wall(manifest.t0_ns, manifest.dt_ns) if manifest.clock == "wall" else at_once
    player = Player(schedule, peer.send, stamp)
    view = _View(manifest, player, own, shown=not quiet and sys.stderr.isatty())
    player.tick = view.tick
    try:
        peer.join(name)
        if not quiet:
            how = ", one instant per Enter or space; q ends" if step else "; Ctrl-C ends it"
            click.echo(f"{manifest.name} plays {counted(len(schedule.streams), 'neuron')}{how}", err=True)
        begun = time.monotonic()
        if step:
            with _keys() as keys:
                for key in keys:
                    if key in QUIT_KEYS or (key in STEP_KEYS and not player.step()):
                        break
                    view.tick()
        else:
            with on_interrupt(player.stop):
                player.play()
        wall_s = time.monotonic() - begun
        player.finish()
        peer.join(name)  # the bus keeps the order: what was sent before its own echo has been carried
    finally:
        view.clear()
        peer.close()
        player.close()
    return {
        "spikes": player.spikes,
        "samples": player.samples,
        "stimuli": player.stimuli,
        "model_s": (player.model_ns - schedule.start_ns) / 1e9,
        "wall_s": round(wall_s, 3),
        "late_ms": player.errors_ms(),
        "notes": view.notes,
    }


@dataclass
class _View:
    """The line that says how far it is; it also sees whether the cluster still runs."""

    manifest: Manifest
    player: Player
    own: bool
    shown: bool

    def __post_init__(self) -> None:
        self.notes: list[str] = []

    def tick(self) -> None:
        player, schedule = self.player, self.player.schedule
        if not self.own and not player.stopped and not runs(self.manifest):
            self.notes.append(f"'{self.manifest.name}' ended before the replay did")
            player.stop()
        if not self.shown:
            return
        length = schedule.turn_ns if schedule.loop else schedule.end_ns - schedule.start_ns
        elapsed = player.model_ns - schedule.start_ns
        done = round(BAR * min(1.0, (elapsed % length if schedule.loop else elapsed) / length))
        of = f"turn {elapsed // length + 1}" if schedule.loop else f"of {schedule.end_ns / 1e9:.3f} s"
        bar = f"{'━' * done}\x1b[2m{'━' * (BAR - done)}\x1b[0m"
        sys.stderr.write(
            f"\r\x1b[K{bar} {player.model_ns / 1e9:.3f} s, {of}, {counted(player.spikes, 'spike')}"
        )
        sys.stderr.flush()

    def clear(self) -> None:
        if self.shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


@contextlib.contextmanager
def _keys() -> Iterator[Iterator[bytes]]:
    """Keys as they are pressed; bytes of a pipe where stdin is no terminal."""
    before = None
    if sys.stdin.isatty():
        before = termios.tcgetattr(0)
        tty.setcbreak(0)
    try:
        yield iter(lambda: os.read(0, 1), b"")
    finally:
        if before is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, before)


def _render(played: dict[str, Any]) -> str:
    kinds = [name for name in ("spikes", "samples", "stimuli") if played[name] or name == "spikes"]
    what = ", ".join(f"{played[name]:,} {name}" for name in kinds)
    lines = [f"played {what}: {played['model_s']:.3f} s of model time in {played['wall_s']:.2f} s"]
    late = played["late_ms"]
    if late["p99"] is not None:
        lines.append(
            f"late by {late['median']:.2f} ms in the median, {late['p99']:.2f} ms at the 99th percentile, "
            f"{late['worst']:.2f} ms at worst"
        )
    return "\n".join(lines + played["notes"])
