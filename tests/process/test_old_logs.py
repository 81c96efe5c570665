"""Logs that an earlier neurobus recorded open, verify and replay as they did then."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from neurobus.log import read
from tests.conftest import Neurobus

OLD = Path(__file__).parents[1] / "data" / "logs"


class Held(NamedTuple):
    """What a log held when it was recorded; `digest` is of its spikes, potentials and weights."""

    digest: str
    events: dict[str, int]
    stimuli: int
    verified: str
    played: dict[str, int]


HELD = {
    "learning_virtual": Held(
        "4d530eb6f63fee91", {"ready": 18, "snapshot": 2, "final": 18}, 0,
        "verified: 401 spikes and 216 weights identical", {"spikes": 401}),
    "guest_wall": Held(
        "632b5ebf1fb15c26", {"ready": 5, "guest": 1, "final": 4}, 1,
        "verified: 202 spikes identical", {"spikes": 794, "stimuli": 1}),
    "board_virtual": Held(
        "59d81501e5d0ae47", {"ready": 8, "final": 8}, 1,
        "verified: 3,686 spikes identical", {"spikes": 3686, "stimuli": 1}),
}  # fmt: skip
logs = pytest.mark.parametrize("name", HELD)


@logs
def test_an_old_log_opens(name: str) -> None:
    log, held = read(OLD / f"{name}.mcap"), HELD[name]
    assert log.complete and not log.problems
    columns = (log.spikes_t, log.spikes_i, log.samples.t, log.samples.i, log.samples.v_mv,
               log.weights.t, log.weights.pre, log.weights.post, log.weights.weight)  # fmt: skip
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(column).tobytes() for column in columns))
    assert digest.hexdigest()[:16] == held.digest
    assert Counter(entry.item.verb for entry in log.events) == held.events
    assert len(log.stimuli) == held.stimuli


@logs
def test_an_old_log_verifies(neurobus: Neurobus, name: str) -> None:
    done = neurobus("log", "verify", OLD / f"{name}.mcap", timeout_s=180)  # it may compile models
    assert done.returncode == 0, done.stderr
    assert HELD[name].verified in done.stdout


@logs
def test_an_old_log_replays(neurobus: Neurobus, name: str) -> None:
    done = neurobus("replay", OLD / f"{name}.mcap", "--alone", "--rate", "20", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert {what: said[what] for what in HELD[name].played} == HELD[name].played
