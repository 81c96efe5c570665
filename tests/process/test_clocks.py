"""One network, many ways to run it: packed or not, by either clock, paced or not: the same spikes."""

from __future__ import annotations

import numpy as np
import pytest

from neurobus.log import read
from tests.helpers import Ensemble, net, run_table, spikes_in, table, until

LIVELY = (
    table("groups", id="e", count=8, model="nodes.lif", params='{ I_e = { uniform = ["380 pA", "450 pA"] } }')
    + table("groups", id="d", count=4, model="nodes.lif_delta", params='{ I_e = "385 pA" }')
    + table("sources", id="p", kind="poisson", count=2, rate="80 Hz")
    + table("sources", kind="background", target="e", rate="500 Hz", weight="30 pA")
    + table("sources", kind="current", target="d.0", amplitude="90 pA", start="100 ms", stop="200 ms")
    + table("electrical", a="e.0", b="d.1", conductance="4 nS")
    + table("electrical", a="e.1", b="e.2", conductance="4 nS")
)
RANDOM = {"rule": "fixed_probability", "probability": 0.4, "delay": '{ uniform = ["5 ms", "9 ms"] }'}
WIRES = (
    table("synapses", pre="e", post="e", weight="70 pA", **RANDOM)
    + table("synapses", pre="e", post="d", weight="1 mV", **RANDOM)
    + table("synapses", pre="d", post="e", weight="-60 pA", **RANDOM)
    + table("synapses", pre="p", post="e", weight="200 pA", **RANDOM)
)
SEED = run_table(seed=5, record_potentials='["e.0"]')


def potentials(path):
    samples = read(path).samples
    return list(zip(samples.t.tolist(), samples.i.tolist(), samples.v_mv.tolist(), strict=True))


def test_any_number_of_neurons_per_process_in_real_processes(config, run, tmp_path):
    path = config(SEED, LIVELY, WIRES)
    found = {}
    for per_process in (1, 4, 100):
        log = tmp_path / f"{per_process}.mcap"
        args = ("--clock", "virtual", "--for", "400 ms", "--record", log)
        done = run(path, *args, "--set", f"run.neurons_per_process={per_process}")
        spikes, samples = spikes_in(log), potentials(log)
        assert done.summary["spikes"] == len(spikes) > 100
        assert done.summary["processes"] == {1: 14, 4: 4, 100: 3}[per_process]
        assert done.summary["lost"] == done.summary["late"] == 0
        found[per_process] = (spikes, samples, done.summary["deliveries"])
    assert len(found[1][1]) > 100
    assert found[1] == found[4] == found[100]


def test_a_pace_changes_nothing_but_the_time_it_takes(config, run, tmp_path):
    path = config(SEED, LIVELY, WIRES)
    free, paced = tmp_path / "free.mcap", tmp_path / "paced.mcap"
    run(path, "--clock", "virtual", "--for", "300 ms", "--record", free)
    done = run(path, "--clock", "virtual", "--pace", "0.25", "--for", "300 ms", "--record", paced)
    assert spikes_in(paced) == spikes_in(free)
    assert done.summary["wall_s"] > 1.15


QUIET = (
    run_table(seed=3, grace="20 ms")
    + table(
        "groups", id="n", count=5, model="nodes.lif", params='{ I_e = { uniform = ["376 pA", "400 pA"] } }'
    )
    + table("neurons", id="quiet", model="nodes.lif")
    + table("sources", id="p", kind="poisson", rate="30 Hz")
    + table("synapses", pre="quiet", post="n", weight="300 pA", rule="all_to_all", delay="40 ms")
    + table("synapses", pre="n", post="n", weight="100 pA", rule="all_to_all", delay="40 ms")
    + table("synapses", pre="p", post="n", weight="300 pA", rule="all_to_all", delay="40 ms")
)


