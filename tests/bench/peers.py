"""[peers] The same ring with an actor per neuron, in Ray and in Dask."""

from __future__ import annotations

import json
from statistics import median
from typing import Any

from tests.bench.cluster import program, started
from tests.bench.figure import Figure, in_turn, spread
from tests.bench.ring_hop import neurobus_us

PEERS = ("ray", "dask")
TIMEOUT_S = 180


def measure() -> list[Figure]:
    ours: list[float] = []
    found: dict[str, list[float] | str] = {}
    for name in PEERS:
        # An actor system takes long to start: it stays up, idle, while the other side has its turn.
        with started(program("tests.bench.actors", name)) as process:
            first = _answer(process)
            if "missing" in first:
                found[name] = first["missing"]
                continue
            mine, theirs = in_turn(neurobus_us, lambda process=process: _turn(process))
            ours += mine
            found[name] = theirs
    measured = {name: values for name, values in found.items() if not isinstance(values, str)}
    more: dict[str, Any] = {f"{name}_us": round(median(values), 1) for name, values in measured.items()}
    more |= {f"{name}_spread": spread(values) for name, values in measured.items()}
    peer = ", ".join(f"{name.capitalize()} {more[f'{name}_us']:g}" if name in measured else str(found[name])
                     for name in PEERS)  # fmt: skip
    if not ours:
        return [Figure("peers", None, "µs a hop", "reported", None, peer)]
    best = min((median(values) for values in measured.values()), default=None)
    return [Figure("peers", median(ours), "µs a hop", "reported", None, peer, best,
                   {"spread": spread(ours), **more})]  # fmt: skip


def _turn(process: Any) -> float:
    process.stdin.write("\n")
    process.stdin.flush()
    return float(_answer(process)["us"])


def _answer(process: Any) -> dict[str, Any]:
    for line in process.stdout:
        if line.startswith("{"):
            return dict(json.loads(line))
    return {"missing": f"ended: {process.stderr.read().strip().splitlines()[-1:]}"}
