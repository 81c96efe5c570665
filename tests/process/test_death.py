"""SIGKILL of every part of a run, and what must survive it. What is left behind, tests/conftest.py sees."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest

from neurobus.cluster import folder as folders
from neurobus.log import read
from tests.helpers import run_table, spikes_in, table, until

TIDY_S = 5.0
"""How long what is left of a killed run may take to be gone."""

RING = (
    table("groups", id="n", count=4, model="nodes.lif", params='{ I_e = { uniform = ["380 pA", "400 pA"] } }')
    + table("sources", id="p", kind="poisson", rate="40 Hz")
    + table("electrical", a="n.0", b="n.1", conductance="2 nS")
    + table("synapses", pre="n", post="n", rule="all_to_all", weight="60 pA", delay="20 ms")
    + table("synapses", pre="p", post="n", rule="all_to_all", weight="300 pA", delay="20 ms")
)


def network(**run):
    return run_table(seed=2, **{"snapshot_every": "0 s", **run}) + RING


def spikes_of(cluster, name):
    return cluster.status().get(name, {}).get("spikes", -1)


def everything_gone(pids):
    return not [pid for pid in pids if psutil.pid_exists(pid)] and not any(folders.runtime_dir().iterdir())


def family(cluster):
    return [cluster.pid, cluster.fork_server.pid, *(child.pid for child in cluster.fork_server.children())]


# -- a neuron -------------------------------------------------------------------------------------------


def test_a_neuron_killed_by_the_wall_clock_is_restarted_and_the_others_go_on(config, launch):
    cluster = launch(config(network()), "--clock", "wall")
    before = spikes_of(cluster, "n.3")
    first = cluster.child("n.2").pid
    cluster.kill("n.2")
    until(lambda: (child := cluster.child("n.2")) and child.pid != first, what="a new n.2")
    until(lambda: spikes_of(cluster, "n.2") > 2, what="spikes of the new n.2")
    assert spikes_of(cluster, "n.3") > before
    done = cluster.stop()
    assert done.code == 130
    assert done.summary["restarts"] == 1
    assert "n.2 died (killed by SIGKILL) and was restarted" in done.summary["notes"]
    assert done.summary["silent"] == []


@pytest.mark.parametrize("victim", ["n.2", "p"])
@pytest.mark.parametrize("snapshots", ["0 s", "300 ms"])
def test_a_process_killed_by_the_virtual_clock_leaves_no_trace_in_the_spikes(
    config, run, launch, tmp_path, victim, snapshots
):
    path = config(network(snapshot_every=snapshots))
    calm, killed = tmp_path / "calm.mcap", tmp_path / "killed.mcap"
    run(path, "--clock", "virtual", "--for", "2 s", "--record", calm)
    cluster = launch(path, "--clock", "virtual", "--pace", "0.5", "--for", "2 s", "--record", killed)
    for _ in range(2):
        time.sleep(0.5)
        first = cluster.child(victim).pid
        cluster.kill(victim)
        until(
            lambda first=first: (child := cluster.child(victim)) and child.pid != first,
            what="the new process",
        )
    done = cluster.end()
    assert done.code == 0, done.err
    assert done.summary["restarts"] == 2
    assert spikes_in(killed) == spikes_in(calm)
    assert done.summary["spikes"] == len(spikes_in(calm))
    assert (done.summary["lost"], done.summary["late"], done.summary["silent"]) == (0, 0, [])


def test_a_packed_process_killed_by_the_virtual_clock_leaves_no_trace(config, run, launch, tmp_path):
    path = config(network(neurons_per_process=4))
    calm, killed = tmp_path / "calm.mcap", tmp_path / "killed.mcap"
    run(path, "--clock", "virtual", "--for", "1 s", "--record", calm)
    cluster = launch(path, "--clock", "virtual", "--pace", "1", "--for", "1 s", "--record", killed)
    time.sleep(0.4)
    cluster.kill(next(name for name in cluster.manifest.streams if name.startswith("@")))
    done = cluster.end()
    assert done.code == 0, done.err
    assert done.summary["restarts"] == 1
    assert spikes_in(killed) == spikes_in(calm)


def test_a_neuron_that_dies_again_and_again_uses_up_its_budget(config, launch):
    cluster = launch(config(network(restarts=2)), "--clock", "wall")
    give_up = time.monotonic() + 30
    while cluster.process.poll() is None and time.monotonic() < give_up:
        if child := cluster.child("n.1"):
            child.kill()
        time.sleep(0.02)
    done = cluster.end()
    assert done.code == 4
    assert done.lines[-1] == "neurobus: n.1 died (killed by SIGKILL) and has used up its 2 restarts"
    assert "Traceback" not in done.err


# -- the bus ----------------------------------------------------------------------------------------------


def test_the_hub_killed_is_restarted_and_what_was_lost_is_counted(config, launch):
    cluster = launch(config(network()), "--clock", "wall")
    # Four neurons and a source at some 40 Hz each, silent for a tenth of a second: but on a machine so
    # busy that they stood still as well, nothing was under way and nothing lost. Then once more.
    kills = 0
    while True:
        kills += 1
        before = spikes_of(cluster, "n.0")
        cluster.kill("hub")
        until(lambda: cluster.child("hub"), what="a new hub")
        until(lambda before=before: spikes_of(cluster, "n.0") > before + 10, what="spikes once more")
        heard = cluster.status()
        assert heard.keys() == set(cluster.manifest.streams)
        if kills == 3 or any(figures["lost"] for figures in heard.values()):
            break
    deliveries = heard["n.1"]["deliveries"]
    until(lambda: cluster.status()["n.1"]["deliveries"] > deliveries, what="deliveries through the new hub")
    done = cluster.stop()
    assert done.summary["restarts"] == kills
    assert any(note.startswith("hub died (killed by SIGKILL)") for note in done.summary["notes"])
    assert done.summary["lost"] > 0
    assert done.summary["gaps"]


def test_nothing_goes_on_without_the_conductor(config, launch):
    cluster = launch(config(network()), "--clock", "virtual", "--pace", "1")
    cluster.kill("conductor")
    done = cluster.end()
    assert done.code == 4
    assert done.lines[-1].startswith("neurobus: conductor died: killed by SIGKILL")


# -- those around -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clock", ["wall", "virtual"])
def test_the_recorder_killed_leaves_a_readable_log_and_the_run_goes_on(config, launch, tmp_path, clock):
    log = tmp_path / "cut.mcap"
    args = ("--pace", "1") if clock == "virtual" else ()
    cluster = launch(config(network()), "--clock", clock, *args, "--record", log)
    # The log exists from the start; it is read while it grows.
    until(lambda: sum(name == "n.0" for _, name in spikes_in(log)) >= 20, what="spikes in the log")
    cluster.kill("recording")
    before = spikes_of(cluster, "n.0")
    until(lambda: spikes_of(cluster, "n.0") > before + 5, what="more spikes")
    done = cluster.stop()
    assert done.code == 130
    assert any(note.startswith("recording died (killed by SIGKILL)") for note in done.summary["notes"])
    recorded = read(log)
    assert not recorded.complete
    of_n0 = [t for t, name in spikes_in(log) if name == "n.0"]
    assert len(of_n0) >= 20
    assert (done.summary["lost"], done.summary["restarts"]) == (0, 0)


@pytest.mark.parametrize("stopped", [None, "n.1"])
@pytest.mark.parametrize("clock", ["wall", "virtual"])
def test_a_killed_launcher_leaves_nothing_but_the_log(config, launch, tmp_path, clock, stopped):
    """Also where one process is stopped: then the system hangs up on the orphaned group."""
    log = tmp_path / "orphan.mcap"
    args = ("--pace", "1") if clock == "virtual" else ()
    cluster = launch(config(network()), "--clock", clock, *args, "--record", log)
    until(lambda: spikes_of(cluster, "n.0") > 10, what="some spikes")
    pids = family(cluster)
    if stopped:
        cluster.child(stopped).suspend()
    os.kill(cluster.pid, signal.SIGKILL)
    cluster.process.wait()
    until(lambda: everything_gone(pids), TIDY_S, "everything to be gone")
    assert len(spikes_in(log)) > 10
    assert read(log).complete, "closed in order"


@pytest.mark.parametrize("clock", ["wall", "virtual"])
def test_a_killed_fork_server_ends_the_run_and_leaves_nothing(config, launch, clock):
    args = ("--pace", "1") if clock == "virtual" else ()
    cluster = launch(config(network()), "--clock", clock, *args)
    pids = family(cluster)
    cluster.fork_server.kill()
    done = cluster.end()
    assert done.code == 4
    assert done.lines[-1].startswith("neurobus: the fork server ended unexpectedly")
    until(lambda: everything_gone(pids), TIDY_S, "everything to be gone")


def test_launcher_and_fork_server_killed_at_once_leave_nothing(config, launch):
    cluster = launch(config(network()), "--clock", "wall")
    pids = family(cluster)
    os.kill(cluster.pid, signal.SIGKILL)
    cluster.fork_server.kill()
    cluster.process.wait()
    until(lambda: everything_gone(pids), TIDY_S, "everything to be gone")


def test_a_launcher_killed_while_it_starts_leaves_nothing(config, neurobus):
    """At several instants between the first import and the barrier."""
    path = config(network())
    for pause_s in (0.2, 0.5, 0.8, 1.1):
        process = neurobus.start("run", path, "--json", "--clock", "wall")
        time.sleep(pause_s)
        pids = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
        process.kill()
        process.wait()
        until(
            lambda pids=pids: not [p for p in pids if psutil.pid_exists(p)], TIDY_S, "everything to be gone"
        )
    # A folder left behind by whoever was killed before there was a fork server goes at the next start.
    until(lambda: not [p for p in folders.runtime_dir().rglob("*") if p.is_socket()], TIDY_S)


# -- models that fail ---------------------------------------------------------------------------------------

BAD = """
from neurobus.model import Model, Param, State

class Bad(Model):
    x = Param(0)
    V = State("mV")

    def prepare(p, dt_ms):
        if p["x"][0] == 1:
            raise RuntimeError("x is 1")
        return {}

    def step(k, s, c, x, I, key, fired):
        fired[0] = False
        return 0
"""


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        pytest.param(BAD.replace("== 1", ">= 0"), "bad_model", id="before the fork"),
        pytest.param(BAD, "bad_model.py:10: RuntimeError: x is 1", id="in its process"),
        pytest.param(
            BAD.replace("== 1", "== 7").replace("fired[0] =", "fired.nope ="),
            "model 'bad_model' does not compile:",
            id="compiling",
        ),
    ],
)
def test_a_model_that_fails_is_one_line(config, run, bad, says):
    neurons = (
        table("neurons", id=name, model="bad_model", params=f"{{ x = {n} }}") for n, name in enumerate("ab")
    )
    done = run(config(*neurons, bad_model__py=bad), "--clock", "wall", "--for", "100 ms", code=2)
    words = [line for line in done.lines if not line.startswith("compiling")]
    assert len(words) == 1, done.err
    assert says in words[0]
