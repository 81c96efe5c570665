"""[boards_32] [boards_32_lost] Thirty-two boards at 20 spikes a second each, in real time, on one bridge."""

from __future__ import annotations

import time

from tests.bench.desk import desk
from tests.bench.figure import Figure

N, SECONDS = 32, 10.0
AT_MOST = 30.0

CONFIG = f"""
[run]
snapshot_every = "0 s"
[[groups]]
id = "m"
count = {N}
model = "nodes.chip"
[[sources]]
id = "x"
count = {N}
kind = "poisson"
rate = "20 Hz"
[[synapses]]
pre = "x"
post = "m"
rule = "one_to_one"
weight = "8000 pA"
delay = "20 ms"
"""


def measure() -> list[Figure]:
    with desk(CONFIG, N) as table:
        table.attach([f"m.{i}" for i in range(N)])
        bridge = table.bridge()
        before, begun, spiked = bridge.cpu_times(), time.monotonic(), _spikes(table.boards())
        time.sleep(SECONDS)
        after, seconds = bridge.cpu_times(), time.monotonic() - begun
        boards = table.boards()
        summary = table.stop()
    cpu = 100 * (after.user + after.system - before.user - before.system) / seconds
    late, disagreed = (sum(board[name] for board in boards) for name in ("late", "disagreements"))
    lost = summary["lost"] + summary["dropped"] + sum(board["missed"] for board in boards)
    rate = (_spikes(boards) - spiked) / seconds / N
    more = {"spikes_per_s_a_board": round(rate, 1), "late": late, "disagreed": disagreed,
            "losses": sum(board["losses"] for board in boards)}  # fmt: skip
    return [
        Figure("boards_32", cpu, "% of a core, the bridge", f"≤ {AT_MOST:g}", cpu <= AT_MOST, more=more),
        Figure("boards_32_lost", lost, "spikes lost", "0", lost == 0, more=more),
    ]


def _spikes(boards: list[dict[str, int]]) -> int:
    return sum(board["spikes"] for board in boards)
