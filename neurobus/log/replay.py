"""When to publish what of a log. Pure: time is an argument, deadlines are absolute and do not drift."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import replace

import numpy as np

from neurobus.errors import InputError
from neurobus.events import Samples, Spikes, Stimulus
from neurobus.log.format import Log, Potentials, no_samples
from neurobus.log.initial import last_samples
from neurobus.log.names import select


def confined(log: Log, spikes: Container[str], stimuli: Container[str]) -> Log:
    """The log with the spikes of some ids and the stimuli to others, and without potentials."""
    mine = np.array([id in spikes for id in log.header.ids], bool)[log.spikes_i]
    return replace(
        log, spikes_t=log.spikes_t[mine], spikes_i=log.spikes_i[mine], receipt=log.receipt[mine],
        samples=no_samples(), initial_samples=no_samples(),
        stimuli=[entry for entry in log.stimuli if entry.item.neuron in stimuli],
    )  # fmt: skip


SPIKE, SAMPLE = -2, -1
"""What an item of a schedule is; from 0 on, the number of a stimulus."""


def _initial(log: Log, start_ns: int) -> Potentials:
    """The potentials that hold at `start_ns`, of neurons that tell none at that very time."""
    told = last_samples(log.samples, start_ns)
    early = log.initial_samples.only(~np.isin(log.initial_samples.i, told.i))
    initial = early.followed_by(told)
    return initial.only(~np.isin(initial.i, log.samples.i[log.samples.t == start_ns]))


class Schedule:
    """The recorded spikes, potentials and stimuli of a log, due at offsets from the begin of the replay.

    What a log holds at model time t is due (t - start) / rate after the begin. With `loop` it begins
    again at `end`, and model time goes on: round n adds n * `turn_ns` to every time, which is on the grid of
    the log's dt. Potentials told last before `start` hold there, and are told again at `start`.
    `only`: ids, groups or patterns. Each neuron is a stream of its own, sequence numbers from 0.
    Raises `InputError` for a rate, window or name that cannot be.
    """

    def __init__(self, log: Log, only: Iterable[str] | None = None, start_ns: int = 0,
                 end_ns: int | None = None, rate: float = 1.0, loop: bool = False,
                 epoch: int = 0):  # fmt: skip
        self.start_ns = start_ns
        self.end_ns = log.end_ns + 1 if end_ns is None else end_ns
        if not 0 < rate < float("inf"):
            raise InputError(f"a replay cannot go at rate {rate:g}; give a number above 0, such as 0.5")
        if self.end_ns <= start_ns:
            window = f"from {start_ns / 1e6:g} ms to {self.end_ns / 1e6:g} ms"
            raise InputError(f"nothing to replay {window}; the log ends at {log.end_ns / 1e6:g} ms")
        self.rate, self.loop, self.epoch = rate, loop, epoch
        self.ids = log.header.ids
        initial = _initial(log, start_ns)
        chosen = np.ones(len(self.ids), bool) if only is None else select(log.header, only)
        at = {id: index for index, id in enumerate(self.ids)}
        self._stimuli = [entry for entry in log.stimuli if entry.item.neuron in at]
        n_spikes, n_samples, n_stimuli = (
            log.spikes_t.size,
            initial.t.size + log.samples.t.size,
            len(self._stimuli),
        )
        t = np.concatenate([log.spikes_t, np.full(initial.t.size, start_ns), log.samples.t,
                            np.array([s.t_ns for s in self._stimuli], np.int64)])  # fmt: skip
        i = np.concatenate([log.spikes_i, initial.i, log.samples.i,
                            np.array([at[s.item.neuron] for s in self._stimuli], np.uint32)])  # fmt: skip
        v = np.concatenate([np.zeros(n_spikes), initial.v_mv, log.samples.v_mv, np.zeros(n_stimuli)])
        number = np.concatenate([np.full(n_spikes, SPIKE), np.full(n_samples, SAMPLE), np.arange(n_stimuli)])
        kept = np.flatnonzero(chosen[i] & (t >= start_ns) & (t < self.end_ns))
        order = kept[np.argsort(t[kept], kind="stable")]
        self._t, self._i, self._v, self._number = t[order], i[order], v[order], number[order]
        self._instants, first = np.unique(self._t, return_index=True)
        self._bounds = np.append(first, self._t.size)
        self.turn_ns = self._turn(log.end_ns if end_ns is None else end_ns, log.header.dt_ns)
        self._next = self._round = 0
        self._spike_seq: Counter[str] = Counter()
        self._sample_seq: Counter[str] = Counter()
        self.streams = [self.ids[k] for k in np.unique(self._i[self._number < 0])]
        """The neurons that take part with spikes or potentials."""

    def _turn(self, end_ns: int, dt_ns: int) -> int:
        """From one round to the next: up to `end_ns`, in whole steps, and one more where the last instant
        of a round would fall onto the first of the next."""
        turn_ns = max(1, -(-(end_ns - self.start_ns) // dt_ns)) * dt_ns
        collides = self._instants.size and self._instants[-1] - self._instants[0] >= turn_ns
        return turn_ns + dt_ns if collides else turn_ns

    @property
    def position_ns(self) -> int | None:
        """Model time of what comes next, None at the end."""
        if self._next == self._instants.size:
            return None
        return int(self._instants[self._next]) + self._round * self.turn_ns

    def next_due_ns(self) -> int | None:
        """When `take` has something, as an offset from the begin of the replay; None at the end."""
        position = self.position_ns
        return None if position is None else round((position - self.start_ns) / self.rate)

    def take(self, now_ns: int) -> list[Spikes | Samples | Stimulus]:
        """All that is due `now_ns` after the begin and was not yet taken, gathered by neuron."""
        events: list[Spikes | Samples | Stimulus] = []
        while (due := self.next_due_ns()) is not None and due <= now_ns:
            elapsed = now_ns * self.rate - self._round * self.turn_ns
            stop = int(np.searchsorted(self._instants, self.start_ns + elapsed, side="right"))
            events += self._advance(max(stop, self._next + 1))
        return events

    def step(self) -> list[Spikes | Samples | Stimulus]:
        """The next instant, whenever it is due: all neurons that fire at one and the same time."""
        return self._advance(self._next + 1) if self.position_ns is not None else []

    def finish(self) -> list[Spikes]:
        """The end of every stream."""
        return [Spikes(id, self.epoch, self._spike_seq[id], [], last=True) for id in self.streams]

    def _advance(self, stop: int) -> list[Spikes | Samples | Stimulus]:
        """What lies at the instants up to number `stop`, and on to it."""
        part = slice(self._bounds[self._next], self._bounds[stop])
        shift = self._round * self.turn_ns
        spikes: dict[str, Spikes] = {}
        samples: dict[str, Samples] = {}
        stimuli: list[Stimulus] = []
        columns = (self._t, self._i, self._v, self._number)
        for t, i, v, number in zip(*(column[part].tolist() for column in columns), strict=True):
            id = self.ids[i]
            if number >= 0:
                pushed = self._stimuli[number].item
                stimuli.append(Stimulus(id, t + shift, pushed.weight, pushed.origin))
            elif number == SPIKE:
                spike = spikes.setdefault(id, Spikes(id, self.epoch, self._spike_seq[id], []))
                spike.t_ns.append(t + shift)  # type: ignore[union-attr]
                self._spike_seq[id] += 1
            else:
                sample = samples.setdefault(id, Samples(id, self.epoch, self._sample_seq[id], [], []))
                sample.t_ns.append(t + shift)  # type: ignore[union-attr]
                sample.v_mv.append(v)  # type: ignore[union-attr]
                self._sample_seq[id] += 1
        self._next = stop
        if self.loop and stop == self._instants.size:
            self._next, self._round = 0, self._round + 1
        return [*spikes.values(), *samples.values(), *stimuli]
