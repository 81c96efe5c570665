"""Who listens to a lesson: a program of the run that keeps the answers in a file, for others to read."""

from __future__ import annotations

import io
import os
import select
import signal
import time
from pathlib import Path

import numpy as np

from neurobus.bus.peer import Endpoints, Peer
from neurobus.classroom.lesson import Timing
from neurobus.classroom.readout import SILENT, Readout
from neurobus.cluster.options import ObserverContext
from neurobus.events import Control, Report, Spikes
from neurobus.ledger import REFUSED, Ledger
from neurobus.wire import bus as wire

MODULE = "neurobus.classroom.witness"
PROGRESS = "answers.npz"
WRITE_EVERY_S = 0.2


def write(path: Path, readout: Readout, done: int) -> None:
    """The answers so far, atomically: a reader sees the old file or the new one."""
    packed = io.BytesIO()
    np.savez(packed, first=readout.first, at=readout.at, done=np.int64(done))
    scratch = path.with_suffix(".tmp")
    scratch.write_bytes(packed.getvalue())
    os.replace(scratch, path)


def read(path: Path, timing: Timing, n_slots: int, before: int | None = None) -> tuple[Readout, int]:
    """The answers in a file and how many slots are done; none where there is no file. `before`: without those
    stamped after that step, which a resumed run will hear again."""
    readout = Readout(timing, n_slots)
    if not path.exists():
        return readout, 0
    with np.load(path, allow_pickle=False) as file:
        first, at, done = file["first"], file["at"], int(file["done"])
    stamp = np.arange(len(first)) * timing.slot + timing.delay + 1 + np.where(first == SILENT, 0, at)
    kept = first != SILENT
    if before is not None:
        kept &= stamp <= before
        done = min(done, timing.slots_at(before))
    kept = kept[:n_slots]
    readout.first[: len(kept)][kept], readout.at[: len(kept)][kept] = (
        first[:n_slots][kept],
        at[:n_slots][kept],
    )
    return readout, done


def main(context: ObserverContext) -> None:
    """Arguments: `timing`, `n_slots`, `readers` (ids), `path` of the file, `begin` (a step or None)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    arguments = context.arguments
    timing, path = Timing(**arguments["timing"]), Path(arguments["path"])
    ids = context.header["ids"]
    at = {name: n for n, name in enumerate(ids)}
    number = {at[name]: n for n, name in enumerate(arguments["readers"])}
    path.parent.mkdir(parents=True, exist_ok=True)
    readout, done = read(path, timing, arguments["n_slots"], arguments["begin"])
    peer, ledger = Peer(Endpoints(**context.endpoints)), Ledger(arguments["begin"] is None)
    stream_of = {index: stream for stream, index in context.single.items()}
    streams = {stream_of[i] for i in number if i in stream_of}
    if len(streams) < len(number):  # packed: a stream carries several neurons
        streams = {stream for stream in context.streams if stream.startswith("@")} | streams
    for stream in sorted(streams):
        peer.subscribe(wire.topic(wire.SPIKES, stream))
    peer.subscribe(wire.topic(wire.REPORT, "conductor"))
    peer.subscribe(wire.topic(wire.CONTROL, context.name))
    peer.join(context.name)
    peer.send(wire.encode(Report(context.name, "ready", {"pid": os.getpid()})))
    dt, newest, malformed, due, stopped = context.header["dt_ns"], 0, 0, 0.0, False
    while not stopped:
        ready, _, _ = select.select([peer.fd, context.lifeline_fd], [], [], WRITE_EVERY_S)
        if context.lifeline_fd in ready:
            break
        urgent = False
        for data in peer.frames():
            try:
                event = wire.decode(data)
            except wire.Malformed:
                malformed += 1
                continue
            if isinstance(event, Control):
                stopped |= event.verb == "stop"
            elif isinstance(event, Report):
                urgent |= event.verb == "snapshot"
            elif isinstance(event, Spikes):
                known = ledger.accept(event.stream, event.epoch, event.seq, len(event.t_ns), event.last)
                if known == REFUSED:
                    continue
                steps = (np.asarray(event.t_ns, np.int64) // dt)[known:].tolist()
                if not steps:
                    continue
                if event.neurons is None:
                    who = [context.single[event.stream]] * len(steps)
                else:
                    who = np.asarray(event.neurons)[known:].tolist()
                for neuron, step in zip(who, steps, strict=True):
                    if neuron in number:
                        readout.hear(number[neuron], [step])
                newest = max(newest, steps[-1])
        now = time.monotonic()
        if urgent or stopped or now >= due:
            done = max(done, timing.slots_at(newest - 2 * timing.delay))
            write(path, readout, min(done, arguments["n_slots"]))
            due = now + WRITE_EVERY_S
    missed = ledger.totals()["lost"]
    final = {"path": str(path), "lost": missed, "malformed": malformed, "notes": []}
    peer.send(wire.encode(Report(context.name, "final", final)))
    peer.close()
