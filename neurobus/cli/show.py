"""`neurobus show`: show a running network a sample, and see who answers."""

from __future__ import annotations

import os
import time
from typing import Any

import click
import numpy as np

from neurobus.bus.peer import Peer
from neurobus.classroom import data, lesson
from neurobus.classroom.lesson import Room
from neurobus.cli.clusters import started
from neurobus.cli.common import cluster_option, find_models, json_option, print_json
from neurobus.cluster import folder as folders
from neurobus.cluster.build import network_of
from neurobus.cluster.folder import Manifest
from neurobus.cluster.observer import LiveObserver
from neurobus.cluster.options import Options
from neurobus.config.locate import meant
from neurobus.errors import InputError, RunError
from neurobus.events import Spikes, Stimulus
from neurobus.wire import bus as wire

LEAD_NS = 50_000_000
"""Under the wall clock from now to RESET: time for all the pokes to arrive."""
AHEAD_NS = 250_000_000
"""Under the virtual clock: sources have run ahead by up to 100 ms."""
PATIENCE_S = 10.0
SHADES = " ░▒▓█"


@click.command(name="show")
@click.argument("what", metavar="CLASS")
@click.option("--data", "source", default="digits", metavar="DATA", help="digits, FILE.npz or FILE.csv.")
@click.option(
    "--nth", type=click.IntRange(min=0), default=0, help="Which held-out sample of that class. Default: 0."
)
@cluster_option
@json_option
def command(what: str, source: str, nth: int, cluster: str | None, as_json: bool) -> None:
    """Show a sample of CLASS, one it was not trained on, and say which neuron fires first.

    \b
    neurobus brain load thirty.brain          in one terminal
    neurobus show 7                           in another
    neurobus show 7 --nth 12

    The sample's spikes are pokes of the input neurons: part of a recording, and `log verify` repeats them.
    """
    manifest = started(cluster)
    options = Options.read(folders.runtime_dir() / manifest.name)
    find_models()
    network = network_of(options)
    room = lesson.room(network)
    samples = data.read(source, room.timing.top)
    if samples.n_inputs != len(room.inputs):
        raise InputError(
            f"the data has {samples.n_inputs} values a sample, '{manifest.name}' {len(room.inputs)} inputs"
        )
    if what not in samples.names:
        raise InputError(f"no class '{what}' in {source}{meant(what, samples.names)}")
    of_class = samples.test[samples.labels[samples.test] == samples.names.index(what)]
    if nth >= len(of_class):
        raise InputError(f"--nth {nth}: there are {len(of_class)} held-out samples of class {what}")
    chosen = int(of_class[nth])
    heard, latency_ms = _show(manifest, room, samples.levels[chosen : chosen + 1], network.ids, network.dt_ns)
    answers = _answers(heard, room, samples.names, network.ids, network.dt_ns)
    first = answers[0]["class"] if answers else None
    if as_json:
        print_json({"shown": what, "sample": chosen, "answered": first, "ms": latency_ms, "spikes": answers})
        return
    click.echo(picture(samples.levels[chosen].reshape(samples.shape), room.timing.top))
    if not answers:
        click.echo("nobody answered")
    for n, answer in enumerate(answers):
        word = f"→ {answer['class']}" if n == 0 else f"  {answer['class']}"
        click.echo(f"{word}  {answer['neuron']} after {answer['ms']:.3f} ms")


def _show(manifest: Manifest, room: Room, levels: data.Levels, ids: list[str],
          dt_ns: int) -> tuple[list[tuple[int, int]], float | None]:  # fmt: skip
    """(steps from RESET, reader) of each spike, and when the first came after the first input, in ms."""
    timing = room.timing
    peer = Peer(manifest.bus, observer=True)
    origin = f"show-{os.getpid()}"
    index = {i: n for n, i in enumerate(room.readers)}
    streams = {manifest.streams[i] for i in room.readers}
    single = {
        manifest.streams[i]: i for i in room.readers if manifest.streams.count(manifest.streams[i]) == 1
    }
    try:
        for stream in sorted(streams):
            peer.subscribe(wire.topic(wire.SPIKES, stream))
        peer.join(origin)
        begin = _begin(manifest, origin)
        late = lesson.encode(levels, timing)[0]
        pokes = [(0, room.reset)] + [
            (timing.start + int(t), room.inputs[value]) for value, t in enumerate(late.tolist()) if t >= 0
        ]
        for at, source in pokes:
            peer.send(wire.encode(Stimulus(ids[source], (begin + at) * dt_ns, 1.0, origin)))
        reset = (
            begin + 1 + timing.delay
        )  # the poke is an update, its spike one later, RESET acts a delay after
        heard: list[tuple[int, int]] = []
        give_up = time.monotonic() + PATIENCE_S
        end_s = time.monotonic() + _seconds(manifest, (begin + timing.slot) * dt_ns) + 0.1
        while (
            time.monotonic() < min(give_up, end_s) if manifest.clock == "wall" else time.monotonic() < give_up
        ):
            data_ = peer.wait(0.05)
            if data_ is None:
                if heard and manifest.clock == "virtual":
                    break
                continue
            try:
                event = wire.decode(data_)
            except wire.Malformed:
                continue
            if not isinstance(event, Spikes):
                continue
            steps = (np.asarray(event.t_ns, np.int64) // dt_ns).tolist()
            who = (
                [single[event.stream]] * len(steps)
                if event.neurons is None
                else np.asarray(event.neurons).tolist()
            )
            heard += [(step - reset, index[i]) for step, i in zip(steps, who, strict=True)
                      if i in index and 0 <= step - reset < timing.learn_at]  # fmt: skip
    finally:
        peer.close()
    heard.sort()
    ms = (heard[0][0] - timing.start) * dt_ns / 1e6 if heard else None
    return heard, ms


def _begin(manifest: Manifest, name: str) -> int:
    """A step a little ahead of the network's model time."""
    if manifest.clock == "wall":
        assert manifest.t0_ns is not None
        return int((time.monotonic_ns() - manifest.t0_ns + LEAD_NS) // manifest.dt_ns)
    observer = LiveObserver(manifest, f"{name}-clock")
    try:
        observer.ask()
        give_up = time.monotonic() + PATIENCE_S
        while observer.live.model_ns is None or "conductor" not in observer.live.status:
            observer.listen(0.05)
            time.sleep(0.01)
            if time.monotonic() > give_up:
                raise RunError("the conductor does not answer; is the run at its end?")
        return int((observer.live.model_ns + AHEAD_NS) // manifest.dt_ns)
    finally:
        observer.close()


def _seconds(manifest: Manifest, t_ns: int) -> float:
    """From now until a model time of the wall clock."""
    return (
        (manifest.t0_ns + t_ns - time.monotonic_ns()) * 1e-9
        if manifest.clock == "wall" and manifest.t0_ns
        else 0.0
    )


def _answers(heard: list[tuple[int, int]], room: Room, names: list[str], ids: list[str],
             dt_ns: int) -> list[dict[str, Any]]:  # fmt: skip
    def name(reader: int) -> str:
        return names[reader % room.classes] if room.teachers else "?"

    return [
        {
            "neuron": ids[room.readers[reader]],
            "class": name(reader),
            "ms": (at - room.timing.start) * dt_ns / 1e6,
        }
        for at, reader in heard
    ]


def picture(levels: data.Levels, top: int) -> str:
    """A sample as text, two characters a value."""
    rows = [[SHADES[round(int(x) * (len(SHADES) - 1) / top)] * 2 for x in row] for row in levels.tolist()]
    return "\n".join("  " + "".join(row) for row in rows)
