"""Observers: programs that hear a run and change nothing of it. A class with a method for what it is to hear:

    from neurobus.observer import Observer

    class Count(Observer):
        '''How many spikes there were.'''

        def __init__(self, every: int = 1000):
            self.every, self.n = every, 0

        def on_spikes(self, t_ns, neurons):
            self.n += len(t_ns)

        def on_end(self):
            return f"{self.n} spikes"

    neurobus run ring.toml --with mine:Count,every=100     with a run, from its first spike on
    neurobus observe mine:Count                            a cluster that runs, from now on

It has a process of its own and a bounded queue at the bus. One that is slow or dies costs the run nothing,
and its accounts say what it missed. What it raises is one line to a person, and a traceback in a file.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from neurobus.bus.peer import Endpoints, Peer
from neurobus.cluster import folder as folders
from neurobus.cluster import guests
from neurobus.cluster.options import ObserverContext
from neurobus.config.schema import wrong_id
from neurobus.errors import InputError
from neurobus.events import Led, Samples, Spikes, Stimulus
from neurobus.guard import Guard, file_of
from neurobus.ledger import REFUSED, Ledger
from neurobus.wire import bus as wire
from neurobus.wire import verbs
from neurobus.wire.bus import Event
from neurobus.wire.message import Control, Report, ReportMessage

Times = npt.NDArray[np.int64]
"""Integer ns of model time."""
LOOK_S = 0.1
"""How often it is asked whether all is over."""
LAST_LOOK_S = 1.0
"""How long one goes on whose run is gone."""
STRANGERS = 100
"""Streams beyond as many as there are ids that get an account too: names alone must cost no memory."""


@dataclass(frozen=True)
class Run:
    """What is observed. `groups`: name → indices into `ids`. `single`: streams of one neuron → its index;
    other streams say the index of each spike. `ids`: `n_neurons` neurons, then sources, which are `n_config`
    together, then neurons started by hand."""

    name: str
    clock: str
    seed: int
    dt_ns: int
    ids: list[str]
    n_neurons: int
    groups: dict[str, list[int]]
    single: dict[str, int]
    n_config: int

    def index_of(self, stream: str) -> int:
        """Of a stream of one neuron. One started by hand stands behind all others once it is heard."""
        if (index := self.single.get(stream)) is None:
            if wrong_id(stream) or len(self.ids) >= self.n_config + guests.MOST:
                raise wire.Malformed("a stream of nobody in this run")
            index = self.single[stream] = len(self.ids)
            self.ids.append(stream)
        return index

    @classmethod
    def of_context(cls, context: ObserverContext) -> Run:
        facts = {name: context.header[name] for name in ("clock", "seed", "dt_ns", "n_neurons", "groups")}
        ids = list(context.header["ids"])
        return cls(context.folder.name, ids=ids, **facts, single=dict(context.single), n_config=len(ids))

    @classmethod
    def of_manifest(cls, m: folders.Manifest) -> Run:
        single = {stream: i for i, stream in enumerate(m.streams) if stream == m.ids[i]}
        facts = m.name, m.clock, m.seed, m.dt_ns, list(m.ids), m.n_neurons, m.groups
        return cls(*facts, single, m.n_config_ids)


@dataclass
class Accounts:
    """What reached an observer, and what did not. `before`: spikes that came before it listened, of streams
    that it heard. `malformed`: frames dropped. `t_ns`: the latest model time heard, `begun_ns` the first,
    `end_ns` that of the run's end; None: not known."""

    spikes: Ledger
    samples: Ledger
    most_streams: int
    before: int = 0
    malformed: int = 0
    t_ns: int | None = None
    begun_ns: int | None = None
    end_ns: int | None = None

    def fresh(self, event: Spikes | Samples) -> Spikes | Samples | None:
        """The part of a batch that was not heard before; None for a batch of which nothing counts."""
        ledger = self.spikes if isinstance(event, Spikes) else self.samples
        n = len(event.t_ns)
        if event.stream not in ledger.accounts:
            if len(ledger.accounts) >= self.most_streams:
                self.malformed += 1
                return None
            if isinstance(event, Spikes):
                self.before += event.seq
        known = ledger.accept(event.stream, event.epoch, event.seq, n, event.last)
        if known == REFUSED or (known and known == n):
            return None
        if n:
            self.t_ns = max(self.t_ns or 0, int(event.t_ns[-1]))
            self.begun_ns = int(event.t_ns[0]) if self.begun_ns is None else self.begun_ns
        return _without(event, known) if known else event

    @property
    def lost(self) -> int:
        """Spikes and samples that were published and did not come."""
        return self.spikes.totals()["lost"] + self.samples.totals()["lost"]

    def as_dict(self) -> dict[str, Any]:
        totals = self.spikes.totals()
        return {"spikes": totals["received"], "lost": self.lost, "malformed": self.malformed,
                "duplicates": totals["duplicates"], "gaps": self.spikes.gaps(),
                "before": self.before}  # fmt: skip


