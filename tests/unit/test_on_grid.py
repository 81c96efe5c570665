"""Times that an argument gives are whole steps, or refused."""

from __future__ import annotations

import pytest

from neurobus.bounds import on_grid
from neurobus.errors import InputError


@pytest.mark.parametrize(("ns", "dt_ns", "steps"), [(4_200_000, 100_000, 42), (0, 7, 0), (10**9, 1, 10**9)])
def test_whole_steps_are_exact(ns, dt_ns, steps):
    assert on_grid(ns, dt_ns, "--start") == steps


@pytest.mark.parametrize(
    ("ns", "said"),
    [
        (1_050_000, "--start: 1.05 ms is no multiple of dt = 0.1 ms"),
        (250_000 * 10**9, "--start: 250000 s is beyond the longest run"),
    ],
)
def test_others_are_refused_by_the_name_of_their_argument(ns, said):
    with pytest.raises(InputError) as refused:
        on_grid(ns, 100_000, "--start")
    assert str(refused.value).startswith(said)
