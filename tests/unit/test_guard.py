"""Exceptions in callbacks: told once, written down, and nothing that waits stays unread."""

from __future__ import annotations

import asyncio

from neurobus.guard import MOST_AT_ONCE, Guard


def test_what_an_exception_left_unread_is_read(tmp_path):
    told: list[str] = []
    guard = Guard(told.append, tmp_path / "deep" / "traceback.txt")
    waiting, read = list(range(50)), []

    def readable() -> None:
        # As a ZeroMQ socket's fd: the loop calls once, whatever waits then.
        while waiting:
            n = waiting.pop(0)
            if n % 2:
                raise KeyError(f"frame {n % 4}")
            read.append(n)

    async def live() -> None:
        loop = asyncio.get_running_loop()
        guard.watch(loop, readable)
        loop.call_soon(readable)
        for _ in range(1000):
            if not waiting:
                return
            await asyncio.sleep(0.01)

    asyncio.run(live())
    assert read == list(range(0, 50, 2))
    assert guard.caught_n == 25 > MOST_AT_ONCE
    assert len(told) == 2, "each kind once"
    assert told[0].startswith("KeyError: 'frame 1' (traceback in ")
    written = (tmp_path / "deep" / "traceback.txt").read_text()
    assert written.count("Traceback") == 2
    assert "readable" in written


def test_a_task_and_a_timer_are_guarded_too(tmp_path):
    told: list[str] = []
    guard = Guard(told.append, tmp_path / "t.txt")
    again: list[int] = []

    def fail() -> None:
        raise ValueError("by\nthe timer")

    async def live() -> None:
        loop = asyncio.get_running_loop()
        guard.watch(loop, lambda: again.append(1))
        loop.call_later(0.01, fail)
        for _ in range(1000):
            if again:
                return
            await asyncio.sleep(0.01)

    asyncio.run(live())
    assert again == [1]
    assert guard.last.startswith("ValueError: by the timer (traceback")


def test_a_disk_without_room_for_the_traceback_is_no_further_error(tmp_path):
    told: list[str] = []
    (tmp_path / "file").write_text("")
    Guard(told.append, tmp_path / "file" / "t.txt").caught(ValueError("x"))
    assert told[0].startswith("ValueError: x (its traceback could not be written")
