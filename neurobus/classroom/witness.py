"""Who listens to a lesson: a program of the run that keeps the answers in a file, for others to read."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neurobus.classroom.lesson import Timing
from neurobus.classroom.readout import SILENT, Readout
from neurobus.cluster.options import ObserverContext
from neurobus.observer import Observer, Times, serve_program
from neurobus.wire import verbs
from neurobus.wire.message import Report

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


class Witness(Observer):
    """Keeps the first to answer in each slot. `readers`: their ids; `begin`: a resumed run's step."""

    tick_s = WRITE_EVERY_S

    def __init__(self, timing: Timing, n_slots: int, readers: Sequence[str], path: Path, begin: int | None):
        self.timing, self.n_slots, self.readers, self.path = timing, n_slots, readers, path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.readout, self.done = read(path, timing, n_slots, begin)
        self.newest = 0

    def wants(self) -> Sequence[str]:
        return self.readers

    def on_begin(self) -> None:
        at = {name: n for n, name in enumerate(self.run.ids)}
        self.number = {at[name]: n for n, name in enumerate(self.readers)}

    def on_spikes(self, t_ns: Times, neurons: Times) -> None:
        steps = (t_ns // self.run.dt_ns).tolist()
        for neuron, step in zip(neurons.tolist(), steps, strict=True):
            if neuron in self.number:
                self.readout.hear(self.number[neuron], [step])
        self.newest = max(self.newest, steps[-1])

    def on_report(self, report: Report) -> None:
        if isinstance(report.message, verbs.SnapshotTaken):
            self.on_tick()

    def on_tick(self) -> None:
        self.done = max(self.done, self.timing.slots_at(self.newest - 2 * self.timing.delay))
        write(self.path, self.readout, min(self.done, self.n_slots))

    def on_end(self) -> dict[str, Any]:
        self.on_tick()
        return {"path": str(self.path)}


def main(context: ObserverContext) -> None:
    """Arguments: `timing`, `n_slots`, `readers` (ids), `path` of the file, `begin` (a step or None)."""
    given = {name: context.arguments[name] for name in ("n_slots", "readers", "begin")}
    witness = Witness(Timing(**context.arguments["timing"]), path=Path(context.arguments["path"]), **given)
    serve_program(context, witness, patient=True, from_start=given["begin"] is None)
