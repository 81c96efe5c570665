"""What an observer makes of what it hears: rates, potentials, totals, and what it does not know."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest

from neurobus.cluster import guests
from neurobus.cluster.folder import Manifest
from neurobus.cluster.live import BIN_NS, BINS, SILENT_S, Live
from neurobus.events import Samples, Spikes
from neurobus.wire import verbs
from neurobus.wire.message import Report
from tests import helpers

MS = 1_000_000


def manifest(clock: str = "wall", **changes: Any) -> Manifest:
    """Two neurons of one process each, two packed in `@2`, one source and one external."""
    facts: dict[str, Any] = {
        "name": "net", "pid": 1, "config": "net.toml", "clock": clock, "seed": 1, "dt_ns": 100_000,
        "endpoints": {},
        "ids": ["a", "b", "c", "d", "clock", "board"], "n_neurons": 4,
        "streams": ["a", "b", "@2", "@2", "clock", "board"], "processes": 4, "external": ["board"],
        "weight_units": ["pA", "mV", "pA", "pA", "", ""], "started_unix_ns": 0,
        "levels_mv": [(-70.0, -55.0)] * 4 + [None, None], "t0_ns": 0,
    }  # fmt: skip
    return Manifest(**{**facts, **changes})


def spikes(stream: str, *t_ms: float, seq: int = 0, epoch: int = 0, neurons: Any = None) -> Spikes:
    times = [round(t * MS) for t in t_ms]
    if neurons is None:
        return Spikes(stream, epoch, seq, times)
    return Spikes(stream, epoch, seq, np.array(times), np.array(neurons, np.uint32))  # type: ignore[arg-type]


def status(origin: str, counts: list[int], mv: list[float], **figures: int) -> Report:
    return Report(origin, helpers.status(counts, mv, **figures))


def everyone(live: Live, now_s: float = 0.0) -> None:
    for event in (
        status("a", [5], [-60.0], spikes=5, late=1, deliveries=7),
        status("b", [6], [-61.0], spikes=6, lost=2),
        status("@2", [1, 2], [-62.0, -63.0], spikes=3, duplicates=4),
        status("clock", [9], [0.0], spikes=9, malformed=2, stale=1),
    ):
        live.hear(event, now_s)


def test_nothing_heard_is_nothing_known():
    live = Live(manifest())
    assert set(live.totals().values()) == {None}
    assert np.isnan(live.rates_hz()).all()
    assert np.isnan(live.mv).all()
    assert live.counts.tolist() == [-1] * 6
    assert live.model_ns is None


def test_totals_are_known_once_every_process_has_answered():
    live = Live(manifest())
    live.hear(status("a", [5], [-60.0], spikes=5), 0.0)
    assert live.totals()["spikes"] is None
    everyone(live)
    assert live.totals() == {
        "spikes": 23, "deliveries": 7, "lost": 2, "late": 1, "duplicates": 4, "dropped": 3,
    }  # fmt: skip


def test_potentials_and_counts_go_to_their_neurons_and_a_source_has_no_potential():
    live = Live(manifest())
    everyone(live)
    assert live.counts.tolist() == [5, 6, 1, 2, 9, -1]
    assert live.mv[:4].tolist() == [-60.0, -61.0, -62.0, -63.0]
    assert np.isnan(live.mv[4:]).all()


def test_under_the_virtual_clock_losses_are_the_conductors_to_tell():
    live = Live(manifest("virtual"))
    everyone(live)
    assert live.totals()["lost"] is live.totals()["duplicates"] is live.totals()["dropped"] is None
    assert live.totals()["late"] == 1
    ledger, nothing = verbs.Totals(9, 10, 20, 30), verbs.Totals(0, 0, 0, 0)
    live.hear(Report("conductor", verbs.ConductorStatus(4000, 1, 1, 40, ledger, {}, nothing)), 0.0)
    assert live.totals() | {"spikes": None, "deliveries": None} == {
        "spikes": None, "deliveries": None, "lost": 12, "late": 1, "duplicates": 24, "dropped": 73,
    }  # fmt: skip
    assert live.model_ns == 400 * MS


def test_the_rate_is_that_of_the_last_second_of_model_time():
    live = Live(manifest())
    live.tick(0)
    for n in range(40):  # 20 Hz for two seconds
        live.tick((50 * n + 1) * MS)
        live.hear(spikes("a", 50 * n, seq=n), 0.0)
    live.tick(2000 * MS)
    assert live.rates_hz()[:2].tolist() == [20.0, 0.0]
    live.tick(2500 * MS)
    assert live.rates_hz()[0] == 10.0
    live.tick(9000 * MS)
    assert live.rates_hz()[0] == 0.0


def test_a_rate_is_over_what_was_heard_where_that_is_less_than_a_second():
    live = Live(manifest())
    live.tick(10_020 * MS)
    assert np.isnan(live.rates_hz()).all()
    for n in range(4):
        live.hear(spikes("a", 10_055 + 50 * n, seq=n), 0.0)
    live.tick(10_255 * MS)
    assert live.rates_hz()[0] == pytest.approx(20.0)


def test_under_the_virtual_clock_spikes_move_time():
    live = Live(manifest("virtual"))
    for n in range(100):
        live.hear(spikes("@2", 20 * n, 20 * n, seq=2 * n, neurons=[2, 3]), 0.0)
    assert live.model_ns == 1980 * MS
    assert live.rates_hz()[2:4].tolist() == pytest.approx([50.0, 50.0], abs=3.0)


def test_the_trace_has_the_newest_last_and_nothing_from_before_it_listened():
    live = Live(manifest())
    live.tick(10 * BIN_NS)
    live.hear(spikes("b", *[(13 * BIN_NS) / MS] * 3), 0.0)
    live.tick(15 * BIN_NS)
    assert live.trace(1, 7) == [-1, -1, -1, 0, 0, 3, 0]
    assert len(live.trace(1, 3 * BINS)) == BINS - 1
    live.tick(1000 * BIN_NS)
    assert live.trace(1, 7) == [0] * 7


def test_spikes_missed_heard_twice_and_of_an_old_owner():
    live = Live(manifest())
    live.tick(0)
    live.tick(99 * MS)
    live.hear(spikes("a", 60, seq=3), 0.0)  # it came in the middle: what was before is no loss
    assert live.missed == 0
    live.hear(spikes("a", 60, 61, seq=3), 0.0)
    live.hear(spikes("a", 69, seq=8), 0.0)
    assert live.missed == 3
    live.hear(spikes("a", 70, seq=0, epoch=1), 5.0)
    live.hear(spikes("a", 71, seq=9), 7.0)
    assert live.spiked_s[0] == 5.0
    live.tick(100 * MS)
    assert live.trace(0, 1) == [4]


@pytest.mark.parametrize(
    "event",
    [
        spikes("nobody", 1),
        spikes("a", -1),
        spikes("a", 50_000),
        spikes("@2", 1, neurons=[0]),
        spikes("@2", 1, neurons=[77]),
        status("nobody", [1], [1.0]),
        status("a", [1, 2], [1.0]),
        status("@2", [1, 2, 3], [1.0, 2.0]),
    ],
)
def test_what_does_not_fit_is_counted_and_changes_nothing(event):
    live = Live(manifest())
    live.tick(100 * MS)
    live.hear(event, 0.0)
    assert live.malformed == 1
    assert live.totals()["spikes"] is None
    assert live.model_ns == 100 * MS
    assert not np.isfinite(live.spiked_s).any()


def test_what_is_not_for_it_is_ignored():
    live = Live(manifest())
    live.hear(Samples("a", 0, 0, [1], [1.0]), 0.0)
    live.hear(Report("a", verbs.Farewell({})), 0.0)
    assert live.malformed == 0


def test_silence_is_noticed():
    live = Live(manifest())
    everyone(live, 100.0)
    assert live.silent(100.0 + SILENT_S).tolist() == [False] * 5 + [True]
    live.hear(status("a", [5], [-60.0]), 101.0)
    assert live.silent(100.5 + SILENT_S).tolist() == [False] + [True] * 5


def test_a_replay_has_no_processes_and_so_no_totals():
    ids = ["a", "b"]
    live = Live(manifest("virtual", ids=ids, streams=ids, external=ids, processes=0, levels_mv=[]))
    live.hear(spikes("a", 1000), 0.0)
    assert set(live.totals().values()) == {None}
    assert live.model_ns == 1000 * MS


def test_potentials_of_a_replay_are_those_told_last():
    live = Live(manifest("virtual", processes=0, external=["a", "b", "c", "d"]))
    live.hear(Samples("a", 0, 0, [5 * MS, 9 * MS], [-60.0, -58.0]), 0.0)
    live.hear(Samples("@2", 0, 0, np.array([9 * MS]), np.array([-50.0]), np.array([3], np.uint32)), 0.0)  # type: ignore[arg-type]
    assert (live.mv[0], live.mv[3], live.model_ns) == (-58.0, -50.0, 9 * MS) and np.isnan(
        live.mv[[1, 2]]
    ).all()
    live.hear(Samples("a", 0, 2, np.array([9 * MS]), np.array([0.0]), np.array([3], np.uint32)), 0.0)  # type: ignore[arg-type]
    assert live.malformed == 1 and live.mv[3] == -50.0


def test_who_was_started_by_hand_is_taken_up_and_let_go():
    live, given = Live(manifest()), manifest()
    everyone(live)
    live.hear(spikes("extra", 1), 0.0)
    assert live.malformed == 1 and live.answered
    guests.join(given, "extra", verbs.Guest(True, "pA", (-70.0, -55.0)))
    live.adopt(deepcopy(given))
    assert live.counts.tolist() == [5, 6, 1, 2, 9, -1, -1] and not live.answered
    live.hear(status("extra", [3], [-58.0], spikes=3, lost=1), 0.5)
    live.hear(spikes("extra", 10, 20), 0.5)
    assert live.malformed == 1 and live.counts[6] == 3 and live.mv[6] == -58.0 and live.spiked_s[6] == 0.5
    assert live.answered and live.totals()["spikes"] == 26 and live.totals()["lost"] == 3
    live.hear(Report("extra", verbs.Weights(0, [], [0], [9], [0], [1], [4.0], [0])), 0.5)
    assert live.weights[6].tolist() == [4.0]

    guests.leave(given, "extra")
    live.adopt(deepcopy(given))
    assert live.answered and live.totals()["spikes"] == 23 and live.counts[6] == -1 and np.isnan(live.mv[6])
    assert 6 not in live.weights
    with pytest.raises(ValueError, match="another run"):
        live.adopt(manifest())
