"""Long work, and a pipe that says whether anybody waits for it."""

from __future__ import annotations

import os
import signal
import time

import pytest

from neurobus.cluster.orphan import OrphanedError, hung_up, undisturbed, work_while_held


def test_work_ends_when_nobody_waits_for_it():
    here, there = os.pipe()
    before = signal.getsignal(signal.SIGALRM)
    try:
        os.write(there, b"a word that is not read yet")
        assert not hung_up(here)
        with work_while_held(here):
            time.sleep(0.5)
        os.write(there, b"!")
        with pytest.raises(OrphanedError), work_while_held(here):
            os.close(there)
            give_up = time.monotonic() + 30
            while time.monotonic() < give_up:
                try:
                    time.sleep(0.01)
                except Exception:
                    pytest.fail("swallowed by whoever takes every error for a model's")
    finally:
        os.close(here)
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_undisturbed_work_hears_of_it_afterwards():
    """An event loop, or C, prints what its callbacks raise, and goes on."""
    here, there = os.pipe()
    os.close(there)
    done = False
    try:
        with pytest.raises(OrphanedError), work_while_held(here), undisturbed():
            give_up = time.monotonic() + 1.0
            while time.monotonic() < give_up:
                time.sleep(0.01)
            done = True
    finally:
        os.close(here)
    assert done
    assert signal.SIGALRM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
