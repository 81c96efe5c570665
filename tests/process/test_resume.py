"""A run continued from its snapshots is the run that was never interrupted."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.helpers import run_table, spikes_in, table, until

LIVELY = (
    table("groups", id="e", count=4, model="nodes.lif", params='{ I_e = { uniform = ["380 pA", "450 pA"] } }')
    + table("groups", id="d", count=2, model="nodes.lif_delta", params='{ I_e = "385 pA" }')
    + table("sources", id="p", kind="poisson", count=2, rate="50 Hz")
    + table("sources", kind="background", target="e", rate="300 Hz", weight="30 pA")
    + table("sources", kind="current", target="d.0", amplitude="90 pA", start="400 ms", stop="1.2 s")
    + table("electrical", a="e.0", b="d.1", conductance="2 nS")
    + table("synapses", pre="e", post="d", rule="all_to_all", weight="1 mV", delay="30 ms")
    + table("synapses", pre="d", post="e", rule="all_to_all", weight="-60 pA", delay="40 ms")
    + table("synapses", pre="p", post="e", rule="all_to_all", weight="200 pA", delay="30 ms")
)


def network(**run):
    return run_table(**{"seed": 4, "snapshot_every": "10 s", **run}) + LIVELY


@pytest.mark.parametrize("per_process", [1, 3])
def test_virtual_one_second_and_one_more_are_two(config, run, tmp_path, per_process):
    path, state = config(network(neurons_per_process=per_process)), tmp_path / "kept"
    logs = [tmp_path / f"{name}.mcap" for name in ("whole", "first", "second")]
    whole = run(path, "--clock", "virtual", "--for", "2 s", "--record", logs[0])
    first = run(path, "--clock", "virtual", "--for", "1 s", "--record", logs[1], "--save", state)
    assert first.summary["state"] == str(state)
    second = run(path, "--resume", state, "--for", "1 s", "--record", logs[2])
    assert second.summary["clock"] == "virtual"
    assert second.summary["model_s"] == 1.0
    assert spikes_in(logs[1]) + spikes_in(logs[2]) == spikes_in(logs[0])
    assert min(t for t, _ in spikes_in(logs[2])) > 1_000_000_000
    assert first.summary["spikes"] + second.summary["spikes"] == whole.summary["spikes"] > 200
    third = run(path, "--resume", state, "--for", "100 ms")
    assert third.summary["spikes"] > 5, "a resumed run can be resumed"


@pytest.mark.calm
def test_wall_one_second_and_one_more_are_two(config, run, tmp_path):
    path = config(network())
    virtual = tmp_path / "virtual.mcap"
    run(path, "--clock", "virtual", "--for", "1.6 s", "--record", virtual)
    for attempt in range(5):
        state = tmp_path / f"kept{attempt}"
        logs = [tmp_path / f"{half}{attempt}.mcap" for half in ("first", "second")]
        first = run(path, "--clock", "wall", "--for", "800 ms", "--record", logs[0], "--save", state)
        second = run(path, "--resume", state, "--for", "800 ms", "--record", logs[1])
        assert second.summary["clock"] == "wall"
        assert first.summary["lost"] == second.summary["lost"] == 0
        if first.summary["late"] == second.summary["late"] == 0:
            break
    else:
        pytest.fail("late every time, with delays of 30 ms")
    assert spikes_in(logs[0]) + spikes_in(logs[1]) == spikes_in(virtual)


def test_a_killed_run_goes_on_from_its_last_snapshot(config, run, launch, tmp_path):
    path, state = config(network(snapshot_every="200 ms")), tmp_path / "kept"
    whole, rest = tmp_path / "whole.mcap", tmp_path / "rest.mcap"
    cluster = launch(path, "--clock", "virtual", "--pace", "1", "--save", state)
    until(lambda: (state / "resume.json").exists(), what="a snapshot")
    os.kill(cluster.pid, signal.SIGKILL)
    cluster.process.wait()
    until(lambda: not cluster.folder.exists(), 5, "the run to be gone")
    begin = json.loads((state / "resume.json").read_text())["step"]
    run(path, "--resume", state, "--for", "1 s", "--record", rest)
    run(path, "--clock", "virtual", "--for", f"{begin / 10 + 1000} ms", "--record", whole)
    assert begin > 0
    assert spikes_in(rest) == [spike for spike in spikes_in(whole) if spike[0] > begin * 100_000]


def test_what_cannot_be_resumed_says_so(config, run, neurobus, tmp_path):
    path, state = config(network()), tmp_path / "kept"
    run(path, "--clock", "virtual", "--for", "100 ms", "--save", state)
    nothing = neurobus("run", "--resume", tmp_path / "nothing")
    assert nothing.returncode == 2
    assert "holds no snapshots" in nothing.stderr
    packed = neurobus("run", path, "--resume", state, "--set", "run.neurons_per_process=3", "--for", "1 s")
    assert packed.returncode == 2
    assert "no snapshot of '@" in packed.stderr
    other = neurobus("run", path, "--resume", state, "--set", "groups.e.count=5", "--for", "1 s")
    assert other.returncode == 2
    assert "snapshot of" in other.stderr and len(other.stderr.splitlines()) == 1
    assert "Traceback" not in nothing.stderr + packed.stderr + other.stderr


def test_a_time_off_the_grid_is_refused_by_a_run_and_by_one_that_goes_on(config, run, neurobus, tmp_path):
    path, state = config(network()), tmp_path / "kept"
    new = neurobus("run", path, "--clock", "virtual", "--for", "1.05 ms", "--save", state)
    run(path, "--clock", "virtual", "--for", "1 ms", "--save", state)
    again = neurobus("run", "--resume", state, "--for", "1.05 ms")
    for refused in (new, again):
        assert refused.returncode == 2
        said = "--for: 1.05 ms is no multiple of dt = 0.1 ms"
        assert refused.stderr.splitlines()[-1].endswith(said)
        assert "Traceback" not in refused.stderr


def test_no_snapshots_where_none_are_wanted(config, run, tmp_path):
    path = config(network(snapshot_every="0 s"))
    done = run(path, "--clock", "virtual", "--for", "100 ms", "--save", tmp_path / "s")
    assert done.summary["state"] is None
    assert not list((tmp_path / "s").glob("*.snap"))


def test_a_folder_that_is_no_state_folder_is_left_alone(config, neurobus, tmp_path):
    """Whether the config is sound or not; the state folder itself is left alone where the config is not."""
    good, bad = config(network()), config("[run]\ndt = 1\n", name="bad.toml")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "thesis.tex").write_text("years of work")
    for path in (good, bad):
        done = neurobus("run", path, "--for", "10 ms", "--save", tmp_path / "x")
        assert done.returncode == 2 and "is no state folder" in done.stderr and done.stderr.count("\n") == 1
    assert [(f.name, f.read_text()) for f in (tmp_path / "x").iterdir()] == [("thesis.tex", "years of work")]
    done = neurobus("run", bad, "--save", tmp_path / "new")
    assert done.returncode == 2 and "bad.toml:2" in done.stderr and not (tmp_path / "new").exists()
