"""What an observer knows of a running cluster, from the events it hears. Pure: the clock is an argument.

A figure that nobody has measured yet is None (nan in an array), never zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from neurobus.events import Led, Samples, Spikes
from neurobus.ledger import REFUSED, Ledger
from neurobus.wire import verbs
from neurobus.wire.bus import Event
from neurobus.wire.message import Report, ReportMessage

if TYPE_CHECKING:
    from neurobus.cluster.folder import Manifest

BIN_NS = 50_000_000
BINS = 40
"""Spikes are counted in bins of 50 ms of model time, over the last 2 s."""
RATE_BINS = 20
"""A rate is that of the last second of model time."""
AHEAD_NS = 1_000_000_000
"""Under the wall clock a spike stamped farther ahead than this is none of this run's."""
SILENT_S = 3.0
"""A process that has not answered for so long is shown as silent."""
CONDUCTOR = "conductor"
FIGURES = {"spikes": ("spikes",), "deliveries": ("deliveries",), "lost": ("lost",), "late": ("late",),
           "duplicates": ("duplicates",), "dropped": ("malformed", "stale")}  # fmt: skip

Floats = npt.NDArray[np.float64]


class Live:
    """Arrays over `manifest.ids`, kept up by `hear` and `tick`. Times named `_s` are the caller's clock.

    `counts`: spikes since the start as their process says, -1 unknown. `mv`: membrane potential, nan
    unknown. `spiked_s`, `heard_s`: when the last spike and the last report were heard, -inf for never.
    """

    def __init__(self, manifest: Manifest):
        self.manifest = manifest
        n = len(manifest.ids)
        self._name()
        self.counts = np.full(n, -1, np.int64)
        self.mv = np.full(n, np.nan)
        self.spiked_s = np.full(n, -np.inf)
        self.heard_s = np.full(n, -np.inf)
        self.status: dict[str, dict[str, int]] = {}
        self.boards: dict[int, str] = {}
        """Neurons that are boards just now, and what their boards are called."""
        self.strips: dict[int, bytes] = {}
        """What the strips of boards show: red, green, blue of each LED."""
        self.model_ns: int | None = None
        self.malformed = 0
        self.weights: dict[int, Floats] = {}
        """Of the neurons that were asked for them."""
        self._ledger = Ledger(from_start=False)
        self._bins = np.zeros((BINS, n), np.int32)
        self._bin = self._since = -1

    def _name(self) -> None:
        """What follows from the manifest alone."""
        manifest = self.manifest
        members: dict[str, list[int]] = {}
        for index, stream in enumerate(manifest.streams):
            members.setdefault(stream, []).append(index)
        self._members = {stream: np.array(of) for stream, of in members.items()}
        self._streams = np.array(manifest.streams, object)
        self._index = {name: index for index, name in enumerate(manifest.ids)}
        self._processes = manifest.answering
        levels = manifest.levels_mv or [None] * len(manifest.ids)
        self._membrane = np.array([level is not None for level in levels], bool)

    def adopt(self, manifest: Manifest) -> None:
        """The manifest as it is now: neurons were started by hand, or have left. Who was known keeps the
        index. Raises ValueError for a manifest of something else."""
        n, before = len(manifest.ids), len(self.manifest.ids)
        if manifest.ids[:before] != self.manifest.ids:
            raise ValueError("the manifest of another run")
        self.manifest = manifest
        self._name()
        more = n - before
        self.counts = np.append(self.counts, np.full(more, -1, np.int64))
        self.mv = np.append(self.mv, np.full(more, np.nan))
        self.spiked_s = np.append(self.spiked_s, np.full(more, -np.inf))
        self.heard_s = np.append(self.heard_s, np.full(more, -np.inf))
        self._bins = np.hstack([self._bins, np.zeros((BINS, more), np.int32)])
        if "replay" not in manifest.options:  # there nobody lives, and all is told
            for name in {*manifest.external, *manifest.left} - manifest.guests.keys():
                self._forget(self._index[name])

    def _forget(self, index: int) -> None:
        """Nobody is this neuron any more: what was told of it is not known of the next one."""
        self.counts[index], self.mv[index] = -1, np.nan
        self.heard_s[index] = -np.inf
        self.boards.pop(index, None)
        self.strips.pop(index, None)
        self.weights.pop(index, None)
        self.status.pop(self.manifest.streams[index], None)

    # -- what is heard --------------------------------------------------------------------------

    def hear(self, event: Event, now_s: float) -> None:
        """Take an event in. One that does not fit this cluster is counted in `malformed`."""
        try:
            if isinstance(event, Spikes):
                self._spikes(event, now_s)
            elif isinstance(event, Samples):
                self._samples(event)
            elif isinstance(event, Report):
                self._report(event.origin, event.message, now_s)
            elif isinstance(event, Led):
                self.strips[self._index[event.neuron]] = event.rgb
        except (KeyError, IndexError, TypeError, ValueError):
            self.malformed += 1

    def _weights(self, origin: str, told: verbs.Weights) -> None:
        """Of each neuron told of: its synapses at the receptor that has most of them, in order of sources."""
        post, receptor, weight = map(np.asarray, (told.post, told.receptor, told.weight))
        if not (post.shape == receptor.shape == weight.shape):
            raise ValueError("columns of different length")
        if origin in self.manifest.guests:  # of two that came at once each may count itself the next
            post = np.full(post.shape, self._index[origin])
        for neuron in np.unique(post).tolist():
            mine = post == neuron
            if self.manifest.streams[neuron] != origin:
                raise ValueError("weights of somebody else's")
            usual = np.bincount(receptor[mine]).argmax()
            self.weights[neuron] = weight[mine & (receptor == usual)].astype(np.float64)

    def _spikes(self, event: Spikes, now_s: float) -> None:
        times = np.asarray(event.t_ns, np.int64)
        if event.neurons is None:
            neurons = np.repeat(self._members[event.stream][:1], len(times))
        else:
            neurons = np.asarray(event.neurons, np.int64)
        newest = int(times.max(initial=0))
        ahead = self.manifest.clock == "wall" and newest > (self.model_ns or 0) + AHEAD_NS
        if ahead or np.any(times < 0) or np.any(self._streams[neurons] != event.stream):
            raise ValueError("a spike of somebody else's, or outside the run")
        known = self._ledger.accept(event.stream, event.epoch, event.seq, len(times), event.last)
        if known == REFUSED or known == len(times):
            return
        self.tick(newest)
        self.spiked_s[neurons[known:]] = now_s
        bins = times[known:] // BIN_NS
        kept = bins > self._bin - BINS
        np.add.at(self._bins, (bins[kept] % BINS, neurons[known:][kept]), 1)

    def _samples(self, event: Samples) -> None:
        """Potentials of a replay, whose neurons have no process that answers."""
        if event.neurons is None:
            neurons = np.repeat(self._members[event.stream][:1], len(event.t_ns))
        else:
            neurons = np.asarray(event.neurons, np.int64)
        if np.any(self._streams[neurons] != event.stream):
            raise ValueError("potentials of somebody else's")
        self.mv[neurons] = event.v_mv  # of several of one neuron the last one holds
        self.tick(max(map(int, event.t_ns), default=0))

    def _report(self, origin: str, said: ReportMessage, now_s: float) -> None:
        match said:
            case verbs.Status():
                self._status(origin, said, now_s)
            case verbs.ConductorStatus() if origin == CONDUCTOR:
                self.status[CONDUCTOR] = {key: getattr(said.ledger, key) + getattr(said.samples, key)
                                          for key in ("lost", "duplicates", "stale")}  # fmt: skip
                self.status[CONDUCTOR]["malformed"] = said.malformed
                self.tick(said.step * self.manifest.dt_ns)
            case verbs.Weights():
                self._weights(origin, said)

    def _status(self, origin: str, said: verbs.Status, now_s: float) -> None:
        figures = {key: getattr(said, key) for keys in FIGURES.values() for key in keys}
        members = self._members[origin]
        counts: Any = said.counts
        mv: Any = said.mv
        if len(members) == 1:  # most reports: no arrays for one number
            members = members[0]
            (counts,), (mv,) = counts, mv
        self.counts[members] = counts
        self.mv[members] = np.where(self._membrane[members], mv, np.nan)
        self.heard_s[members] = now_s
        if said.owner is not None:
            self.boards[int(members)] = said.owner
        elif self.boards and isinstance(members, np.integer):
            self.boards.pop(int(members), None)
            self.strips.pop(int(members), None)
        self.status[origin] = figures

    def tick(self, model_ns: int) -> None:
        """Model time is (at least) this."""
        if self.model_ns is not None and model_ns <= self.model_ns:
            return
        self.model_ns = model_ns
        now = model_ns // BIN_NS
        if self._since < 0:
            self._since = now
        elif now > self._bin:
            fresh = range(max(self._bin + 1, now - BINS + 1), now + 1)
            self._bins[[b % BINS for b in fresh]] = 0
        self._bin = now

    # -- what is known --------------------------------------------------------------------------

    def rates_hz(self) -> Floats:
        """Spikes per second of model time, over the last second or what was heard of it; nan: nothing was."""
        n = min(RATE_BINS, self._bin - self._since - 1)
        if n <= 0:
            return np.full(len(self.counts), np.nan)
        bins = [b % BINS for b in range(self._bin - n, self._bin)]
        total: Floats = self._bins[bins].sum(axis=0) / (n * BIN_NS * 1e-9)
        return total

    def trace(self, index: int, bins: int) -> list[int]:
        """Spikes of a neuron in each of the last whole bins, the newest last; -1 before anybody listened."""
        first = self._bin - min(bins, BINS - 1)
        return [int(self._bins[b % BINS, index]) if b > self._since else -1 for b in range(first, self._bin)]

    def silent(self, now_s: float) -> npt.NDArray[np.bool_]:
        """Neurons whose process answers no more."""
        return now_s - self.heard_s > SILENT_S

    @property
    def answered(self) -> bool:
        """Whether every process has answered at least once."""
        return bool(self._processes) and self._processes <= self.status.keys()

    @property
    def missed(self) -> int:
        """Spikes that were published and did not reach this observer."""
        return self._ledger.totals()["lost"]

    def totals(self) -> dict[str, int | None]:
        """Spikes, deliveries, lost, late, duplicates, dropped of the run. Under the virtual clock it is the
        conductor that counts what is lost and twice."""
        totals: dict[str, int | None] = dict.fromkeys(FIGURES)
        if not self.answered:
            return totals
        conductor = self.status.get(CONDUCTOR)
        half = self.manifest.clock == "virtual" and conductor is None
        of = [self.status[process] for process in self._processes] + ([conductor] if conductor else [])
        for name, keys in FIGURES.items():
            if not (half and name in ("lost", "duplicates", "dropped")):
                totals[name] = sum(figures.get(key, 0) for figures in of for key in keys)
        return totals
