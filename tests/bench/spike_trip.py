"""[spike_trip] [spike_trip_p99] A spike into a board and one out of it, through bus and bridge.

A neuron that fires at every input is a board. Each probe is a spike whose effect is due at once: from its
publishing to the receipt of the answer is the whole trip, by one clock. The board, at rest, is behind its
clock on purpose, so that the spike, when it has come through bus and bridge, still acts in its own update
(what all the same is late is counted, `late`). The wire's part is that of the bytes of INPUT and SPIKE; what
the board takes by itself, wire and chip, is `board_trip`.
"""

from __future__ import annotations

import gc
import time

import numpy as np

from neurobus.bus.peer import Peer
from neurobus.events import Spikes
from neurobus.wire import bus as wire
from neurobus.wire import link
from tests.bench.cluster import Failed
from tests.bench.desk import BYTE_S, desk
from tests.bench.figure import Figure

DELAY_MS = 30
PROBES, HOPS = 400, 100
ECHO = "echo"
APART_S = 0.05
BACK_S = 1.0
"""On a busy machine the process may take its neuron back; then the board has time to return."""
P50_AT_MOST_MS, P99_AT_MOST_MS = 0.5, 2.0

CONFIG = f"""
[run]
snapshot_every = "0 s"
[[neurons]]
id = "m"
model = "nodes.chip"
params = {{ V_th = "-69 mV", t_ref = "30 ms" }}
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
    frames = (
        link.encode(link.INPUT, tick=1, synapses=(1,)),
        link.encode(link.SPIKE, tick=1),
    )
    wire_ms = 1000 * BYTE_S * sum(map(len, frames))
    trips_ms, parts = _probe()
    return [
        Figure(
            id, value, "ms", f"≤ wire + {more:g}", value <= wire_ms + more, "its bytes on the wire", wire_ms,
            {"probes": len(trips_ms), **parts},
        )
        for id, value, more in (
            ("spike_trip", float(np.percentile(trips_ms, 50)), P50_AT_MOST_MS),
            ("spike_trip_p99", float(np.percentile(trips_ms, 99)), P99_AT_MOST_MS),
        )
    ]  # fmt: skip


def _probe() -> tuple[np.ndarray, dict[str, float]]:
    """Trips (ms), and what parts of them take (ms): the bridge's own round trip to the board, and both ways
    on the bus, there and here, as found with a frame that nobody else listens to."""
    trips: list[float] = []
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
                stamp = table.now_ns() // dt * dt - DELAY_MS * 1_000_000
                sent_ns = time.monotonic_ns()
                peer.send(wire.encode(Spikes("x", 0, seq, [stamp])))
                answered_ns = _answered_ns(peer)
                if answered_ns is not None:
                    trips.append((answered_ns - sent_ns) * 1e-6)
                time.sleep(APART_S)
            (board,) = table.boards()
            bus_ms = 2 * float(np.median([_echo_ms(peer, seq) for seq in range(HOPS)]))
        finally:
            gc.unfreeze()
            peer.close()
        table.stop()
    return np.array(trips), {
        "late": board["late"],
        "bridge_trip_ms": board["link"]["round_trip_ms"],
        "bus_there_and_here_ms": round(bus_ms, 3),
    }


def _echo_ms(peer: Peer, seq: int) -> float:
    """From `peer` through the hub and back."""
    if seq == 0:
        peer.subscribe(wire.topic(wire.SPIKES, ECHO))
        time.sleep(0.5)
    time.sleep(APART_S)
    sent_ns = time.monotonic_ns()
    peer.send(wire.encode(Spikes(ECHO, 0, seq, [seq])))
    while (data := peer.wait(1)) is not None:
        if data.startswith(wire.topic(wire.SPIKES, ECHO)):
            return (time.monotonic_ns() - sent_ns) * 1e-6
    raise Failed("the bus does not answer")


def _answered_ns(peer) -> int | None:  # type: ignore[no-untyped-def]
    """When the board's answer came; None where there was none, or the process has the neuron."""
    give_up = time.monotonic() + 0.2
    while (left := give_up - time.monotonic()) > 0:
        data = peer.wait(left)
        if data is not None and data.startswith(wire.SPIKES):
            now_ns = time.monotonic_ns()
            event = wire.decode(data)
            if isinstance(event, Spikes) and len(event.t_ns):
                if event.epoch % 2:  # the board's; the process has the even ones
                    return now_ns
                time.sleep(BACK_S)
                return None
    return None
