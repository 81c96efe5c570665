"""Weights of a living network, and what is left of them when it is killed, stopped and resumed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from neurobus.config import load
from neurobus.network import build
from neurobus.node.runtime import read_snapshot
from neurobus.placement import place
from tests.helpers import Ensemble, run_table, spikes_in, table, until

NETWORK = "".join([
    run_table(seed=3, snapshot_every="100 ms"),
    table("groups", id="e", count=3, model="nodes.lif_delta", params='{ I_e = "200 pA", tau_m = "20 ms" }'),
    table("sources", id="p", kind="poisson", count=12, rate="40 Hz"),
    table("synapses", pre="p", post="e", rule="all_to_all", weight="2 mV",
          delay='{ uniform = ["5 ms", "8 ms"] }', synapse="nodes.stdp",
          params='{ W_max = "4 mV", lambda_ = 0.05 }'),
    table("synapses", pre="e.0", post="e.1", weight="0.5 mV", delay="5 ms"),
])  # fmt: skip


def in_state(config: Path, state: str) -> np.ndarray:
    """Weights of all synapses in the snapshots that a run ended with."""
    net = build(load(config))
    plan, found = place(net), np.full(net.pre.size, np.nan)
    for process in plan.processes:
        if not plan.is_source(process.number):
            saved = read_snapshot(Path(state), process.name)
            assert saved is not None
            synapses, weights = plan.weights_in(process.number, saved["core"])
            found[synapses] = weights
    return found


def expected(config: Path, steps: int) -> np.ndarray:
    ensemble = Ensemble(build(load(config)), 100).run(steps)
    found = np.full(ensemble.network.pre.size, np.nan)
    for process, core in zip(ensemble.plan.processes, ensemble.cores, strict=True):
        if not ensemble.plan.is_source(process.number):
            synapses, weights = ensemble.plan.weights_in(process.number, core.dump())
            found[synapses] = weights
    return found


def test_a_run_ends_with_the_weights_of_any_packing(config, run):
    path = config(NETWORK)
    done = run(path, "--clock", "virtual", "--for", "500 ms")
    weights = in_state(path, done.summary["state"])
    assert np.array_equal(weights, expected(path, 5000))
    assert np.mean(weights != 2.0) > 0.9


def test_a_killed_neuron_learns_on_as_if_nothing_had_been(config, launch, tmp_path):
    path, log, calm = config(NETWORK), tmp_path / "killed.mcap", tmp_path / "calm.mcap"
    cluster = launch(path, "--clock", "virtual", "--pace", "1", "--for", "3 s", "--record", log)
    until(lambda: list((tmp_path / "states").rglob("e.1.*.snap")), 20, "a snapshot")
    cluster.kill("e.1")
    ended = cluster.end()
    assert ended.code == 0 and ended.summary["restarts"] == 1
    assert np.array_equal(in_state(path, ended.summary["state"]), expected(path, 30_000))
    other = launch(path, "--clock", "virtual", "--for", "3 s", "--record", calm).end()
    assert other.code == 0
    assert spikes_in(log) == spikes_in(calm)


def test_a_run_in_two_pieces_learns_what_one_run_learns(config, run):
    path = config(NETWORK)
    first = run(path, "--clock", "virtual", "--for", "300 ms")
    second = run(path, "--clock", "virtual", "--for", "700 ms", "--resume", first.summary["state"])
    step = json.loads((Path(second.summary["state"]) / "resume.json").read_text())["step"]
    assert np.array_equal(in_state(path, second.summary["state"]), expected(path, step))


@pytest.mark.parametrize("clock", ["wall", "virtual"])
def test_weights_of_a_living_neuron(config, launch, neurobus, clock):
    path = config(NETWORK)
    pace = ("--pace", "1") if clock == "virtual" else ()
    cluster = launch(path, "--clock", clock, *pace, "--for", "60 s")

    def asked() -> dict[str, object]:
        done = neurobus("weights", "e.1", "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    first = asked()
    assert (first["neuron"], first["unit"], len(first["synapses"])) == ("e.1", "mV", 13)
    by_pre = {row["pre"]: row for row in first["synapses"]}
    assert by_pre["e.0"]["type"] == "static" and by_pre["e.0"]["weight"] == 0.5
    assert by_pre["p.3"]["type"] == "nodes.stdp" and 5 <= by_pre["p.3"]["delay_ms"] <= 8
    later = until(lambda: (now := asked())["synapses"] != first["synapses"] and now, 20, "a weight to move")
    assert later["t_ms"] > first["t_ms"]
    said = neurobus("weights", "e.1", "--most", "2").stdout
    assert said.startswith("e.1 has 13 synapses at") and said.count("\n") == 3
    wrong = neurobus("weights", "e.7")
    assert wrong.returncode == 2 and "no neuron 'e.7'" in wrong.stderr and wrong.stderr.count("\n") == 1
    cluster.stop()
