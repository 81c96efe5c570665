"""What was drawn by another version of the random streams is told, not run again; what drew nothing is."""

from __future__ import annotations

import json
from pathlib import Path

import msgpack
import numpy as np
import pytest

from neurobus.log import read
from tests.conftest import Neurobus

pytestmark = pytest.mark.process
OLD = Path(__file__).parents[1] / "data"
NOISY = """
[run]
clock = "virtual"
duration = "200 ms"
[[sources]]
id = "p"
kind = "poisson"
count = 2
rate = "30 kHz"
[[groups]]
id = "n"
model = "nodes.lif"
count = 2
[[sources]]
kind = "background"
target = "n"
rate = "40 kHz"
weight = "20 pA"
[[synapses]]
pre = "p"
post = "n"
rule = "one_to_one"
weight = { uniform = ["1 pA", "2 pA"] }
delay = "1 ms"
"""


def test_a_log_of_the_first_streams(neurobus: Neurobus) -> None:
    """Recorded by a neurobus whose logs had no version: one without anything random, one with."""
    plain = neurobus("log", "verify", OLD / "streams_1_plain.mcap")
    assert plain.returncode == 0 and "verified: 2 spikes identical" in plain.stdout
    drawn = neurobus("log", "verify", OLD / "streams_1_drawn.mcap")
    assert drawn.returncode == 2 and drawn.stdout == ""
    (line,) = drawn.stderr.splitlines()
    assert (
        "its network was drawn otherwise: by version 1 of the random streams, and this is version 2" in line
    )
    info = neurobus("log", "info", OLD / "streams_1_drawn.mcap", "--json")
    assert json.loads(info.stdout)["spikes"] == 97


def test_several_spikes_of_a_source_in_one_step_and_a_state_of_the_first_streams(
    neurobus: Neurobus, tmp_path: Path
) -> None:
    config, log, state = tmp_path / "noisy.toml", tmp_path / "noisy.mcap", tmp_path / "state"
    config.write_text(NOISY)
    done = neurobus("run", config, "--record", log, "--save", state, "--json")
    assert done.returncode == 0, done.stderr
    recorded = read(log)
    assert recorded.header.streams == 2
    for source in (2, 3):
        t = recorded.spikes_t[recorded.spikes_i == source]
        assert abs(len(t) - 6000) < 3.5 * np.sqrt(6000) and len(np.unique(t)) < 2000
    assert neurobus("log", "verify", log).returncode == 0
    options = msgpack.unpackb((state / "options").read_bytes())
    del options["streams"]
    (state / "options").write_bytes(msgpack.packb(options))
    old = neurobus("run", "--resume", state, "--for", "10 ms")
    assert old.returncode == 2
    assert "its network was drawn otherwise" in old.stderr and "it cannot be resumed" in old.stderr
