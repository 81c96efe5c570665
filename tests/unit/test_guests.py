"""Neurons started by hand, in the manifest: they come, are found by every verb, leave and come back."""

from __future__ import annotations

from copy import deepcopy

import pytest

from neurobus.cli.clusters import chosen
from neurobus.cli.topfigures import default_push
from neurobus.cluster import guests
from neurobus.errors import InputError
from neurobus.wire import bus as wire
from neurobus.wire.verbs import Guest
from tests.helpers import word
from tests.unit.test_live import manifest

LIF = Guest(True, "pA", (-70.0, -55.0), (0.5, 127))
POISSON = Guest(False)


def test_a_guest_stands_behind_all_and_is_a_neuron():
    given = manifest()
    shared = given.ids
    assert guests.join(given, "extra", LIF) is None
    assert given.ids == ["a", "b", "c", "d", "clock", "board", "extra"] and len(shared) == 6
    assert given.streams[6] == "extra" and given.weight_units[6] == "pA"
    assert given.levels_mv[6] == (-70.0, -55.0) and given.grains[6] == (0.5, 127)
    assert given.lives(6) and given.is_neuron(6) and "extra" in given.answering
    assert (given.neurons_now, given.processes_now) == (5, 5)
    assert default_push(given, 6) == (4000.0, "pA")
    assert chosen(given, ["e*"]) == ["extra"]


def test_a_source_started_by_hand_is_no_neuron():
    given = manifest()
    guests.join(given, "extra", POISSON)
    assert given.lives(6) and not given.is_neuron(6)
    assert (given.neurons_now, given.processes_now) == (4, 5)
    assert default_push(given, 6) is None


def test_who_has_left_is_gone_and_keeps_its_index():
    given = manifest()
    guests.join(given, "one", LIF)
    guests.join(given, "two", LIF)
    assert guests.leave(given, "one") and not guests.leave(given, "one")
    assert given.ids[6:] == ["one", "two"] and given.left == ["one"]
    assert not given.lives(6) and not given.is_neuron(6) and given.lives(7)
    assert given.answering == {"a", "b", "@2", "clock", "two"} and given.neurons_now == 5
    assert default_push(given, 6) is None
    with pytest.raises(InputError, match="'one' has left 'net'"):
        chosen(given, ["two", "one"])
    assert chosen(given, ["*o*"]) == ["clock", "board", "two"]
    guests.join(given, "one", POISSON)
    assert given.ids[6:] == ["one", "two"] and given.left == [] and given.weight_units[6] == ""


def test_a_guest_in_the_place_of_an_external_one():
    given = manifest()
    assert not given.lives(5)
    assert guests.join(given, "board", LIF) is None
    assert len(given.ids) == 6 and given.lives(5) and given.is_neuron(5) and given.weight_units[5] == "pA"
    assert "board" in given.answering
    guests.leave(given, "board")
    assert not given.lives(5) and given.left == [] and "board" not in given.answering


@pytest.mark.parametrize("name", ["a", "c", "clock"])
def test_who_is_alive_is_nobody_elses(name):
    given = manifest()
    before = deepcopy(given)
    assert guests.join(given, name, LIF) == f"'{name}' joined from outside, but is alive in this run"
    assert given == before


@pytest.mark.parametrize("name", ["", "a b", "launcher", "x" * 1000, "../a"])
def test_what_is_no_id_does_not_enter(name):
    given = manifest()
    before = deepcopy(given)
    assert guests.join(given, name, LIF) is not None
    assert given == before


def test_their_number_is_bounded_also_of_those_who_left():
    given = manifest()
    for n in range(guests.MOST):
        assert guests.join(given, f"g{n}", LIF) is None
        if n % 2:
            guests.leave(given, f"g{n}")
    assert "more than 100" in (guests.join(given, "one.more", LIF) or "")
    assert guests.join(given, "g1", LIF) is None and len(given.ids) == 106


@pytest.mark.parametrize("told", [3, {}, {"neuron": 1}, {"neuron": True, "level_mv": [1.0]}])
def test_what_no_guest_says(told):
    with pytest.raises(wire.Malformed):
        wire.decode(word(wire.REPORT, "g", "ready", {"pid": 1, "guest": told}))
    sound = {"pid": 1, "guest": {"neuron": True, "unit": "mV", "level_mv": [0, 15.0]}}
    ready = wire.decode(word(wire.REPORT, "g", "ready", sound)).message
    assert ready.guest.level_mv == (0.0, 15.0)
