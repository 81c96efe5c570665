"""[recorder] 300,000 spikes/s are offered on the bus for 10 s; how many of them are in the log."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from neurobus import log
from neurobus.bus import hub
from neurobus.bus.peer import Endpoints, Peer
from neurobus.events import Spikes
from neurobus.log.recording import Recording
from neurobus.observer import Listening, Run
from neurobus.wire import bus as wire
from neurobus.wire import verbs
from neurobus.wire.message import Control
from tests.bench.cluster import Failed
from tests.bench.figure import Figure, in_turn, spread

RATE_HZ = 300_000
SECONDS = 10
STREAMS = 2
BATCH = 150
"""Spikes of a frame: what a process of 10,000 neurons at 10 Hz sends in a window of 1.5 ms."""
NEURONS = 10_000
DT_NS = 100_000
NAME = "recorder"


def measure() -> list[Figure]:
    (found,) = in_turn(once)
    rates = [in_log / seconds for _, in_log, seconds, _ in found]
    whole = [in_log == offered >= RATE_HZ * seconds * 0.999 for offered, in_log, seconds, _ in found]
    more = {"spread": spread(rates), "offered": found[-1][0], "in_log": [in_log for _, in_log, _, _ in found],
            "close_s": round(median(close_s for *_, close_s in found), 2)}  # fmt: skip
    goal = f"{RATE_HZ} spikes/s for {SECONDS} s, all in the log"
    return [Figure("recorder", median(rates), "spikes/s in the log", goal, all(whole), "", None, more)]


def once() -> tuple[int, int, float, float]:
    """Spikes offered, spikes in the log, seconds of offering, seconds the recorder then took to finish."""
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/tmp") as folder:
        bus, path = Endpoints.in_folder(Path(folder)), Path(folder) / "log.mcap"
        with _process(_hub, bus), _process(_record, bus, path) as recorder, _process(_offer, bus) as source:
            offered, seconds = source.recv()
            begun = time.monotonic()
            peer = Peer(bus)
            peer.join("bench")
            peer.send(wire.encode(Control(NAME, verbs.Stop())))
            if not recorder.poll(60):
                raise Failed("the recorder did not finish")
            close_s = time.monotonic() - begun
            recorder.recv()
            peer.close()
        return offered, len(log.read(path).spikes_t), seconds, close_s


@contextmanager
def _process(body: Callable[..., None], *args: Any) -> Iterator[Connection]:
    """`body(connection, *args)` in a process of its own, from its first message to the end of the block."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=body, args=(theirs, *args), daemon=True)
    process.start()
    theirs.close()
    if not ours.poll(30):
        raise Failed(f"{body.__name__} did not start")
    ours.recv()
    try:
        yield ours
    finally:
        ours.close()
        process.join(10)
        process.kill()


def _hub(parent: Connection, bus: Endpoints) -> None:
    hub.serve(bus, lambda: parent.send("bound"), lambda: wait([parent]))


def _record(parent: Connection, bus: Endpoints, path: Path) -> None:
    ids = [f"n.{i}" for i in range(NEURONS)]
    header = log.Header("bench.toml", "", 1, DT_NS, "wall", ids, time.time_ns())
    peer, run = Peer(bus), Run("bench", "wall", 1, DT_NS, ids, NEURONS, {}, {}, NEURONS)
    recorder = Listening(Recording(path, header), run, peer, NAME, from_start=True, tell=print)
    parent.send("ready")
    recorder.serve(lambda: False, parent.fileno())
    parent.send(recorder.close())
    peer.close()


def _offer(parent: Connection, bus: Endpoints) -> None:
    """Frames of all streams in turn, each at its absolute deadline."""
    peer = Peer(bus)
    peer.join("source")
    neurons = np.arange(BATCH, dtype=np.uint32) * (NEURONS // BATCH)
    frames = RATE_HZ * SECONDS // BATCH
    parent.send("ready")
    begun = time.monotonic()
    for n in range(frames):
        due = n * BATCH / RATE_HZ
        if (early := begun + due - time.monotonic()) > 0:
            time.sleep(early)
        t_ns = np.full(BATCH, int(due * 1e9) // DT_NS * DT_NS)
        peer.send(wire.encode(Spikes(f"@{n % STREAMS}", 0, n // STREAMS * BATCH, t_ns, neurons)))
    parent.send((frames * BATCH, time.monotonic() - begun))
    peer.close()
