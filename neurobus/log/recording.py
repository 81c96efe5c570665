"""The recorder as a process: a bus peer that writes what it hears into a log.

As a program of a run (`main`) it hears every stream from its first spike on, without limit to its queue;
as an observer (`neurobus record`) it joins a run under way, listens on the tap, and says what it missed.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from neurobus.bus.peer import Endpoints, Peer
from neurobus.cluster import folder as folders
from neurobus.cluster.options import ObserverContext
from neurobus.errors import NeurobusError
from neurobus.events import Control, Report, Samples, Spikes, Stimulus
from neurobus.guard import Guard, file_of
from neurobus.ledger import REFUSED, Ledger
from neurobus.log.format import Header, LogError
from neurobus.log.recorder import Collector
from neurobus.log.writer import LogWriter
from neurobus.node.weighing import VERB as RECORDED
from neurobus.wire import bus as wire

KEPT_REPORTS = frozenset({"ready", "final", "snapshot", "trouble", RECORDED})
JOINED = "joined"
"""The event by which a log says that it began in the middle of a run."""
STRANGERS = 100
"""Streams beyond as many as there are ids that get an account too: names alone must cost no memory."""
LISTENED = "listened"
"""The event by which it says, at its close, from which model time on it has everything (`from_ns`), and how
many spikes of those it heard later had come before (`before`)."""


class Recording:
    """Bus frames in, log out, and an account of what was missed. Used by one thread.

    `joined_ns`: an observer's; the model time from which on it listens, as far as it knows. `begin_ns`:
    that at which what it listens to began.
    """

    def __init__(self, path: Path, header: Header, peer: Peer, name: str, from_start: bool, observer: bool,
                 joined_ns: int | None = None, overwrite: bool = False, begin_ns: int = 0):  # fmt: skip
        self.name, self.peer, self.path = name, peer, path
        self.malformed = 0
        self._guard = Guard(self._passed_over, file_of(folders.state_dir(), name))
        self.ledger, self.sample_ledger = Ledger(from_start), Ledger(from_start)
        self._most_streams = len(header.ids) + STRANGERS
        self.observer, self.joined_ns, self.begin_ns = observer, joined_ns, begin_ns
        self.before = 0
        self._heard_ns: int | None = None
        self.log = LogWriter(path, header, overwrite)
        self.collector = Collector(self.log, header.ids)
        self.failure: NeurobusError | None = None
        self.stopped: dict[str, Any] | None = None
        for kind in (wire.SPIKES, wire.SAMPLES, wire.STIMULUS, wire.REPORT):
            peer.subscribe(kind + b"/")
        peer.subscribe(wire.topic(wire.CONTROL, name))
        peer.join(name)
        if observer:
            joined = Report(name, JOINED, {} if joined_ns is None else {"t_ns": joined_ns})
            self._write(lambda: self.collector.take(joined, time.time_ns()))

    def take(self, data: bytes, receipt_ns: int) -> None:
        """One frame. What is malformed is dropped and counted."""
        try:
            event = wire.decode(data)
        except wire.Malformed:
            self.malformed += 1
            return
        if isinstance(event, Control):
            if event.verb == "stop":
                self.stopped = event.args
            return
        if isinstance(event, (Spikes, Samples)):
            ledger = self.ledger if isinstance(event, Spikes) else self.sample_ledger
            if event.stream not in ledger.accounts and len(ledger.accounts) >= self._most_streams:
                self.malformed += 1
                return
            self._first(event, ledger)
            known = ledger.accept(event.stream, event.epoch, event.seq, len(event.t_ns), event.last)
            if known == REFUSED or known:
                return  # an old owner, or a batch that came twice
        elif isinstance(event, Stimulus):
            if event.t_ns < 0:
                return  # not stamped yet; the conductor's stamped copy follows
        elif isinstance(event, Report) and event.verb not in KEPT_REPORTS:
            return
        self._write(lambda: self.collector.take(event, receipt_ns))

    def _first(self, event: Spikes | Samples, ledger: Ledger) -> None:
        """What the first frame of a stream says of those before it."""
        if ledger is self.ledger and event.stream not in ledger.accounts:
            self.before += event.seq
        if self._heard_ns is None and len(event.t_ns):
            self._heard_ns = int(event.t_ns[0])

    @property
    def from_ns(self) -> int | None:
        """The model time from which on the log has everything; None where nobody told any time."""
        if not self.observer:
            return 0
        if self.joined_ns is not None:
            return self.joined_ns
        return self.begin_ns if self._heard_ns is not None and not self.before else self._heard_ns

    def _write(self, write: Callable[[], None]) -> None:
        try:
            write()
        except wire.Malformed:
            self.malformed += 1
        except LogError as error:
            self.failure = self.failure or error

    def serve(self, stop: Callable[[], bool], lifeline_fd: int | None) -> None:
        """Take frames until `stop` says so, the run says stop, or the lifeline ends."""
        peer, told = self.peer, False
        while not stop() and self.stopped is None:
            due = self.collector.due_ns()
            wait = 0.1 if due is None else min(0.1, max(0.0, (due - time.time_ns()) * 1e-9))
            select.select([peer.fd, *([lifeline_fd] if lifeline_fd is not None else [])], [], [], wait)
            self._drain()
            now = time.time_ns()
            self._write(lambda: self.collector.tick(now))  # noqa: B023 - called at once
            if self.failure is not None and not told:
                told = True
                self.troubled(self.failure)
            if lifeline_fd is not None and select.select([lifeline_fd], [], [], 0)[0]:
                break
        self._drain()

    def troubled(self, error: NeurobusError) -> None:
        self.peer.send(wire.encode(Report(self.name, "trouble", {"what": str(error)})))

    def _passed_over(self, line: str) -> None:
        self.peer.send(wire.encode(Report(self.name, "trouble", {"what": f"dropped a frame: {line}"})))

    def _drain(self) -> None:
        receipt_ns = time.time_ns()
        for data in self.peer.frames():
            try:
                self.take(data, receipt_ns)
            except Exception as error:
                self.malformed += 1
                self._guard.caught(error)

    def close(self) -> dict[str, Any]:
        """Close the log; returns what a summary should say."""
        self._write(self.collector.flush)
        if self.observer:
            said = Report(self.name, LISTENED, {"from_ns": self.from_ns, "before": self.before})
            self._write(lambda: self.collector.take(said, time.time_ns()))
        notes: list[str] = [str(self.failure)] if self.failure else []
        try:
            self.log.close((self.stopped or {}).get("end_ns"))
        except LogError as error:
            notes.append(str(error))
        notes += self.log.notes
        missed = self.ledger.totals()["lost"] + self.sample_ledger.totals()["lost"] + self.log.lost
        return {
            "path": str(self.path), "spikes": self.collector.spikes, "samples": self.collector.samples,
            "weights": self.collector.weights, "stimuli": self.collector.stimuli,
            "lost": missed, "malformed": self.malformed,
            "duplicates": self.ledger.totals()["duplicates"], "notes": notes,
            "gaps": self.ledger.gaps(), "before": self.before,
            "from_ms": None if self.from_ns is None else self.from_ns / 1e6,
        }  # fmt: skip


def main(context: ObserverContext) -> None:
    """The recorder of a run. Arguments: `path`, `overwrite`, and `on_log_failure`, "continue" or "stop"."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    header = Header(**context.header)
    peer = Peer(Endpoints(**context.endpoints))
    recording = Recording(
        Path(context.arguments["path"]),
        header,
        peer,
        context.name,
        from_start=True,
        observer=False,
        overwrite=context.arguments.get("overwrite", False),
    )
    stop_run = context.arguments["on_log_failure"] == "stop"
    for stream in context.streams:
        recording.ledger.expect(stream)
    peer.send(wire.encode(Report(context.name, "ready", {"pid": os.getpid()})))
    if stop_run:
        recording.troubled = lambda error: peer.send(  # type: ignore[method-assign]
            wire.encode(Report(context.name, "trouble", {"what": str(error), "stop": True})))  # fmt: skip
    recording.serve(lambda: False, context.lifeline_fd)
    peer.send(wire.encode(Report(context.name, "final", recording.close())))
    peer.close()
