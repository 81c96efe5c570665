"""Spikes as characters: which rows there are, where a spike stands, how pages turn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurobus.cluster.raster import MOST_JOINED, Raster, axis, rows_of

IDS = [*(f"exc.{n}" for n in range(80)), *(f"inh.{n}" for n in range(20)), "reader", "drive"]
GROUPS = {
    "exc": list(range(80)),
    "inh": list(range(80, 100)),
    "exc#0": [3, 5],
    "reader": [100],
    "drive": [101],
}


def test_each_neuron_has_its_row_where_there_is_room() -> None:
    rows = rows_of(["a", "b", "s"], 2, {}, 3)
    assert [(row.label, row.members, row.source) for row in rows] == [
        ("a", (0,), False), ("b", (1,), False), ("s", (2,), True)]  # fmt: skip


@given(st.integers(4, 101))
def test_groups_share_the_rows_and_nobody_stands_twice(most: int) -> None:
    rows = rows_of(IDS, 101, GROUPS, most)
    assert len(rows) <= most
    assert sorted(i for row in rows for i in row.members) == list(range(len(IDS)))
    exc, inh = ([row for row in rows if set(row.members) & set(GROUPS[name])] for name in ("exc", "inh"))
    assert len(exc) >= len(inh) and all(set(row.members) <= set(GROUPS["exc"]) for row in exc)
    assert exc[0].label == "exc" and all(row.label.startswith("exc.") for row in exc[1:])


def test_a_spike_stands_at_its_time_and_the_more_the_darker() -> None:
    raster = Raster(rows_of(IDS, 101, GROUPS, 4), len(IDS), 1_000_000, 10)
    raster.hear([0, 950_000, 999_999], [100, 100, 100])
    raster.hear([500_000] * 80, range(80))
    raster.hear([500_000], [80])
    exc, inh, others, *_ = raster.lines()
    assert exc == "   exc      █"
    assert inh == "   inh      ▂"
    assert others.startswith("others ") and others[7] != " " and others[16] != " "
    assert others[8:16].strip() == ""


def test_many_spikes_in_a_cell_leave_shades_for_the_others() -> None:
    raster = Raster(rows_of(IDS, 101, GROUPS, 4), len(IDS), 1_000_000, 10)
    raster.hear([0] * 800 + [500_000] * 80, [*range(80)] * 11)  # ten spikes each, then one each
    assert raster.lines()[0] == "   exc █    ▃"


def test_who_joins_has_a_row_and_later_ones_share_the_last() -> None:
    raster = Raster(rows_of(["a"], 1, {}, 4), 1, 100, 10)
    raster.hear([0], [0])
    joined = [raster.join(f"x{n}") for n in range(MOST_JOINED + 2)]
    assert joined == list(range(1, MOST_JOINED + 3))
    raster.hear([50, 50, 99], [joined[0], joined[-1], joined[-2]])
    a, first, *_, others, _ = raster.lines()
    assert len(raster.lines()) == 1 + MOST_JOINED + 1
    assert a.split(maxsplit=1)[1] == "│" and first == "            x0      │"
    assert others.startswith("others by hand      ") and others[20] != " " and others[24] != " "


def test_a_row_of_one_neuron_shows_ticks() -> None:
    raster = Raster(rows_of(["a"], 1, {}, 4), 1, 100, 10)
    raster.hear([0, 99], [0, 0])
    assert raster.lines()[0] == "a │        │"


def test_pages_turn_and_what_came_early_waits() -> None:
    raster = Raster(rows_of(["a", "b"], 2, {}, 4), 2, 100, 10)
    raster.hear([5, 105, 250], [0, 1, 0])
    assert raster.lines()[:2] == ["a │", "b"]
    assert raster.turn() and raster.lines()[:2] == ["a", "b │"]
    raster.hear([20], [0])  # of a page that is over
    assert raster.turn() and raster.lines()[:2] == ["a      │", "b"]
    assert not raster.turn()


@pytest.mark.parametrize(
    ("start", "span", "columns", "text"),
    [
        (0, 3_000_000_000, 20, "0 s       1.5 s  3 s"),
        (0, 3_000_000_000, 9, "0 s   3 s"),
        (3_000_000_000, 500_000_000, 30, "3 s            3.25 s    3.5 s"),
        (0, 1_000_000_000, 2, "0 "),
    ],
)
def test_the_axis(start: int, span: int, columns: int, text: str) -> None:
    assert axis(start, span, columns) == text
