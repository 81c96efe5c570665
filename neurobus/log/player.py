"""Plays a schedule onto a bus, each event at its absolute deadline.

A sleep ends some 60 µs late, and what follows it must be short: the events of an instant are taken and
packed `READY_NS` before it, so that at the deadline there is nothing left but to send.
"""

from __future__ import annotations

import os
import select
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from neurobus.events import Samples, Spikes, Stimulus
from neurobus.log.replay import Schedule
from neurobus.wire import bus as wire

READY_NS = 2_000_000
BEGIN_NS = 20_000_000
"""From `play` to the begin: the first deadline is met like any other."""
TICK_NS = 100_000_000
ERRORS_KEPT = 1_000_000

Event = Spikes | Samples | Stimulus
Stamp = Callable[[int, int], int]
"""From the model time of the recording, and the reading of the monotonic clock when it is due, to the
model time to publish it with."""


def as_recorded(t_ns: int, due_ns: int) -> int:
    """Stamp of an event on a bus of its own: the model time of the recording."""
    return t_ns


def now_of_wall(t0_ns: int, dt_ns: int) -> Stamp:
    """Stamp on a wall-clock cluster: its model time when the event is due, and a lead, on its grid."""
    return lambda t_ns, due_ns: wire.stamp(due_ns, t0_ns, dt_ns)


def at_once(t_ns: int, due_ns: int) -> int:
    """Stamp of a stimulus for a conductor, which knows best."""
    return wire.AT_ONCE


class Player:
    """`play` a whole schedule, or `step` through it; then `finish`. Needs a main thread to itself.

    `send` puts a frame on the bus. `tick` is called ten times a second while it plays; it may call `stop`.
    """

    def __init__(self, schedule: Schedule, send: Callable[[bytes], Any], stamp: Stamp = as_recorded):
        self.schedule, self._send, self._stamp = schedule, send, stamp
        self.tick: Callable[[], None] = lambda: None
        self.spikes = self.samples = self.stimuli = 0
        self.worst_ns = 0
        self._errors: deque[int] = deque(maxlen=ERRORS_KEPT)
        self.begin_ns = time.monotonic_ns()
        self.model_ns = schedule.start_ns
        self.stopped = False
        self._bell, self._bell_end = os.pipe()
        self._tick_ns = 0

    def stop(self) -> None:
        """End `play` soon. May be called in a signal handler."""
        self.stopped = True
        os.write(self._bell_end, b"!")

    def close(self) -> None:
        os.close(self._bell)
        os.close(self._bell_end)

    def play(self) -> None:
        """All of it, until the end of the log's window or `stop`."""
        schedule = self.schedule
        self.begin_ns = time.monotonic_ns() + BEGIN_NS
        while (due := schedule.next_due_ns()) is not None and self._wait(self.begin_ns + due - READY_NS):
            now = time.monotonic_ns() - self.begin_ns
            frames = [self._frame(event) for event in schedule.take(max(due, now))]
            time.sleep(max(0, self.begin_ns + due - time.monotonic_ns()) * 1e-9)
            for due_ns, frame in frames:
                self._send(frame)
                error = time.monotonic_ns() - due_ns
                self._errors.append(error)
                self.worst_ns = max(self.worst_ns, error)
        if self._wait(self._due(schedule.end_ns)):
            self.model_ns = schedule.end_ns

    def step(self) -> bool:
        """The next instant, now. False at the end."""
        position = self.schedule.position_ns
        if position is None:
            return False
        self.begin_ns += time.monotonic_ns() - self._due(position)
        for _, frame in [self._frame(event) for event in self.schedule.step()]:
            self._send(frame)
        self.model_ns = position
        return True

    def finish(self) -> None:
        """The end of every stream."""
        for event in self.schedule.finish():
            self._send(wire.encode(event))

    def errors_ms(self) -> dict[str, float | None]:
        """How late events were published: median, 99th percentile and worst. None where none were timed."""
        if not self._errors:
            return {"median": None, "p99": None, "worst": None}
        median, p99 = np.percentile(np.array(self._errors), (50, 99)).tolist()
        figures = {"median": median, "p99": p99, "worst": self.worst_ns}
        return {name: round(ns / 1e6, 3) for name, ns in figures.items()}

    def _due(self, t_ns: int) -> int:
        """Reading of the monotonic clock when what was recorded at `t_ns` is due."""
        return self.begin_ns + round((t_ns - self.schedule.start_ns) / self.schedule.rate)

    def _frame(self, event: Event) -> tuple[int, bytes]:
        """When the event was due (its earliest item), and its frame."""
        if isinstance(event, Stimulus):
            due = self._due(event.t_ns)
            self.stimuli += 1
            return due, wire.encode(replace(event, t_ns=self._stamp(event.t_ns, due)))
        if isinstance(event, Spikes):
            self.spikes += len(event.t_ns)
        else:
            self.samples += len(event.t_ns)
        dues = [self._due(t) for t in event.t_ns]
        stamps = [self._stamp(t, due) for t, due in zip(event.t_ns, dues, strict=True)]
        return dues[0], wire.encode(replace(event, t_ns=stamps))

    def _wait(self, until_ns: int) -> bool:
        """Sleep until a reading of the monotonic clock, ticking; False when it was stopped."""
        while not self.stopped:
            now = time.monotonic_ns()
            if now >= self._tick_ns:
                self._tick_ns = now + TICK_NS
                elapsed = (now - self.begin_ns) * self.schedule.rate
                self.model_ns = max(self.model_ns, self.schedule.start_ns + round(elapsed))
                self.tick()
                now = time.monotonic_ns()
            if now >= until_ns:
                return not self.stopped
            select.select([self._bell], [], [], (min(until_ns, self._tick_ns) - now) * 1e-9)
        return False
