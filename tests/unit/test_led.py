"""The colour of an LED: warm towards the threshold, cool below rest, white at a spike."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurobus import led

anything = st.floats(allow_nan=True, allow_infinity=True)


@given(anything, anything.filter(lambda t: t == t))
def test_always_a_colour(depolarisation, since_spike_s):
    colour = led.colour(depolarisation, since_spike_s)
    assert len(colour) == 3
    assert all(type(value) is int and 0 <= value <= 255 for value in colour)


def test_landmarks():
    assert led.colour(0.0) == led.REST
    assert led.colour(1.0) == led.WARM
    assert led.colour(-1.0) == led.COOL
    assert led.colour(0.3, 0.0) == led.FLASH


@pytest.mark.parametrize("beyond", [1.5, 40.0, inf])
def test_beyond_its_range_a_potential_saturates(beyond):
    assert led.colour(beyond) == led.WARM
    assert led.colour(-beyond) == led.COOL


def test_what_is_not_known_looks_like_rest_and_still_flashes():
    assert led.colour(nan) == led.REST
    assert led.colour(nan, 0.0) == led.FLASH


def test_depolarised_is_warm_and_hyperpolarised_cool():
    red, _, blue = led.colour(0.5)
    assert red > 2 * blue
    red, _, blue = led.colour(-0.5)
    assert blue > 2 * red


@given(st.floats(-1, 1))
def test_the_flash_decays_to_what_the_membrane_does(depolarisation):
    brightness = [sum(led.colour(depolarisation, since)) for since in (0.0, 0.05, 0.1, 0.2, 0.4)]
    assert brightness == sorted(brightness, reverse=True)
    assert led.colour(depolarisation, 3.0) == led.colour(depolarisation)


def test_a_spike_from_the_future_is_one_of_now():
    assert led.colour(0.0, -1.0) == led.FLASH


# -- a board's strip ----------------------------------------------------------------------------------


def test_the_membrane_is_a_bar():
    rest, warm, cool, _ = led.STRIP
    assert led.strip(0, 0, 0, 4) == [rest] * 4
    assert led.strip(64, 0, 0, 4) == [warm, warm, rest, rest]
    assert led.strip(-32, 0, 0, 4) == [cool, rest, rest, rest]
    between = led.strip(48, 0, 0, 4)[1]
    assert all(min(a, b) <= x <= max(a, b) for x, a, b in zip(between, rest, warm, strict=True))
    assert led.strip(127, 0, 0, 1) != [warm] and led.strip(127, 0, 0, 60)[:59] == [warm] * 59


def test_a_spike_lights_all_and_fades():
    white = led.STRIP[3]
    assert led.strip(-90, 255, 0, 5) == [white] * 5
    sums = [sum(led.strip(0, flash, 0, 1)[0]) for flash in range(256)]
    assert sums == sorted(sums)


def test_blinking_lights_all_or_none():
    assert led.strip(70, 9, 1, 3) == [led.STRIP[3]] * 3
    assert led.strip(70, 9, 2, 3) == [(0, 0, 0)] * 3


def test_a_palette_is_the_hosts():
    palette = ((1, 2, 3), (250, 0, 0), (0, 0, 250), (9, 9, 9))
    assert led.strip(64, 0, 0, 2, palette) == [(250, 0, 0), (1, 2, 3)]
