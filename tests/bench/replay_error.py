"""[replay_error] How late a replay at rate 1 publishes what is due."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from neurobus import log
from neurobus.bus.peer import Peer
from neurobus.events import Samples, Spikes
from neurobus.log.player import Player
from neurobus.log.replay import Schedule
from neurobus.log.replay_bus import own_bus
from neurobus.wire import bus as wire
from tests.bench.cluster import ROOT, program, run, started
from tests.bench.figure import Figure, in_turn, spread

CONFIG = ROOT / "configs" / "balanced.toml"
LENGTH = "2s"
P99_MS = 1.0


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        recorded = Path(folder) / "recorded.mcap"
        run(CONFIG, "--clock", "virtual", "--for", LENGTH, "--record", recorded)
        (found,) = in_turn(lambda: once(recorded))
    values = [one["p99_ms"] for one in found]
    more = {"spread": spread(values), "median_ms": round(median(one["median_ms"] for one in found), 3),
            "worst_ms": max(one["worst_ms"] for one in found), "frames": found[0]["frames"]}  # fmt: skip
    value = median(values)
    return [Figure("replay_error", value, "ms late (p99)", f"≤ {P99_MS:g} ms on an idle machine",
                   value <= P99_MS, "", None, more)]  # fmt: skip


def once(path: Path) -> dict[str, Any]:
    """The error of each frame of one replay: when it was handed to the bus, less when its spike was due."""
    with started(program("tests.bench.replay_error", path)) as process:
        out, _ = process.communicate(timeout=60)
    return dict(json.loads(out))


def main() -> None:
    recorded = log.read(sys.argv[1])
    sent: list[tuple[int, bytes]] = []
    with own_bus(recorded, 1.0) as manifest:
        peer = Peer(manifest.bus)
        peer.join("replay")

        def send(frame: bytes) -> None:
            peer.send(frame)
            sent.append((time.monotonic_ns(), frame))

        player = Player(Schedule(recorded), send)
        player.play()
        begin_ns = player.begin_ns
        player.close()
        peer.close()
    late_ns = []
    for at_ns, frame in sent:
        event = wire.decode(frame)
        if isinstance(event, (Spikes, Samples)):
            late_ns.append(at_ns - (begin_ns + event.t_ns[0]))
    middle, p99 = np.percentile(np.abs(late_ns), (50, 99)) / 1e6
    print(json.dumps({"median_ms": middle, "p99_ms": p99, "worst_ms": max(map(abs, late_ns)) / 1e6,
                      "frames": len(late_ns)}))  # fmt: skip


if __name__ == "__main__":
    main()
