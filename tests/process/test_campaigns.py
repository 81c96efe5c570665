"""The campaigns in their short form: see `tests.campaigns`."""

from __future__ import annotations

import time

import pytest

from tests.campaigns import flood, resume, storms
from tests.campaigns.runs import RING, RING_CSV
from tests.helpers import run_table


@pytest.mark.parametrize(("name", "clock"), [("ring", "wall"), ("stdp", "wall"), ("stdp", "virtual")])
def test_a_run_goes_on_from_the_last_snapshot_of_a_killed_one(tmp_path, name, clock):
    resume.one(tmp_path, name, clock, seed=7)


@pytest.mark.parametrize("clock", ["wall", "virtual"])
def test_whatever_is_killed_nothing_is_left_and_nothing_lost_unsaid(tmp_path, clock):
    storms.one(tmp_path, "ring", clock, seed=2)


def test_a_flood_of_a_stranger_ends_nothing_raises_nothing_and_is_told(tmp_path):
    flood.one(tmp_path, "stdp", "virtual", seed=2, frames=10_000, seconds=2.0, ends=False)


def test_a_neuron_that_sleeps_past_the_end_costs_a_spike_that_is_told(config, launch, tmp_path):
    """It wakes when its receivers have reported. What it sends then nobody hears."""
    (tmp_path / "ring.csv").write_text(RING_CSV)
    cluster = launch(config(run_table(snapshot_every="0 s") + RING), "--clock", "wall", "--for", "1500 ms")
    sleeper = cluster.child("n.3")
    sleeper.suspend()
    t0_ns = cluster.manifest.t0_ns or 0
    # Past the end, and the time for which its receiver waits for its last word.
    time.sleep(max(0.0, t0_ns * 1e-9 + 1.5 + 4.0 - time.monotonic()))
    sleeper.resume()
    done = cluster.end()
    summary = done.summary
    assert summary["silent"] == [], summary
    assert summary["lost"] + summary["late"] >= 1, summary
    assert summary["spikes"] - summary["deliveries"] <= 1 + summary["lost"] + summary["late"]
