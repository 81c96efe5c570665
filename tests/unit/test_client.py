"""A verb that asks the bridge: no answer is waited for without a limit."""

from __future__ import annotations

import time

import pytest

from neurobus.bridge import __main__ as bridge_main
from neurobus.bridge import client
from neurobus.cli.common import at_most
from neurobus.errors import RunError
from neurobus.wire import verbs


class Mute:
    """A bus on which others talk all the time, and nobody to us."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def wait(self, timeout_s: float) -> bytes | None:
        time.sleep(min(timeout_s, 0.005))
        return b"s/n\0nonsense"


def test_a_bridge_that_does_not_answer_is_told_so():
    asked = client.Client(Mute(), None)  # type: ignore[arg-type]
    with pytest.raises(RunError, match="the bridge does not answer"):
        asked.end(asked.begin(verbs.ListBoards()), timeout_s=0.2)


def test_whatever_it_waits_for_it_ends():
    begun = time.monotonic()
    with pytest.raises(RunError, match="nobody says anything"), at_most(0.2, "nobody says anything"):
        time.sleep(60)
    assert time.monotonic() - begun < 30
    with at_most(30, "this is not late"):
        pass
    time.sleep(0.01)


def test_a_verb_that_looks_for_a_bridge_does_not_keep_one_from_starting(tmp_path):
    import fcntl
    import os
    import threading

    path = tmp_path / "bridge.lock"
    mine, theirs = (os.open(path, os.O_CREAT | os.O_RDWR) for _ in range(2))
    try:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        assert not bridge_main._locked(mine), "a bridge that stays"
        threading.Timer(0.05, lambda: fcntl.flock(theirs, fcntl.LOCK_UN)).start()
        assert bridge_main._locked(mine)
    finally:
        os.close(mine)
        os.close(theirs)
