"""When the boards of a bridge want to be looked at. Part of the shell."""

from __future__ import annotations

import asyncio

from neurobus.bridge.slot import Slot

AT_LEAST_S = 0.001
"""What is not due at once is in no hurry; so what many boards want is done together."""
NEVER = float("inf")


class Wakeups:
    """One timer for all slots."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._touched: dict[Slot, None] = {}
        self._next: dict[Slot, float] = {}
        """When each slot with an open port wants to be woken."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def touch(self, slot: Slot) -> None:
        """Something has been done to it: `flush` looks at it."""
        self._touched[slot] = None

    def forget(self, slot: Slot) -> None:
        self._next.pop(slot, None)

    def flush(self) -> None:
        """Do what is due already of those that were touched, write what their sessions have to say, and see
        when any wants to be woken."""
        now = self._loop.time()
        for slot in list(self._touched):
            one, line = slot.attachment, slot.line
            out, next_s = one.session.take_out(), one.next_s()
            if line is None:
                self._next.pop(slot, None)
                continue
            if next_s <= now:
                one.tick(now)
                out, next_s = out + one.session.take_out(), one.next_s()
            if out:
                line.send(out)
            self._next[slot] = next_s
        self._touched.clear()
        first = min(self._next.values(), default=NEVER)
        if first == NEVER:
            return
        when = max(first, now + AT_LEAST_S)
        if self._timer is not None:
            if self._timer_at <= when:
                return
            self._timer.cancel()
        self._timer_at, self._timer = when, self._loop.call_at(when, self._wake)

    def _wake(self) -> None:
        self._timer = None
        now = self._loop.time()
        for slot in [slot for slot, when in self._next.items() if when <= now]:
            self.touch(slot)
            slot.attachment.tick(now)
        self.flush()
