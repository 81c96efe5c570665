"""When a launcher gives up waiting for reports."""

from __future__ import annotations

import time

from neurobus.cluster.launcher import FINAL_TIMEOUT_S, Launch, Launcher
from neurobus.cluster.options import Options


def waiting(wall: bool, stop_step: int | None) -> Launcher:
    launcher = Launcher(Launch(Options(), "x"))
    launcher._wall, launcher._stop_step, launcher._streams = wall, stop_step, ["a"]
    launcher.built = {"dt_ns": 100_000}
    launcher._t0_ns = time.monotonic_ns()
    return launcher


def test_a_run_whose_hub_is_deaf_ends_after_its_end():
    launcher = waiting(True, 10_000)
    assert not launcher._finished()
    launcher._t0_ns -= int((1.0 + FINAL_TIMEOUT_S) * 1e9) + 1
    assert launcher._finished()


def test_nobody_is_given_up_before_an_end_is_known():
    for wall in (True, False):
        launcher = waiting(wall, None)
        launcher._t0_ns -= 10**13
        assert not launcher._finished()


def test_once_a_stop_was_asked_silence_is_no_answer():
    for wall in (True, False):
        launcher = waiting(wall, None)
        launcher._stopping, launcher._stopped_at = True, time.monotonic()
        assert not launcher._finished()
        launcher._stopped_at -= FINAL_TIMEOUT_S + 0.001
        assert launcher._finished()
        launcher._heard_at = time.monotonic()
        assert not launcher._finished(), "it works on it yet"


def test_all_reports_are_the_end():
    launcher = waiting(True, None)
    launcher._finals["a"] = {}
    assert launcher._finished()
