"""Spikes and kicks for one board that have not been sent yet. Pure.

They may be given in any order and as early as one likes. What acts first is sent first; the spikes of one
update go together, up to `MOST_SYNAPSES` in a message. A message is a pair: what, and its values.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from typing import Any

from neurobus.wire import link

LEAD_S = 0.05
"""How long before it is due a spike is sent to a running board: what has long delays waits here."""
KICK_LEAD_S = 0.002
"""The same of a kick: while one waits on the board, so does all that comes behind it."""
MOST_SYNAPSES = 8

Messages = list[tuple[link.Message, dict[str, Any]]]


class InputQueue:
    """`spikes` and `kicks` are heaps of (update, order, synapse or weight)."""

    def __init__(self) -> None:
        self.gather: Callable[[list[int]], list[int]] = list
        """From all kicks of one update to those that are sent."""
        self.spikes: list[tuple[int, int, int]] = []
        self.kicks: list[tuple[int, int, int]] = []
        self._order = 0
        self._under_way: deque[int] = deque()
        """Updates of spikes that a running board holds."""

    def clear(self) -> None:
        self.spikes.clear()
        self.kicks.clear()
        self._under_way.clear()

    def spike(self, tick: int, synapse: int) -> None:
        """A spike on a synapse acts in update `tick`."""
        self._order += 1
        heapq.heappush(self.spikes, (tick, self._order, synapse))

    def kick(self, tick: int, weight: int) -> None:
        """A stimulus of `weight` (image units) acts in update `tick`."""
        self._order += 1
        heapq.heappush(self.kicks, (tick, self._order, weight))

    def take(self, before: int, kicks_before: int, account: deque[int] | None = None) -> Messages:
        """What acts before these updates. `account` is given the update of each spike."""
        found: Messages = []
        spikes, kicks = self.spikes, self.kicks
        while True:
            first = spikes[0][0] if spikes else before
            kick = kicks[0][0] if kicks else kicks_before
            if first < before and (first <= kick or kick >= kicks_before):
                synapses = [heapq.heappop(spikes)[2]]
                while spikes and spikes[0][0] == first and len(synapses) < MOST_SYNAPSES:
                    synapses.append(heapq.heappop(spikes)[2])
                if account is not None:
                    account.extend([first] * len(synapses))
                found.append((link.INPUT, {"tick": first & 0xFFFF, "synapses": tuple(synapses)}))
            elif kick < kicks_before:
                weights = []
                while kicks and kicks[0][0] == kick:
                    weights.append(heapq.heappop(kicks)[2])
                for weight in self.gather(weights):
                    found.append((link.KICK, {"tick": kick & 0xFFFF, "weight": weight}))
            else:
                return found

    def due(self, here: int, dt_s: float, holds: int) -> Messages:
        """What is due soon on a board that runs, is at update `here` and holds so many spikes."""
        while self._under_way and self._under_way[0] < here:
            self._under_way.popleft()
        found = self.take(0, here + int(KICK_LEAD_S / dt_s) + 1) if self.kicks else []
        room = holds - len(self._under_way)
        soon = here + int(LEAD_S / dt_s) + 1
        if room <= 0 or not self.spikes or self.spikes[0][0] >= soon:
            return found
        if len(self.spikes) > room:  # so many of them, the earliest first
            fits = heapq.nsmallest(room + 1, self.spikes)
            soon = min(soon, max(fits[-1][0], fits[0][0] + 1))
        return found + self.take(soon, 0, self._under_way)

    def due_s(self, dt_s: float, holds: int) -> float:
        """When `due` has something to send, in s after update 0. Infinity for never."""
        first = self.kicks[0][0] * dt_s - KICK_LEAD_S if self.kicks else float("inf")
        if not self.spikes:
            return first
        if self._under_way and len(self._under_way) >= holds:  # when the board has room for it
            return min(first, (self._under_way[0] + 1) * dt_s)
        return min(first, self.spikes[0][0] * dt_s - LEAD_S)
