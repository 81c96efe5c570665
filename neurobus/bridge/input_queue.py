"""Spikes and kicks for one board that have not been sent yet. Pure.

They may be given in any order and as early as one likes. What acts first is sent first; the spikes of one
update go together, up to `MOST_SYNAPSES` in a message. A message is a pair: what, and its values.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from neurobus.wire import link

LEAD_S = 0.05
"""How long before it is due a spike is sent to a running board: what has long delays waits here."""
KICK_LEAD_S = 0.002
"""The same of a kick: while one waits on the board, so does all that comes behind it."""
MOST_SYNAPSES = 8

Messages = Iterator[tuple[link.Message, dict[str, Any]]]


class InputQueue:
    def __init__(self) -> None:
        self.gather: Callable[[list[int]], list[int]] = list
        """From all kicks of one update to those that are sent."""
        self._spikes: list[tuple[int, int, int]] = []
        self._kicks: list[tuple[int, int, int]] = []
        self._order = 0
        self._under_way: deque[int] = deque()
        """Updates of spikes that a running board holds."""

    def __bool__(self) -> bool:
        return bool(self._spikes or self._kicks)

    def clear(self) -> None:
        self._spikes.clear()
        self._kicks.clear()
        self._under_way.clear()

    def spike(self, tick: int, synapse: int) -> None:
        """A spike on a synapse acts in update `tick`."""
        self._order += 1
        heapq.heappush(self._spikes, (tick, self._order, synapse))

    def kick(self, tick: int, weight: int) -> None:
        """A stimulus of `weight` (image units) acts in update `tick`."""
        self._order += 1
        heapq.heappush(self._kicks, (tick, self._order, weight))

    def take(self, before: int, kicks_before: int, account: deque[int] | None = None) -> Messages:
        """What acts before these updates. `account` is given the update of each spike."""
        synapses: list[int] = []
        tick = -1

        def message() -> tuple[link.Message, dict[str, Any]]:
            if account is not None:
                account.extend([tick] * len(synapses))
            return link.INPUT, {"tick": tick & 0xFFFF, "synapses": tuple(synapses)}

        while True:
            first = self._spikes[0][0] if self._spikes else before
            kick = self._kicks[0][0] if self._kicks else kicks_before
            if first >= before and kick >= kicks_before:
                break
            is_spike = first < before and (first <= kick or kick >= kicks_before)
            at = first if is_spike else kick
            if synapses and (at != tick or not is_spike or len(synapses) == MOST_SYNAPSES):
                yield message()
                synapses = []
            tick = at
            if is_spike:
                synapses.append(heapq.heappop(self._spikes)[2])
            else:
                weights = []
                while self._kicks and self._kicks[0][0] == at:
                    weights.append(heapq.heappop(self._kicks)[2])
                for weight in self.gather(weights):
                    yield link.KICK, {"tick": at & 0xFFFF, "weight": weight}
        if synapses:
            yield message()

    def due(self, here: int, dt_s: float, holds: int) -> Messages:
        """What is due soon on a board that runs, is at update `here` and holds so many spikes."""
        while self._under_way and self._under_way[0] < here:
            self._under_way.popleft()
        if self._kicks:
            yield from self.take(0, here + int(KICK_LEAD_S / dt_s) + 1)
        room = holds - len(self._under_way)
        soon = here + int(LEAD_S / dt_s) + 1
        if room <= 0 or not self._spikes or self._spikes[0][0] >= soon:
            return
        if len(self._spikes) > room:  # so many of them, the earliest first
            fits = heapq.nsmallest(room + 1, self._spikes)
            soon = min(soon, max(fits[-1][0], fits[0][0] + 1))
        yield from self.take(soon, 0, self._under_way)

    def due_s(self, dt_s: float, holds: int) -> float:
        """When `due` has something to send, in s after update 0. Infinity for never."""
        first = self._kicks[0][0] * dt_s - KICK_LEAD_S if self._kicks else float("inf")
        if not self._spikes:
            return first
        if self._under_way and len(self._under_way) >= holds:  # when the board has room for it
            return min(first, (self._under_way[0] + 1) * dt_s)
        return min(first, self._spikes[0][0] * dt_s - LEAD_S)
