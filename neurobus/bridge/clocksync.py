"""A board's clock fitted to the clock of the bus. Pure.

A PING leaves at host time `sent`, PONG brings the board's clock and comes at `came`. The board read its clock
somewhere between; how far from the middle is known only up to half the round trip. So of the pairs in each
stretch of time only that with the shortest round trip counts, and a line through those is the fit (as Klipper
does it). Board clocks are 32 bits and wrap.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WRAP = 1 << 32
STRETCH_S = 0.5
"""One pair is kept of each such stretch, the best."""
KEPT = 24
"""Stretches that the fit looks back."""
USUAL = 1e-3
"""How far off clocks usually are (a ceramic resonator; a crystal is ten times better). What the pairs say of
the rate counts as much as this as soon as it is as certain; over a short baseline, or on a machine so busy
that all round trips are long, they say next to nothing."""
JUMP_S = 0.003
"""A pair that lies off the fit by more than its round trip and this: the clock has jumped (a simulated board
on a machine that could not keep up). The pairs before it count no more."""
TOLERANCE = 0.01
"""No oscillator of a board that can talk at its baud is farther off than this."""
PING_S = 0.5
FIRST_PINGS, FIRST_PING_S = 8, 0.01
"""A new session pings densely at first: the clock must be known before the board can run."""
FORGET_S = 1.0
"""A PING that has not been answered for so long is forgotten."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Host time in s, board clock unwrapped to a growing integer, round trip in s."""

    host_s: float
    clock: int
    trip_s: float


class ClockSync:
    """`clock_at` and `host_at` translate. `nominal_hz`: what the board says of its clock."""

    def __init__(self, nominal_hz: float):
        self.nominal_hz = nominal_hz
        self.hz = nominal_hz
        self.trips_s: deque[float] = deque(maxlen=256)
        self._best: deque[Pair] = deque(maxlen=KEPT)
        self._last = 0
        self._origin_s, self._origin = 0.0, 0.0
        self.ready = False
        self.jumps = 0

    def add(self, sent_s: float, came_s: float, clock32: int) -> None:
        """A PING and its PONG."""
        trip = max(came_s - sent_s, 0.0)
        self.trips_s.append(trip)
        middle = (sent_s + came_s) / 2
        if not self.ready:
            clock = clock32
        else:
            # Wraps are told apart by where the clock must be by now: it wraps in minutes, pairs come in ms.
            near = round(self.clock_at(middle))
            clock = near + (clock32 - near + WRAP // 2) % WRAP - WRAP // 2
            if abs(self.host_at(clock) - middle) > trip + JUMP_S:
                self._best.clear()
                self.jumps += 1
        pair = Pair(middle, clock, trip)
        if self._best and int(self._best[-1].host_s / STRETCH_S) == int(middle / STRETCH_S):
            if trip < self._best[-1].trip_s:
                self._best[-1] = pair
        else:
            self._best.append(pair)
        self._fit()

    def _fit(self) -> None:
        """Least squares over the kept pairs, those with long round trips left out."""
        shortest = min(pair.trip_s for pair in self._best)
        good = [pair for pair in self._best if pair.trip_s <= 1.5 * shortest + 50e-6]
        mean_s = sum(pair.host_s for pair in good) / len(good)
        base = good[0].clock
        mean = sum(pair.clock - base for pair in good) / len(good)
        spread = sum((pair.host_s - mean_s) ** 2 for pair in good)
        if spread > 0.0:
            slope = sum((p.host_s - mean_s) * (p.clock - base - mean) for p in good) / spread
            # A pair's time is off by a quarter of its trip or so.
            uncertain = max(pair.trip_s for pair in good) / 4 / spread**0.5
            off = (slope / self.nominal_hz - 1.0) / (1.0 + (uncertain / USUAL) ** 2)
            self.hz = self.nominal_hz * (1.0 + min(max(off, -TOLERANCE), TOLERANCE))
        self._origin_s, self._origin = mean_s, base + mean
        self.ready = True

    def clock_at(self, host_s: float) -> float:
        """The board's clock (unwrapped) at a host time."""
        return self._origin + (host_s - self._origin_s) * self.hz

    def host_at(self, clock: float) -> float:
        """The host time at which the board's clock (unwrapped) shows this."""
        return self._origin_s + (clock - self._origin) / self.hz

    @property
    def drift_ppm(self) -> float:
        """How much faster than it says the board's clock runs, in parts per million."""
        return (self.hz / self.nominal_hz - 1.0) * 1e6

    @property
    def trip_s(self) -> float | None:
        """The median round trip of late, None before there is any."""
        return sorted(self.trips_s)[len(self.trips_s) // 2] if self.trips_s else None


class Pings:
    """The PINGs of one session, and the clock fitted to what comes back."""

    def __init__(self, nominal_hz: float = 1.0):
        self.sync = ClockSync(nominal_hz)
        self.due_s = float("inf")
        """When the next is to be sent."""
        self._n = 0
        self._sent: dict[int, float] = {}

    def next(self, now: float) -> int:
        """The token of a PING that leaves now."""
        self._n += 1
        token = self._n & 0xFFFF
        self._sent = {t: sent for t, sent in self._sent.items() if now - sent < FORGET_S}
        self._sent[token] = now
        self.due_s = now + (FIRST_PING_S if self._n < FIRST_PINGS else PING_S)
        return token

    def answered(self, token: int, clock: int, now: float) -> bool:
        """A PONG. Whether the clock has jumped."""
        sent, jumps = self._sent.pop(token, None), self.sync.jumps
        if sent is not None:
            self.sync.add(sent, now, clock)
        return self.sync.jumps > jumps
