"""The campaign over configs, snapshots and frames in short: see `tests.campaigns.configs`."""

from __future__ import annotations

import pytest

from tests.campaigns.configs import campaign


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_mutant_comes_through_as_anything_but_one_line(seed):
    assert campaign(40, seed) == []