def _without(event: Spikes | Samples, n: int) -> Spikes | Samples:
    """A batch without its first n."""
    columns = {name: column[n:] for name in ("t_ns", "v_mv", "neurons")
               if (column := getattr(event, name, None)) is not None}  # fmt: skip
    return replace(event, seq=event.seq + n, **columns)


class Observer:
    """Override the methods whose events you want: only those are sent to you. Each has been accounted for.

    The arguments of the constructor are the observer's options; those without a default must be given.
    `run` and `accounts` are there from `on_begin` on. Neurons are indices into `run.ids`.
    """

    run: Run
    accounts: Accounts
    tick_s: float = 0.1
    """How often `on_tick` is called, s."""
    tell: Callable[..., None]
    """`tell(line)`: a word to the person, and a note in the run's summary."""

    def wants(self) -> Iterable[str] | None:
        """The ids whose spikes and potentials are sent, at least; None: all."""
        return None

    def on_begin(self) -> None:
        """All that is sent from now on will be heard."""

    def on_spikes(self, t_ns: Times, neurons: Times) -> None:
        """Spikes at model times `t_ns` of `neurons`, in the order of each stream."""

    def on_potentials(self, t_ns: Times, neurons: Times, mv: npt.NDArray[np.float64]) -> None:
        """Membrane potentials, mV, where they are published."""

    def on_stimulus(self, stimulus: Stimulus) -> None:
        """A poke, once it is stamped."""

    def on_report(self, report: Report) -> None:
        """What a process says of itself: `report.message` is one of `neurobus.wire.verbs` or `lease`."""

    def on_lights(self, led: Led) -> None:
        """What the strip of a board shows."""

    def on_tick(self) -> None:
        """Every `tick_s` seconds."""

    def on_end(self) -> str | dict[str, Any] | None:
        """The run is over. A line for its summary, or figures for its JSON."""

    def hears(self) -> set[bytes]:
        """Kinds of frames that are sent to it: those whose method it overrides."""
        return {kind for kind, hook in _HOOKS.items()
                if getattr(type(self), hook) is not getattr(Observer, hook)}  # fmt: skip

    def on_event(self, event: Event, receipt_ns: int) -> None:
        """Any event, before the methods above, which it calls. `receipt_ns`: Unix time."""
        match event:
            case Spikes() if len(event.t_ns):
                self.on_spikes(np.asarray(event.t_ns, np.int64), self._neurons(event))
            case Samples() if len(event.t_ns):
                times, mv = np.asarray(event.t_ns, np.int64), np.asarray(event.v_mv, np.float64)
                self.on_potentials(times, self._neurons(event), mv)
            case Stimulus() if event.t_ns >= 0:  # else the conductor's stamped copy follows
                self.on_stimulus(event)
            case Report():
                self.on_report(event)
            case Led():
                self.on_lights(event)

    def _neurons(self, event: Spikes | Samples) -> Times:
        if event.neurons is None:
            return np.full(len(event.t_ns), self.run.index_of(event.stream))
        neurons = np.asarray(event.neurons, np.int64)
        if neurons.shape != (len(event.t_ns),) or neurons.min() < 0 or neurons.max() >= len(self.run.ids):
            raise wire.Malformed("neurons of another run")
        return neurons


_HOOKS = {wire.SPIKES: "on_spikes", wire.SAMPLES: "on_potentials", wire.STIMULUS: "on_stimulus",
          wire.REPORT: "on_report", wire.LED: "on_lights"}  # fmt: skip


