"""Accounts of streams: every gap, repetition and ghost of an old owner is counted, by table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurobus.ledger import REFUSED, Ledger


@pytest.mark.parametrize(
    ("batches", "answers", "figures"),
    [
        # (epoch, seq, n) in the order of arrival → answers → received, lost, duplicates, stale
        ([(0, 0, 3), (0, 3, 2)], [0, 0], (5, 0, 0, 0)),
        ([(0, 0, 3), (0, 5, 1)], [0, 0], (4, 2, 0, 0)),
        ([(0, 2, 1)], [0], (1, 2, 0, 0)),
        ([(0, 0, 3), (0, 0, 3)], [0, 3], (3, 0, 3, 0)),
        ([(0, 0, 3), (0, 1, 4)], [0, 2], (5, 0, 2, 0)),
        ([(0, 0, 5), (0, 1, 2)], [0, 2], (5, 0, 2, 0)),
        ([(0, 0, 0), (0, 0, 1)], [0, 0], (1, 0, 0, 0)),
        ([(1, 0, 3), (0, 3, 2)], [0, REFUSED], (3, 0, 0, 2)),
        ([(0, 0, 9), (1, 0, 3), (0, 9, 1)], [0, 0, REFUSED], (12, 0, 0, 1)),
        ([(0, 0, 9), (1, 2, 3)], [0, 0], (12, 2, 0, 0)),
        ([(0, 0, 2), (0, 4, 0)], [0, 0], (2, 2, 0, 0)),
    ],
)
def test_figures(batches, answers, figures):
    ledger = Ledger(from_start=True)
    assert [ledger.accept("a", *batch) for batch in batches] == answers
    assert tuple(ledger.totals().values()) == figures


def test_a_late_listener_counts_from_what_it_hears_first():
    ledger = Ledger(from_start=False)
    assert ledger.accept("a", 3, 100, 2) == 0
    assert ledger.totals()["lost"] == 0
    ledger.accept("a", 3, 103, 1)
    assert ledger.totals()["lost"] == 1


def test_a_missing_first_spike_is_missed_where_it_was_expected():
    ledger = Ledger(from_start=False)
    ledger.expect("a")
    ledger.accept("a", 0, 1, 1)
    assert ledger.totals()["lost"] == 1


def test_the_end_tells_of_what_was_lost_last():
    ledger = Ledger(from_start=True)
    ledger.accept("a", 0, 0, 2)
    assert not ledger.accounts["a"].ended
    ledger.accept("a", 0, 5, 0, last=True)
    assert ledger.accounts["a"].ended
    assert ledger.totals()["lost"] == 3


def test_an_old_owner_cannot_end_a_stream_and_a_new_one_opens_it_again():
    ledger = Ledger(from_start=True)
    ledger.accept("a", 1, 0, 1)
    ledger.accept("a", 0, 7, 0, last=True)
    assert not ledger.accounts["a"].ended
    ledger.accept("a", 1, 1, 0, last=True)
    ledger.accept("a", 2, 0, 1)
    assert not ledger.accounts["a"].ended


def test_gaps_name_only_the_streams_where_something_went_wrong():
    ledger = Ledger(from_start=True)
    ledger.accept("good", 0, 0, 3)
    ledger.accept("bad", 1, 2, 1)
    ledger.accept("bad", 0, 0, 4)
    ledger.accept("bad", 1, 2, 1)
    assert ledger.gaps() == {"bad": {"lost": 2, "duplicates": 1, "stale": 4}}
    assert ledger.totals() == {"received": 4, "lost": 2, "duplicates": 1, "stale": 4}
    assert Ledger(True).totals() == {"received": 0, "lost": 0, "duplicates": 0, "stale": 0}


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=30))
def test_every_spike_is_received_or_lost(batches):
    """Whatever is dropped on the way: received + lost = sent, as soon as the end is heard."""
    ledger, seq = Ledger(from_start=True), 0
    for n, arrives in batches:
        if arrives:
            assert ledger.accept("a", 0, seq, n) == 0
        seq += n
    ledger.accept("a", 0, seq, 0, last=True)
    totals = ledger.totals()
    assert totals["received"] + totals["lost"] == seq
    assert totals["duplicates"] == 0


@given(st.lists(st.integers(0, 19), min_size=20, max_size=60))
def test_a_spike_is_taken_once_however_often_it_comes(arrivals):
    ledger = Ledger(from_start=True)
    taken = sum(1 - ledger.accept("a", 0, seq, 1) for seq in arrivals)
    totals = ledger.totals()
    assert taken == totals["received"] <= len(set(arrivals))
    assert totals["received"] + totals["duplicates"] == len(arrivals)
    assert totals["received"] + totals["lost"] == max(arrivals) + 1


def test_what_is_told_to_be_lost_without_end_is_no_negative_number():
    ledger = Ledger(True)
    for epoch in range(1 << 11):
        ledger.accept("a", epoch, (1 << 53) - 1, 1)
    assert ledger.totals()["lost"] == 1 << 62
