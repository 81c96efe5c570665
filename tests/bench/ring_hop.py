"""[ring_hop] One spike in a ring of 20 neurons under the wall clock: time per hop."""

from __future__ import annotations

import time

import numpy as np

from neurobus.bus.peer import Peer
from neurobus.cluster import folder
from neurobus.events import Spikes
from neurobus.wire import bus as wire
from tests.bench.cluster import HERE, Failed, bare, program, started
from tests.bench.figure import Figure, compared, in_turn

N = 20
ROUNDS, LAPS = 10, 5
PERIOD_NS = 200_000_000
AT_MOST = 1.5


def measure() -> list[Figure]:
    ours, theirs = in_turn(neurobus_us, lambda: float(bare("ring", N, ROUNDS * LAPS * N)["us"]))
    peer = "a bare pyzmq poll loop ring over the same hub"
    return [compared("ring_hop", "µs a hop", ours, peer, theirs, at_most=AT_MOST)]


def neurobus_us() -> float:
    """Seen by an observer of one neuron, which hears one frame in 20: from its first to its last spike of
    each round. On a machine so busy that a round lasts into the next one it is cut short, and not counted."""
    with started(program("neurobus", "run", HERE / "ring.toml", "--json")) as process:
        model_ns, seen_ns = _watch(_manifest_when_there())
        process.communicate(timeout=30)
    rounds = [seen_ns[model_ns // PERIOD_NS == n] for n in range(ROUNDS)]
    whole = [seen for seen in rounds if len(seen) == LAPS]
    if len(whole) < ROUNDS / 2:
        raise Failed(f"{ROUNDS - len(whole)} of {ROUNDS} rounds were cut short; is the machine busy?")
    return float(sum(seen[-1] - seen[0] for seen in whole) / (len(whole) * (LAPS - 1) * N) / 1000)


def _manifest_when_there() -> folder.Manifest:
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up:
        if running := folder.running():
            return running[0]
        time.sleep(0.01)
    raise Failed("the ring did not start")


def _watch(manifest: folder.Manifest) -> tuple[np.ndarray, np.ndarray]:
    """Model times of the spikes of n.0 and times of their receipt, to the end of its stream."""
    peer = Peer(manifest.bus, observer=True)
    peer.subscribe(wire.topic(wire.SPIKES, "n.0"))
    peer.join("bench")
    model_ns: list[int] = []
    seen_ns: list[int] = []
    while (data := peer.wait(20)) is not None:
        now = time.monotonic_ns()
        if not data.startswith(wire.SPIKES):
            continue
        event = wire.decode(data)
        assert isinstance(event, Spikes)
        model_ns += event.t_ns
        seen_ns += [now] * len(event.t_ns)
        if event.last:
            break
    peer.close()
    return np.array(model_ns), np.array(seen_ns)
