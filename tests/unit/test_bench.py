"""The benchmarks are run by hand, so nothing else would notice one that no longer begins."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

from tests.bench.__main__ import MEASURES
from tests.bench.spike_trip import quantile, way_in


@pytest.mark.parametrize("module", MEASURES)
def test_it_can_be_measured(module):
    assert callable(import_module(f"tests.bench.{module}").measure)


def test_the_way_in_is_found_from_who_came_late():
    rng = np.random.default_rng(1)
    took = 0.2 + rng.exponential(0.5, 20_000)
    slack = np.sort(rng.uniform(0, 4, 20_000))
    times, shares = way_in(slack, took > slack)
    assert shares.sum() == pytest.approx(1) and (shares >= 0).all()
    for most in (0.1, 0.5, 0.9, 0.99):
        assert quantile(times, shares, most) == pytest.approx(np.quantile(took, most), abs=0.15)


def test_a_way_in_longer_than_all_that_was_tried_counts_as_that():
    times, shares = way_in(np.array([0.0, 1.0, 2.0]), np.array([True, True, True]))
    assert quantile(times, shares, 0.5) == 2.0