@pytest.mark.calm
def test_the_wall_clock_gives_the_virtual_clocks_spikes_where_nothing_is_late(config, run, tmp_path):
    path, virtual = config(QUIET), tmp_path / "virtual.mcap"
    run(path, "--clock", "virtual", "--for", "1 s", "--record", virtual)
    for attempt in range(5):
        wall = tmp_path / f"wall{attempt}.mcap"
        done = run(path, "--clock", "wall", "--for", "1 s", "--record", wall)
        assert done.summary["lost"] == 0
        if done.summary["late"] == 0:
            break
    else:
        pytest.fail("late every time, with delays of 40 ms")
    assert spikes_in(wall) == spikes_in(virtual)
    assert len(spikes_in(wall)) > 30
    assert done.summary["spikes"] == len(spikes_in(wall))


@pytest.mark.calm
def test_a_poke_by_the_wall_clock_is_in_the_log_and_verifies(config, launch, neurobus, tmp_path):
    path = config(QUIET)
    for attempt in range(5):
        log = tmp_path / f"poked{attempt}.mcap"
        cluster = launch(path, "--clock", "wall", "--record", log)
        for _ in range(2):
            poked = neurobus("poke", "quiet")
            assert poked.returncode == 0, poked.stderr
        until(lambda c=cluster: c.status()["quiet"]["spikes"] == 2, what="two spikes")
        done = cluster.stop()
        assert done.summary["lost"] == 0
        if done.summary["late"] == 0:
            break
    else:
        pytest.fail("late every time, with delays of 40 ms")
    assert done.summary["observers"]["recording"]["stimuli"] == 2
    verified = neurobus("log", "verify", log)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_poke_by_the_virtual_clock_is_stamped_and_acts(config, launch, neurobus, tmp_path):
    path = config(table("neurons", id="a", model="nodes.lif"))
    log = tmp_path / "poked.mcap"
    cluster = launch(path, "--clock", "virtual", "--pace", "1", "--record", log)
    assert neurobus("poke", "a").returncode == 0
    until(lambda: cluster.status()["a"]["spikes"], what="the spike of a")
    cluster.stop()
    (stimulus,) = read(log).stimuli
    assert stimulus.t_ns < spikes_in(log)[0][0] < stimulus.t_ns + 5_000_000


# -- graded synapses ---------------------------------------------------------------------------------------

GRADED = "".join([
    run_table(potential_delta="0.05 mV", potential_interval="0.1 ms", record_potentials='["n"]'),
    table("groups", id="n", count=4, model="nodes.lif",
          params='{ I_e = { uniform = ["300 pA", "460 pA"] } }'),
    table("graded", pre="n", post="n", rule="all_to_all", transfer="sigmoid", threshold="-60 mV",
          slope="3 mV", conductance='{ uniform = ["1 nS", "6 nS"] }',
          reversal='{ choice = ["-80 mV", "-45 mV"] }'),
])  # fmt: skip


def test_graded_conductances_in_processes(config, run, neurobus, tmp_path):
    """The same spikes and samples as without processes, packed or not, stopped and resumed; and verified."""
    path, virtual = config(GRADED), ("--clock", "virtual", "--for")
    expected = Ensemble(net(GRADED), 4).run(3000).emission
    assert len(expected.keys) > 0 and len(expected.sample_keys) > 1000
    for per in (1, 3):
        log = tmp_path / f"{per}.mcap"
        run(path, *virtual, "300 ms", "--set", f"run.neurons_per_process={per}", "--record", log)
        samples = read(log).samples
        assert np.array_equal(samples.t // 100_000 << 32 | samples.i, expected.sample_keys)
        assert np.array_equal(samples.v_mv, expected.sample_mv)
        assert len(spikes_in(log)) == len(expected.keys)
    verified = neurobus("log", "verify", log)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    first, log = run(path, *virtual, "120 ms"), tmp_path / "second.mcap"
    run(path, *virtual, "180 ms", "--resume", first.summary["state"], "--record", log)
    later = expected.sample_keys >> 32 > 1200
    assert np.array_equal(read(log).samples.v_mv, expected.sample_mv[later])
