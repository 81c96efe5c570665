"""[spike_trip] [spike_trip_p99] A spike into a board and one out of it, through bus and bridge.

A neuron that fires at every input is a board. Spikes are published with stamps that leave the way in a
chosen time x before their effect is due. The board's spikes tell which came too late: so the share of late
ones at each x is the distribution of the way in. Of the others the way out is seen: from the stamp of the
board's spike to its receipt on the bus. No trip is seen whole, so the sums of both ways are those of two
independent ones. The wire's part is that of the bytes of INPUT and SPIKE.
"""

from __future__ import annotations

import gc
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
    in_ms, share = way_in(slack_ms[order], late[order])
    sums = (in_ms[:, None] + out_ms[None, :]).ravel()
    shares = np.repeat(share / len(out_ms), len(out_ms))
    figures = []
    for id, most, more in (("spike_trip", 0.5, P50_AT_MOST_MS), ("spike_trip_p99", 0.99, P99_AT_MOST_MS)):
        value = quantile(sums, shares, most)
        into, out = quantile(in_ms, share, most), float(np.percentile(out_ms, 100 * most))
        figures.append(Figure(
            id, value, "ms", f"≤ wire + {more:g}", value <= wire_ms + more, "its bytes on the wire", wire_ms,
            {"in_ms": round(into, 3), "out_ms": round(out, 3), "bridge_trip_ms": trips},
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
        gc.collect()
        gc.freeze()  # whoever measures must not pause
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
            gc.unfreeze()
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


def way_in(slack_ms: np.ndarray, late: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distribution of the way in, as times (ms) and their shares: it took longer than x as often as a
    probe that was left x (ascending) was late; made monotonic by pooling. What exceeds the longest x counts
    as that."""
    share: list[float] = []
    weight: list[int] = []
    begin: list[float] = []
    for x, was_late in zip(slack_ms.tolist(), late.tolist(), strict=True):
        share.append(float(was_late))
        weight.append(1)
        begin.append(x)
        while len(share) > 1 and share[-2] <= share[-1]:
            total = weight[-2] + weight[-1]
            share[-2] = (share[-2] * weight[-2] + share[-1] * weight[-1]) / total
            weight[-2] = total
            for column in (share, weight, begin):
                column.pop()
    return np.array([*begin, slack_ms[-1]]), -np.diff([1.0, *share, 0.0])


def quantile(values: np.ndarray, shares: np.ndarray, most: float) -> float:
    order = np.argsort(values)
    return float(values[order][np.searchsorted(np.cumsum(shares[order]), most)])
