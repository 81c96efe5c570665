"""A desk for the measures of boards: a rig with simulated boards, a cluster, and the verbs that join them."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from neurobus.bridge import hardware, simboard
from neurobus.bridge.simboard import SimBoard
from neurobus.bus.peer import Peer
from neurobus.cluster import folder as folders
from tests.bench.cluster import ROOT, Failed, program, started
from tests.rig import Rig

UNO = hardware.BOARDS["uno"]
BYTE_S = 10 / UNO.baud


@dataclass
class Desk:
    """`attach` and the like are the verbs, as processes of their own."""

    rig: Rig
    manifest: folders.Manifest
    run: subprocess.Popen[str]

    def verb(self, *words: object) -> Any:
        command = program("neurobus", *words, "--json")
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
        if done.returncode:
            raise Failed(f"{' '.join(map(str, words))}: {done.stderr.strip()[-300:]}")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        return lines[0] if len(lines) == 1 else lines

    def attach(self, neurons: list[str], *more: object) -> None:
        names = [word for neuron in neurons for word in ("--as", neuron)]
        self.verb("attach", *self.rig.ports[: len(neurons)], *names, *more)

    def boards(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.verb("boards")
        return found

    def bridge(self) -> psutil.Process:
        lock = folders.runtime_dir() / self.manifest.name / "bridge.lock"
        return psutil.Process(int(lock.read_text()))

    def peer(self) -> Peer:
        return Peer(self.manifest.bus, observer=True)

    def now_ns(self) -> int:
        return time.monotonic_ns() - (self.manifest.t0_ns or 0)

    def stop(self) -> dict[str, Any]:
        self.run.terminate()
        out, err = self.run.communicate(timeout=60)
        if not out.strip():
            raise Failed(err.strip()[-300:])
        summary: dict[str, Any] = json.loads(out.splitlines()[-1])
        return summary


@contextmanager
def desk(config: str, n: int = 1, *run: object, pace: str = "real") -> Iterator[Desk]:
    """A running cluster of this config beside `n` boards."""
    simboard.make("rig")
    elf = simboard.firmware(UNO)
    with tempfile.TemporaryDirectory(prefix="nb-") as folder:
        path = Path(folder) / "desk.toml"
        path.write_text(config)
        boards = [SimBoard(elf, serial=0xD0 + i, seed=i) for i in range(n)]
        with Rig(boards, pace) as rig, started(program("neurobus", "run", path, "--json", *run)) as process:
            yield Desk(rig, _started(process), process)


def _started(process: subprocess.Popen[str]) -> folders.Manifest:
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up and process.poll() is None:
        for manifest in folders.running():
            if manifest.t0_ns is not None and manifest.pid == process.pid:
                return manifest
        time.sleep(0.02)
    raise Failed("the cluster did not start")
