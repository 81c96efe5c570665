"""Weights of a living network, and what is left of them when it is killed, stopped and resumed."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from neurobus.config import load
from neurobus.log import read
from neurobus.network import Network, build
from neurobus.node.snapshot import read_snapshot
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
    plan, found = place(net), np.full(net.synapses.pre.size, np.nan)
    for process in plan.processes:
        if not plan.is_source(process.number):
            saved = read_snapshot(Path(state), process.name)
            assert saved is not None
            synapses, weights = plan.weights_in(process.number, saved["core"])
            found[synapses] = weights
    return found


def expected(config: Path, steps: int) -> np.ndarray:
    ensemble = Ensemble(build(load(config)), 100).run(steps)
    found = np.full(ensemble.network.synapses.pre.size, np.nan)
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


# -- weights in a log --------------------------------------------------------------------------------------

RECORDED = NETWORK.replace("[run]", '[run]\nrecord_weights = ["e"]\nweight_interval = "100 ms"')


def in_log(path: Path, net: Network) -> dict[int, np.ndarray]:
    """Step → weights of the synapses that may change, in the network's order."""
    times, pre, post, weight = read(path).weights.table()
    mine = np.flatnonzero(net.synapses.kind >= 0)
    mine = mine[np.lexsort((net.synapses.pre[mine], net.synapses.post[mine]))]
    assert np.array_equal(net.synapses.pre[mine], pre) and np.array_equal(net.synapses.post[mine], post)
    order = np.argsort(mine)
    return {int(t) // net.dt_ns: row[order] for t, row in zip(times, weight, strict=True)}


@pytest.mark.parametrize("per", [1, 2])
def test_a_log_holds_the_weights_of_each_step_and_changes_none(config, run, neurobus, tmp_path, per):
    path, plain = config(RECORDED), config(NETWORK, name="plain.toml")
    log, blind = tmp_path / "w.mcap", tmp_path / "blind.mcap"
    packed = ("--clock", "virtual", "--set", f"run.neurons_per_process={per}", "--for", "550 ms")
    done = run(path, *packed, "--record", log)
    run(plain, *packed, "--record", blind)
    assert spikes_in(log) == spikes_in(blind) and len(spikes_in(log)) > 100
    net = build(load(path))
    changing = net.synapses.kind >= 0
    found = in_log(log, net)
    assert list(found) == [0, 1000, 2000, 3000, 4000, 5000]
    for step, weights in found.items():
        assert np.array_equal(weights, expected(path, step)[changing]), step
    assert np.mean(found[5000] != found[4000]) > 0.9
    assert done.summary["observers"]["recording"]["weights"] == 6 * changing.sum()
    verified = neurobus("log", "verify", log)
    assert verified.returncode == 0 and f"and {6 * changing.sum()} weights identical" in verified.stdout
    out = neurobus("log", "export", log, tmp_path / "w.csv", "--weights")
    assert out.returncode == 0, out.stderr
    rows = (tmp_path / "w.csv").read_text().splitlines()
    assert rows[:2] == ["time_ms,pre,post,weight", "0,p.0,e.0,2.0"] and len(rows) == 1 + 6 * changing.sum()
    refused = neurobus("log", "export", blind, tmp_path / "w.csv", "--weights")
    assert refused.returncode == 2 and "holds no weights" in refused.stderr


def test_a_killed_neuron_tells_each_weight_once(config, launch, tmp_path):
    path, log = config(RECORDED), tmp_path / "killed.mcap"
    cluster = launch(path, "--clock", "virtual", "--pace", "1", "--for", "2 s", "--record", log)
    until(lambda: list((tmp_path / "states").rglob("e.1.*.snap")), 20, "a snapshot")
    cluster.kill("e.1")
    ended = cluster.end()
    assert ended.code == 0 and ended.summary["restarts"] == 1
    net, got = build(load(path)), read(log)
    found = in_log(log, net)
    assert got.complete and list(found) == list(range(0, 20_001, 1000))
    for step in (0, 9000, 20_000):
        assert np.array_equal(found[step], expected(path, step)[net.synapses.kind >= 0]), step


def test_a_resumed_run_goes_on_telling(config, run, tmp_path):
    path, log = config(RECORDED), tmp_path / "second.mcap"
    first = run(path, "--clock", "virtual", "--for", "250 ms")
    run(path, "--clock", "virtual", "--for", "200 ms", "--resume", first.summary["state"], "--record", log)
    net, found = build(load(path)), in_log(log, build(load(path)))
    assert list(found) == [3000, 4000]
    for step, weights in found.items():
        assert np.array_equal(weights, expected(path, step)[net.synapses.kind >= 0])


def test_under_the_wall_clock_weights_are_of_one_step_too(config, run, tmp_path):
    """The last look is at the step of the last snapshot: the same weights, however late anything came.
    Where nothing did, all are those of the virtual clock."""
    path, log = config(RECORDED), tmp_path / "wall.mcap"
    done = run(path, "--clock", "wall", "--for", "1 s", "--record", log)
    net, found = build(load(path)), in_log(log, build(load(path)))
    changing = net.synapses.kind >= 0
    assert list(found) == list(range(0, 10_001, 1000))
    assert all(np.isfinite(weights).all() for weights in found.values())
    assert np.array_equal(found[10_000], in_state(path, done.summary["state"])[changing])
    assert np.mean(found[10_000] != found[5000]) > 0.9
    if done.summary["late"] == 0:
        for step, weights in found.items():
            assert np.array_equal(weights, expected(path, step)[changing]), step


def test_nobody_goes_beyond_the_end_where_all_are_slow_to_reach_it(config, launch, tmp_path):
    """The run waits for them; meanwhile there are no more snapshots to stand at."""
    path, log = config(RECORDED), tmp_path / "slow.mcap"
    cluster = launch(path, "--clock", "wall", "--for", "3 s", "--record", log)
    until(lambda: list((tmp_path / "states").rglob("e.1.*.snap")), 20, "a snapshot")
    slow = [cluster.child(name) for name in build(load(path)).ids]
    for process in slow:
        process.send_signal(signal.SIGSTOP)
    time.sleep(3.5)
    for process in slow:
        process.send_signal(signal.SIGCONT)
    ended = cluster.end()
    assert ended.code == 0 and ended.summary["model_s"] == 3.0
    assert list(in_log(log, build(load(path)))) == list(range(0, 30_001, 1000))


def test_a_neuron_killed_under_the_wall_clock_goes_on_telling(config, launch, tmp_path):
    """What it had not told when it died is missing; from its restart on its weights are there again."""
    path, log = config(RECORDED), tmp_path / "killed.mcap"
    cluster = launch(path, "--clock", "wall", "--for", "3 s", "--record", log)
    until(lambda: list((tmp_path / "states").rglob("e.1.*.snap")), 20, "a snapshot")
    cluster.kill("e.1")
    ended = cluster.end()
    assert ended.code == (1 if ended.summary["lost"] else 0) and ended.summary["restarts"] == 1
    net = build(load(path))
    found = in_log(log, net)
    assert list(found) == list(range(0, 30_001, 1000))
    mine = net.synapses.post[net.synapses.kind >= 0] == net.ids.index("e.1")
    told = np.array([np.isfinite(weights) for weights in found.values()])
    assert told[:, ~mine].all() and told[-5:].all()
    assert np.array_equal(found[30_000], in_state(path, ended.summary["state"])[net.synapses.kind >= 0])


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('record_weights = ["p"]', "'p' is a source"),
        ('record_weights = ["quiet"]', "no synapse on 'quiet' can change"),
        ('record_weights = ["f"]', "there is no 'f' in this network"),
        ('weight_interval = "0 ms"', "weight_interval must be > 0, not '0 ms'"),
        ('weight_interval = "0.25 ms"', "weight_interval '0.25 ms' is no multiple of dt"),
        ('weight_interval = "3 mV"', "weight_interval: '3 mV' is voltage"),
    ],
)
def test_what_cannot_be_recorded_is_said_with_its_line(config, neurobus, line, says):
    quiet = table("neurons", id="quiet", model="nodes.lif")
    done = neurobus("check", config(NETWORK.replace("[run]", f"[run]\n{line}") + quiet))
    assert done.returncode == 2 and "net.toml:2: " in done.stderr and says in done.stderr, done.stderr


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
