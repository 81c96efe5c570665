"""The benchmarks are run by hand, so nothing else would notice one that no longer begins."""

from __future__ import annotations

from importlib import import_module

import pytest

from tests.bench.__main__ import MEASURES


@pytest.mark.parametrize("module", MEASURES)
def test_it_can_be_measured(module):
    assert callable(import_module(f"tests.bench.{module}").measure)
