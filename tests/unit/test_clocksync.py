"""A board's clock, fitted through jittering round trips."""

from __future__ import annotations

import random

import pytest

from neurobus.bridge.clocksync import WRAP, ClockSync

HZ = 250_000


@pytest.mark.parametrize("ppm", [-4000, -50, 0, 300])
@pytest.mark.parametrize("start", [0, WRAP - 100_000])
def test_the_fit_follows_drift_through_jitter_and_wraps(ppm, start):
    rng = random.Random(ppm)
    sync, rate = ClockSync(HZ), HZ * (1 + ppm * 1e-6)
    now = 5.0
    while now < 25.0:
        up, down = 0.0003 + rng.expovariate(2000), 0.0003 + rng.expovariate(2000)
        sync.add(now, now + up + down, int(start + (now + up - 5.0) * rate) % WRAP)
        now += 0.05
    error_s = (sync.clock_at(now) - start - (now - 5.0) * rate) / rate
    assert abs(error_s) < 150e-6
    assert abs(sync.drift_ppm - ppm) < 25
    assert sync.host_at(sync.clock_at(now)) == pytest.approx(now, abs=1e-9)
    assert sync.trip_s == pytest.approx(0.0013, rel=0.3)


def test_one_pair_is_a_fit_at_the_nominal_rate():
    sync = ClockSync(HZ)
    assert not sync.ready and sync.trip_s is None
    sync.add(1.0, 1.002, 1000)
    assert sync.ready and sync.clock_at(2.001) == pytest.approx(1000 + HZ)


def test_a_pair_with_a_long_round_trip_changes_nothing():
    sync = ClockSync(HZ)
    for n in range(10):
        sync.add(n, n + 0.001, int((n + 0.0005) * HZ))
    before = sync.clock_at(20.0)
    sync.add(10.0, 10.2, int(10.19 * HZ))
    assert sync.clock_at(20.0) == pytest.approx(before, abs=HZ * 20e-6)


def test_a_clock_that_jumps_is_fitted_anew():
    sync, now = ClockSync(HZ), 0.0
    for n in range(100):
        now = n * 0.05
        behind = 0.2 if n >= 50 else 0.0
        sync.add(now, now + 0.001, int((now + 0.0005 - behind) * HZ) % WRAP)
    assert sync.jumps == 1
    assert abs(sync.clock_at(now) - (now - 0.2) * HZ) < HZ * 200e-6
    assert abs(sync.drift_ppm) < 50
