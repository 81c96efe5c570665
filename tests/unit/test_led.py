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
