"""[packed_nest] 10,000 neurons in two processes beside NEST with two threads, spike for spike."""

from __future__ import annotations

import importlib.util
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neurobus import config, log, network
from tests.bench.cluster import HERE, Failed, program, run, started
from tests.bench.figure import Figure, compared, in_turn

CONFIG = HERE / "packed.toml"
MODEL_S = 2.0
COMPARED_MS = 400
AT_MOST = 1.0


def measure() -> list[Figure]:
    if importlib.util.find_spec("nest") is None:
        (ours,) = in_turn(neurobus_s)
        return [Figure("packed_nest", float(np.median(ours)), "s a biological second", f"≤ {AT_MOST:g} ×",
                       None, "NEST, which is not installed here")]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        given, recorded = Path(folder) / "network.npz", Path(folder) / "packed.mcap"
        save(given)
        with started(program("tests.bench.nest_peer", given)) as nest:

            def simulate(ms: float) -> dict[str, Any]:
                assert nest.stdin is not None and nest.stdout is not None
                nest.stdin.write(f"{ms}\n")
                nest.stdin.flush()
                while line := nest.stdout.readline():
                    if line.startswith("{"):
                        return dict(json.loads(line))
                raise Failed("NEST ended")

            first = simulate(COMPARED_MS)
            run(CONFIG, "--for", f"{COMPARED_MS}ms", "--record", recorded)
            ours, theirs = in_turn(neurobus_s, lambda: simulate(MODEL_S * 1000)["wall_s"] / MODEL_S)
        spikes = log.read(recorded)
    step = spikes.spikes_t // spikes.header.dt_ns
    pairs = zip(step.tolist(), spikes.spikes_i.tolist(), strict=True)
    same = sorted(pairs) == sorted(map(tuple, first["spikes"]))
    figure = compared("packed_nest", "s a biological second", ours, "NEST 3.10, 2 threads, the same network",
                      theirs, at_most=AT_MOST, spikes_compared=len(step), same_spikes=same)  # fmt: skip
    return [replace(figure, met=figure.met and same)]


def neurobus_s() -> float:
    summary = run(CONFIG, "--for", f"{MODEL_S}s")
    return float(summary["wall_s"] / summary["model_s"])


def save(path: Path) -> None:
    """The network as arrays, for NEST."""
    net = network.build(config.load(CONFIG))
    (params,) = net.params
    delay_ms = net.synapses.delay * net.dt_ns * 1e-6
    np.savez(
        path,
        pre=net.synapses.pre,
        post=net.synapses.post,
        weight=net.synapses.weight,
        delay_ms=delay_ms,
        **params,
    )
