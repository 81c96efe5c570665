"""[ring_hop] One spike in a ring of 20 neurons under the wall clock: time per hop."""

from __future__ import annotations

import time
from typing import Any

from neurobus.bus.peer import Peer
from neurobus.cluster import folder
from neurobus.wire import bus as wire
from tests.bench.cluster import HERE, Failed, bare, program, started
from tests.bench.figure import Figure, compared, in_turn

N = 20
HOPS = 4000
AT_MOST = 1.5


def measure() -> list[Figure]:
    ours, theirs = in_turn(neurobus_us, lambda: bare("ring", N, HOPS)["us"])
    peer = "a bare pyzmq poll loop ring over the same hub"
    return [compared("ring_hop", "µs a hop", ours, peer, theirs, at_most=AT_MOST)]


def neurobus_us() -> float:
    """Seen by an observer of one neuron: one frame in 20, between its first and its last spike.

    Raises `Failed` unless every hop was made, with nothing lost, late or twice.
    """
    with started(program("neurobus", "run", HERE / "ring.toml", "--json")) as process:
        seen = _watch(_manifest_when_there())
        process.communicate(timeout=30)
    laps = len(seen) - 1
    if laps != HOPS // N - 1:
        raise Failed(f"{laps} laps were seen, and not {HOPS // N - 1}")
    return (seen[-1] - seen[0]) / (laps * N) / 1000


def _manifest_when_there() -> Any:
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up:
        if running := folder.running():
            return running[0]
        time.sleep(0.01)
    raise Failed("the ring did not start")


def _watch(manifest: Any) -> list[int]:
    """Times of receipt (ns) of the spikes of n.0, to the end of its stream."""
    peer = Peer(manifest.bus, observer=True)
    peer.subscribe(wire.topic(wire.SPIKES, "n.0"))
    peer.join("bench")
    seen: list[int] = []
    while (data := peer.wait(20)) is not None:
        if not data.startswith(wire.SPIKES):
            continue
        event = wire.decode(data)
        if event.last:  # type: ignore[union-attr]
            break
        seen.append(time.monotonic_ns())
    peer.close()
    return seen
