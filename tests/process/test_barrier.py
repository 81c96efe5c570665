"""The start barrier: nobody's first spike is missed, however many listen and however they are scheduled."""

from __future__ import annotations

import pytest

from tests.helpers import run_table, table

pytestmark = pytest.mark.calm

TARGETS = 40
FIRST_STEP = (
    run_table(snapshot_every="0 s", grace="200 ms")
    + table("groups", id="n", count=TARGETS, model="nodes.lif")
    + table("sources", id="s", kind="spikes", count=3, times='["0.1 ms", "0.2 ms", "9 ms"]')
    + table("synapses", pre="s", post="n", rule="all_to_all", weight="1 pA", delay="200 ms")
)


@pytest.mark.parametrize("clock", ["wall", "virtual"])
@pytest.mark.parametrize("attempt", range(3))
def test_first_spikes_at_the_first_step_reach_everybody(config, run, clock, attempt):
    done = run(config(FIRST_STEP), "--clock", clock, "--for", "400 ms")
    assert done.summary["spikes"] == 9
    # On a machine so busy that a spike comes after the end it acts no more, but is counted as late.
    assert done.summary["deliveries"] <= 9 * TARGETS <= done.summary["deliveries"] + done.summary["late"]
    assert (done.summary["lost"], done.summary["duplicates"], done.summary["dropped"]) == (0, 0, 0)
    assert done.summary["silent"] == []


def test_the_recorder_too_hears_the_first_spikes(config, run, tmp_path):
    log = tmp_path / "first.mcap"
    done = run(config(FIRST_STEP), "--clock", "wall", "--for", "100 ms", "--record", log)
    assert done.summary["observers"]["recording"]["spikes"] == done.summary["spikes"] == 9
    assert done.summary["observers"]["recording"]["lost"] == 0
