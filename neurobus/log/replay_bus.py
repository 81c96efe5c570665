"""A bus of a replay's own, where no cluster runs: a hub, and a run folder by which observers find it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from neurobus.bus import hub
from neurobus.bus.peer import Endpoints, Peer
from neurobus.cluster import folder as folders
from neurobus.cluster.options import Options
from neurobus.errors import RunError
from neurobus.log.format import Log
from neurobus.wire import bus as wire

QUIET_S = 0.3
"""Who says hello no more for so long has heard itself."""
FLUSH_S = 0.2
"""What the hub's last frames are given to reach observers."""


@contextlib.contextmanager
def own_bus(
    log: Log, rate: float, start_ns: int = 0, prepare: Callable[[folders.Manifest], None] | None = None
) -> Iterator[folders.Manifest]:
    """The bus, for as long as the block lasts or this process lives. Every id of the log is external.
    `prepare` is called when the bus is there, and nobody can know of it yet.

    To observers it is a virtual clock: model time is what the spikes say. Raises RunError when the hub
    has died meanwhile.
    """
    header = log.header
    folder = folders.create(f"{log.path.stem}-replay")
    endpoints = Endpoints.in_folder(folder)
    manifest = folders.Manifest(
        name=folder.name,
        pid=os.getpid(),
        config=str(log.path),
        clock="virtual",
        seed=header.seed,
        dt_ns=header.dt_ns,
        endpoints=endpoints.as_dict(),
        ids=header.ids,
        n_neurons=len(header.ids) if header.n_neurons is None else header.n_neurons,
        streams=header.ids,
        processes=0,
        external=header.ids,
        weight_units=[""] * len(header.ids),
        started_unix_ns=time.time_ns(),
        t0_ns=time.monotonic_ns(),
        pace=rate,
        options={"replay": str(log.path), "start_ns": start_ns},
        groups=header.groups,
        levels_mv=_levels(log),
    )
    Options(
        config_text=header.config_text,
        config_name=header.config_name,
        files=header.files,
        overrides=header.overrides,
        seed=header.seed,
    ).write(folder)
    with contextlib.ExitStack() as undo:
        undo.callback(folders.remove, folder)
        undo.enter_context(hub_process(endpoints, folder))
        if prepare is not None:
            prepare(manifest)
        manifest.write(folder)
        yield manifest


@contextlib.contextmanager
def hub_process(endpoints: Endpoints, folder: Path) -> Iterator[None]:
    """The hub in a forked child, which ends, and removes the folder, when this process ends."""
    lifeline, lifeline_end = os.pipe()
    bound, bound_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        # Ctrl-C reaches the whole process group; the hub ends with its parent, after the last frames.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            os.close(lifeline_end)
            hub.serve(endpoints, lambda: os.close(bound_end), lambda: _wait_end(lifeline))
            folders.remove(folder)
        finally:
            os._exit(0)
    os.close(lifeline)
    os.close(bound_end)
    died = False
    try:
        select.select([bound], [], [])
        yield
        time.sleep(FLUSH_S)
        died = os.waitpid(pid, os.WNOHANG)[0] != 0
    finally:
        os.close(bound)
        os.close(lifeline_end)
        if not died:
            os.waitpid(pid, 0)
    if died:
        raise RunError("the hub died; what was played after that reached nobody")


def _levels(log: Log) -> list[tuple[float, float] | None]:
    """The range of each neuron's potentials, where they were recorded."""
    levels: list[tuple[float, float] | None] = [None] * len(log.header.ids)
    told = log.samples.only(np.isfinite(log.samples.v_mv))
    for index in np.unique(told.i):
        v_mv = told.v_mv[told.i == index]
        levels[index] = float(v_mv.min()), float(v_mv.max())
    return levels


class Audience:
    """Hears who comes to listen on a replay's bus: each says hello until it hears itself."""

    def __init__(self, peer: Peer, name: str):
        self._peer, self._name = peer, name
        peer.subscribe(wire.HELLO + b"/")
        peer.join(name)

    def come(self, stopped: Callable[[], bool]) -> bool:
        """Block until somebody listens; False where it was stopped before."""
        heard_s: float | None = None
        while not stopped():
            select.select([self._peer.fd], [], [], 0.05)
            now = time.monotonic()
            names = {wire.split(data)[1] for data in self._peer.frames()}
            if names - {self._name}:
                heard_s = now
            elif heard_s is not None and now - heard_s > QUIET_S:
                return True  # it has heard itself, so all its subscriptions are in force
        return False


def _wait_end(fd: int) -> None:
    select.select([fd], [], [])
