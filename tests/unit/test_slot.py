"""Where a board whose port is gone is looked for."""

from __future__ import annotations

from neurobus.bridge.slot import ASKED, Search


def test_its_own_port_is_tried_first_and_then_what_has_come_since():
    search = Search("ttyB", {"ttyA", "ttyC"})
    assert search.where({"ttyA", "ttyC"}) == []
    assert search.where({"ttyA", "ttyB", "ttyC", "ttyD"}) == ["ttyB", "ttyD"]


def test_a_port_that_was_there_before_is_tried_once_it_has_gone_and_come():
    search = Search("ttyB", {"ttyA"})
    assert search.where(set()) == []
    assert search.where({"ttyA"}) == ["ttyA"]


def test_a_port_that_says_nothing_is_asked_so_often_and_again_when_it_comes_anew():
    search = Search("ttyB", set())
    search.asked["ttyD"] = ASKED - 1
    assert search.where({"ttyD"}) == ["ttyD"]
    search.asked["ttyD"] = ASKED
    assert search.where({"ttyD"}) == []
    search.where(set())
    assert search.where({"ttyD"}) == ["ttyD"]
