"""[boards_32] [boards_32_lost] Thirty-two boards at 20 spikes a second each, in real time, on one bridge.

What drives them is played from here, so that the machine has the boards, their shadows and the bridge to
bear, and no 32 processes more. A step is 1 ms: a chip simulated cycle by cycle costs most for its ticks.
"""

from __future__ import annotations

import time

import numpy as np

from neurobus.events import Spikes
from neurobus.wire import bus as wire
from tests.bench.desk import Desk, desk
from tests.bench.figure import Figure

N, RATE_HZ, SETTLE_S, SECONDS = 32, 23.0, 1.0, 10.0
"""Some inputs find a neuron that has just fired; so it takes 23 for 20 spikes."""
AT_MOST = 30.0

CONFIG = f"""
[run]
snapshot_every = "0 s"
dt = "1 ms"
[[groups]]
id = "m"
count = {N}
model = "nodes.chip"
[[sources]]
id = "x"
count = {N}
kind = "external"
[[synapses]]
pre = "x"
post = "m"
rule = "one_to_one"
weight = "3000 pA"
delay = "20 ms"
"""


def measure() -> list[Figure]:
    with desk(CONFIG, N) as table:
        table.attach([f"m.{i}" for i in range(N)])
        time.sleep(SETTLE_S)
        bridge = table.bridge()
        before, begun, boards = bridge.cpu_times(), time.monotonic(), table.boards()
        spiked, known = _sum(boards, "spikes"), {name: _sum(boards, name) for name in ("late", "losses")}
        _play(table)
        after, seconds = bridge.cpu_times(), time.monotonic() - begun
        boards = table.boards()
        summary = table.stop()
    cpu = 100 * (after.user + after.system - before.user - before.system) / seconds
    lost = summary["lost"] + summary["dropped"] + _sum(boards, "missed")
    rate = (_sum(boards, "spikes") - spiked) / seconds / N
    more = {"spikes_per_s_a_board": round(rate, 1), "disagreed": _sum(boards, "disagreements"),
            **{name: _sum(boards, name) - n for name, n in known.items()}}  # fmt: skip
    return [
        Figure("boards_32", cpu, "% of a core, the bridge", f"≤ {AT_MOST:g}", cpu <= AT_MOST, more=more),
        Figure("boards_32_lost", lost, "spikes lost", "0", lost == 0, more=more),
    ]


def _play(table: Desk) -> None:
    """Poisson trains for all boards, each spike stamped when it is sent."""
    rng = np.random.default_rng(1)
    times = np.sort(rng.uniform(0, SECONDS, rng.poisson(N * RATE_HZ * SECONDS)))
    sources = rng.integers(0, N, len(times))
    seq = [0] * N
    peer = table.peer()
    peer.join("bench")
    begun = time.monotonic()
    for at, i in zip(times.tolist(), sources.tolist(), strict=True):
        time.sleep(max(begun + at - time.monotonic(), 0.0))
        peer.send(wire.encode(Spikes(f"x.{i}", 0, seq[i], [table.now_ns() // table.manifest.dt_ns * 10**6])))
        seq[i] += 1
    peer.close()


def _sum(boards: list[dict[str, int]], name: str) -> int:
    return sum(board[name] for board in boards)
