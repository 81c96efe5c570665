"""`--pace`: model time slips where the machine is too slow, and never runs past what has yet to happen."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, Neurobus
from tests.helpers import Cluster

pytestmark = pytest.mark.calm

RING = ROOT / "configs/first/ring.toml"


@pytest.mark.parametrize("pace", ["1000", "1"])
def test_a_poke_acts_after_all_that_has_happened(
    neurobus: Neurobus, launch: Callable[..., Cluster], tmp_path: Path, pace
):
    """At pace 1000 the wall's clock is far ahead of the run; a poke stamped with it would cut the ring."""
    log = tmp_path / "ring.mcap"
    cluster = launch(RING, "--clock", "virtual", "--pace", pace, "--for", "600s", "--record", log)
    done = neurobus("poke", "n.7", "n.8", "--json")
    assert done.returncode == 0, done.stderr
    poked_s = json.loads(done.stdout)[0]["t_ms"] * 1e-3
    shown = json.loads(neurobus("top", "--once", "--json").stdout)
    ended = cluster.stop()
    assert 0 < poked_s <= shown["model_s"] <= ended.summary["model_s"] < 600
    assert ended.summary["late"] == 0
    # Three tokens go round at 87 Hz each.
    assert ended.summary["spikes"] > 87 * ended.summary["model_s"]
    assert neurobus("log", "verify", log).returncode == 0
