from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurobus import units


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("20 ms", "ms", 20.0),
        ("20ms", "ms", 20.0),
        (" 0.02 s ", "ms", 20.0),
        ("-70 mV", "mV", -70.0),
        ("-0.07 V", "mV", -70.0),
        ("1e-9 A", "pA", 1000.0),
        ("250 pF", "nF", 0.25),
        ("3 µV", "uV", 3.0),
        ("3 μV", "µV", 3.0),
        ("10 nS", "nS", 10.0),
        ("40 MOhm", "kOhm", 40000.0),
        ("0.5 kHz", "Hz", 500.0),
        (".5", "", 0.5),
        (3, "", 3.0),
        (0.25, "", 0.25),
    ],
)
def test_a_quantity_in_another_unit(text, unit, value):
    assert units.parse(text, unit) == value


@pytest.mark.parametrize(
    ("value", "unit", "says"),
    [
        ("20 mV", "ms", "'20 mV' is voltage; this must be time, such as \"20 ms\""),
        ("20", "ms", "'20' is a plain number; this must be time"),
        ("20 ms", "", "this must be a plain number"),
        (20, "ms", '20 has no unit; write "20 ms"'),
        ("ms", "ms", "'ms' is not a quantity"),
        ("20 m", "ms", "'20 m' is length; this must be time"),
        ("20 lightyears", "ms", "unknown unit 'lightyears'"),
        ("1 2 ms", "ms", "is not a quantity"),
        ("1e999 s", "ms", "is beyond every number"),
        (True, "", "is not a quantity"),
        (None, "ms", "is not a quantity"),
        (["1 ms"], "ms", "is not a quantity"),
    ],
)
def test_what_is_no_such_quantity_says_so(value, unit, says):
    with pytest.raises(units.UnitError) as caught:
        units.parse(value, unit)
    assert says in str(caught.value)


def test_times_are_exact():
    assert units.to_ns("0.1 ms") == 100_000
    assert units.to_ns("0.3 ms") == 300_000
    assert units.to_ns("1 ns") == 1
    assert units.to_ns("123456.789012345 s") == 123_456_789_012_345
    with pytest.raises(units.UnitError, match="whole number of nanoseconds"):
        units.to_ns("0.5 ns")


@given(st.integers(-(10**15), 10**15), st.sampled_from([("s", 9), ("ms", 6), ("us", 3), ("ns", 0)]))
def test_whole_nanoseconds_survive_any_way_of_writing_them(ns, unit):
    name, power = unit
    assert units.to_ns(f"{Decimal(ns).scaleb(-power):f} {name}") == ns