@dataclass
class Listening:
    """An observer on a bus: joined, its accounts kept, its methods called. Used by one thread.

    `from_start`: it joins before the first spike, so what it does not hear is missing. `tell`: where its
    words go. `file`: where tracebacks go.
    """

    observer: Observer
    run: Run
    peer: Peer
    name: str
    from_start: bool
    tell: Callable[[str], None]
    streams: Iterable[str] = ()
    """Those that are expected, where it listens from the start."""
    stopped: bool = False
    """By the run, which is over."""
    guard: Guard = field(init=False)
    accounts: Accounts = field(init=False)

    def __post_init__(self) -> None:
        most = len(self.run.ids) + STRANGERS
        self.accounts = Accounts(Ledger(self.from_start), Ledger(self.from_start), most)
        self.guard = Guard(lambda line: self.tell(f"dropped a frame: {line}"),
                           file_of(folders.state_dir(), self.name))  # fmt: skip
        observer = self.observer
        observer.run, observer.accounts = self.run, self.accounts
        if "tell" not in vars(observer):
            observer.tell = self.tell
        streams = self._wanted()
        for kind in observer.hears():
            if streams is not None and kind in (wire.SPIKES, wire.SAMPLES):
                for stream in streams:
                    self.peer.subscribe(wire.topic(kind, stream))
            else:
                self.peer.subscribe(kind + b"/")
        self.peer.subscribe(wire.topic(wire.CONTROL, self.name))
        self.peer.join(self.name)
        if self.from_start and wire.SPIKES in observer.hears():
            for stream in self.streams if streams is None else streams:
                self.accounts.spikes.expect(stream)
        observer.on_begin()

    def _wanted(self) -> list[str] | None:
        if (names := self.observer.wants()) is None:
            return None
        wanted, index = set(names), {name: i for i, name in enumerate(self.run.ids)}
        if unknown := sorted(wanted - index.keys()):
            raise InputError(f"no neuron '{unknown[0]}' in '{self.run.name}'")
        stream_of = {i: stream for stream, i in self.run.single.items()}
        found = {stream_of[index[name]] for name in wanted if index[name] in stream_of}
        if len(found) < len(wanted):  # packed: a stream carries several neurons
            found |= {stream for stream in self.streams if stream.startswith("@")}
        return sorted(found)

    def take(self, data: bytes, receipt_ns: int) -> None:
        """One frame. What is malformed is dropped and counted, what the observer raises is told."""
        try:
            event: Event | None = wire.decode(data)
            if isinstance(event, Control):
                if isinstance(event.message, verbs.Stop):
                    self.stopped, self.accounts.end_ns = True, event.message.end_ns
                return
            if isinstance(event, (Spikes, Samples)):
                event = self.accounts.fresh(event)
            if event is not None:
                self.observer.on_event(event, receipt_ns)
        except wire.Malformed:
            self.accounts.malformed += 1
        except Exception as error:
            self.accounts.malformed += 1
            self.guard.caught(error)

    def listen(self, budget_s: float = np.inf) -> bool:
        """Take what has arrived, for at most about `budget_s`; returns whether more may be waiting."""
        give_up = time.monotonic() + budget_s
        receipt_ns = time.time_ns()
        for data in self.peer.frames():
            self.take(data, receipt_ns)
            if time.monotonic() > give_up:
                return True
        return False

    def serve(self, over: Callable[[], bool], lifeline_fd: int | None = None) -> None:
        """Take frames until `over` says so, the run says stop, or the lifeline ends."""
        ticked, more = time.monotonic(), False
        lifeline = [] if lifeline_fd is None else [lifeline_fd]
        while not over() and not self.stopped:
            due = ticked + self.observer.tick_s
            # The bus tells once of frames that have come: while some may be left, it is not waited for.
            wait = 0.0 if more else min(LOOK_S, max(0.0, due - time.monotonic()))
            ready, _, _ = select.select([self.peer.fd, *lifeline], [], [], wait)
            more = self.listen(LOOK_S)
            if time.monotonic() >= ticked + self.observer.tick_s:
                ticked = time.monotonic()
                self._guarded(self.observer.on_tick)
            if lifeline_fd in ready:
                self.listen(LAST_LOOK_S)
                return
        self.listen()

    def close(self) -> dict[str, Any]:
        """What it missed, and what the observer says at the end."""
        said = self._guarded(self.observer.on_end)
        figures = said if isinstance(said, dict) else {"notes": [f"{self.name}: {said}"] if said else []}
        return {**self.accounts.as_dict(), "notes": [], **figures}

    def _guarded(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except Exception as error:
            return f"it raised {self.guard.caught(error)}"


def serve_program(
    context: ObserverContext, observer: Observer, patient: bool = False, from_start: bool = True
) -> None:
    """Be a program of a run to its end. `patient`: with a queue without limit, as nothing may be missed."""
    peer = Peer(Endpoints(**context.endpoints), observer=not patient)

    def say(message: ReportMessage) -> None:
        peer.send(wire.encode(Report(context.name, message)))

    def tell(what: str, stop: bool = False) -> None:
        say(verbs.Trouble(what, stop))

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listening = Listening(
        observer, Run.of_context(context), peer, context.name, from_start, tell, context.streams
    )
    say(verbs.Ready(pid=os.getpid()))
    listening.serve(lambda: False, context.lifeline_fd)
    say(verbs.Farewell(listening.close()))
    peer.close()
