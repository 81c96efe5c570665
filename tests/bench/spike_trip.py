"""[spike_trip] [spike_trip_p99] A spike into a board and one out of it, through bus and bridge.

A neuron that fires at every input is a board. Spikes are published with stamps that leave the way in a
chosen time x before their effect is due. The board's spikes tell which came too late: so the share of late
ones at each x is the distribution of the way in. Of the others the way out is seen: from the stamp of the
board's spike to its receipt on the bus. The wire's part is that of the bytes of INPUT and SPIKE.
"""

from __future__ import annotations

import random
import time

import numpy as np

from neurobus.events import Spikes
from neurobus.wire import bus as wire
from neurobus.wire import link
from tests.bench.desk import BYTE_S, desk
from tests.bench.figure import Figure

DELAY_MS = 30
PROBES = 400
MOST_MS = 4.0
APART_S = 0.03
BACK_S = 1.0
"""On a busy machine the process may take its neuron back; then the board has time to return."""
P50_AT_MOST_MS, P99_AT_MOST_MS = 0.5, 2.0

CONFIG = f"""
[run]
snapshot_every = "0 s"
[[neurons]]
id = "m"
model = "nodes.chip"
params = {{ V_th = "-69 mV" }}
[[sources]]
id = "x"
kind = "external"
[[synapses]]
pre = "x"
post = "m"
weight = "8000 pA"
delay = "{DELAY_MS} ms"
"""


def measure() -> list[Figure]:
    wire_ms = 1000 * BYTE_S * (_size(link.INPUT, tick=1, synapses=(1,)) + _size(link.SPIKE, tick=1))
    slack_ms, late, out_ms, trips = _probe()
    order = np.argsort(slack_ms)
    into = _quantiles(slack_ms[order], late[order])
    out = np.percentile(out_ms, [50, 99])
    figures = []
    for id, n, more in (("spike_trip", 0, P50_AT_MOST_MS), ("spike_trip_p99", 1, P99_AT_MOST_MS)):
        value = into[n] + float(out[n])
        figures.append(Figure(
            id, value, "ms", f"≤ wire + {more:g}", value <= wire_ms + more, "its bytes on the wire", wire_ms,
            {"in_ms": round(into[n], 3), "out_ms": round(float(out[n]), 3), "bridge_trip_ms": trips},
        ))  # fmt: skip
    return figures


def _size(message: link.Message, **values: object) -> int:
    return len(link.encode(message, **values))  # type: ignore[arg-type]


def _probe() -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Time left to each probe (ms), whether it was late, and the way out of those that were not (ms)."""
    rng = random.Random(1)
    slack: list[float] = []
    steps: list[int] = []
    out: list[float] = []
    with desk(CONFIG) as table:
        dt = table.manifest.dt_ns
        table.attach(["m"], "--lag", "0 s")
        peer = table.peer()
        peer.subscribe(wire.topic(wire.SPIKES, "m"))
        peer.join("bench")
        try:
            for seq in range(PROBES):
                x_ms = rng.uniform(0.0, MOST_MS)
                due = (table.now_ns() + round(x_ms * 1e6)) // dt * dt
                stamp = due - DELAY_MS * 1_000_000
                left_ms = (due - table.now_ns()) * 1e-6
                peer.send(wire.encode(Spikes("x", 0, seq, [stamp])))
                came, at = _await(peer, table, due)
                if came is None:
                    continue
                slack.append(left_ms)
                steps.append((came - due) // dt)
                out.append((at - came) * 1e-6)
                time.sleep(APART_S)
            (board,) = table.boards()
        finally:
            peer.close()
        table.stop()
    # Those in time all fire so many steps after their effect; one that fires later was late.
    late = np.array(steps) > min(steps)
    return np.array(slack), late, np.array(out)[~late], board["link"]["round_trip_ms"]


def _await(peer, table, due) -> tuple[int | None, int]:  # type: ignore[no-untyped-def]
    give_up = time.monotonic() + 0.2
    while (left := give_up - time.monotonic()) > 0:
        data = peer.wait(left)
        if data is not None and data.startswith(wire.SPIKES):
            event = wire.decode(data)
            if isinstance(event, Spikes) and event.t_ns and event.t_ns[-1] >= due:
                now_ns = table.now_ns()
                if event.epoch % 2:  # the board's; the process has the even ones
                    return event.t_ns[-1], now_ns
                time.sleep(BACK_S)
                return None, 0
    return None, 0


def _quantiles(slack_ms: np.ndarray, late: np.ndarray) -> tuple[float, float]:
    """The slack at which half, and 1 %, of the probes are late: isotonic, by pooling."""
    share, weight, edge = [], [], []
    for x, was_late in zip(slack_ms.tolist(), late.tolist(), strict=True):
        share.append(float(was_late))
        weight.append(1)
        edge.append(x)
        while len(share) > 1 and share[-2] <= share[-1]:
            total = weight[-2] + weight[-1]
            share[-2] = (share[-2] * weight[-2] + share[-1] * weight[-1]) / total
            weight[-2] = total
            for column in (share, weight, edge):
                column.pop(-1 if column is not edge else -2)
    found = []
    for most in (0.5, 0.01):
        at = next((n for n, s in enumerate(share) if s <= most), len(share) - 1)
        found.append(edge[at - 1] if at else edge[0])
    return found[0], found[1]
