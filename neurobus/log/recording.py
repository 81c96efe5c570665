"""The recorder: an observer that writes what it hears into a log.

As a program of a run (`main`) it hears every stream from its first spike on, without limit to its queue;
beside one that runs (`neurobus record`) it joins in the middle, and says what it missed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from neurobus.cluster.options import ObserverContext
from neurobus.errors import NeurobusError
from neurobus.events import Stimulus
from neurobus.log.collector import Collector
from neurobus.log.format import Header, LogError, LogEvent
from neurobus.log.writer import LogWriter
from neurobus.observer import LOOK_S, Observer, serve_program
from neurobus.wire import bus as wire
from neurobus.wire import verbs
from neurobus.wire.bus import Event
from neurobus.wire.message import Report

KEPT_REPORTS = (verbs.Ready, verbs.Final, verbs.ConductorFinal, verbs.Farewell, verbs.SnapshotTaken,
                verbs.Trouble, verbs.RecordedWeights)  # fmt: skip
JOINED = "joined"
"""The event by which a log says that it began in the middle of a run."""
LISTENED = "listened"
"""The event by which it says, at its close, from which model time on it has everything (`from_ns`), and how
many spikes of those it heard later had come before (`before`)."""


class Recording(Observer):
    """Events in, log out.

    `name`: of one that joins a run under way, None for a program of the run. `joined_ns`: the model time from
    which on it listens, as far as it knows. `begin_ns`: when what it listens to began.
    `stop_run`: ask for the run's end when the log cannot be written.
    """

    def __init__(self, path: Path, header: Header, name: str | None = None, joined_ns: int | None = None,
                 overwrite: bool = False, begin_ns: int = 0, stop_run: bool = False):  # fmt: skip
        self.path, self.name, self.joined_ns, self.begin_ns = path, name, joined_ns, begin_ns
        self.log = LogWriter(path, header, overwrite)
        self.collector = Collector(self.log, header.ids)
        self.failure: NeurobusError | None = None
        self._stop_run, self._told = stop_run, False

    def hears(self) -> set[bytes]:
        return {wire.SPIKES, wire.SAMPLES, wire.STIMULUS, wire.REPORT}

    @property
    def tick_s(self) -> float:  # type: ignore[override]
        """Until something has waited long enough."""
        due = self.collector.due_ns()
        return LOOK_S if due is None else max(0.0, (due - time.time_ns()) * 1e-9)

    def on_begin(self) -> None:
        self._note(JOINED, {} if self.joined_ns is None else {"t_ns": self.joined_ns}, self.joined_ns)

    def on_event(self, event: Event, receipt_ns: int) -> None:
        if isinstance(event, Stimulus) and event.t_ns < 0:
            return  # not stamped yet; the conductor's stamped copy follows
        if isinstance(event, Report) and not isinstance(event.message, KEPT_REPORTS):
            return
        self._write(lambda: self.collector.take(event, receipt_ns))

    def on_tick(self) -> None:
        self._write(lambda: self.collector.tick(time.time_ns()))
        if self.failure is not None and not self._told:
            self._told = True
            self.tell(str(self.failure), stop=self._stop_run)

    @property
    def from_ns(self) -> int | None:
        """The model time from which on the log has everything; None where nobody told any time."""
        if self.name is None:
            return 0
        if self.joined_ns is not None:
            return self.joined_ns
        begun_ns = self.accounts.begun_ns
        return self.begin_ns if begun_ns is not None and not self.accounts.before else begun_ns

    def _note(self, verb: str, data: dict[str, Any], t_ns: int | None = None) -> None:
        """Of one that joined: an event in the log about itself."""
        if self.name is not None:
            event = LogEvent(self.name, verb, data)
            self._write(lambda: self.collector.note(event, time.time_ns(), t_ns))

    def _write(self, write: Callable[[], None]) -> None:
        try:
            write()
        except LogError as error:
            self.failure = self.failure or error

    def on_end(self) -> dict[str, Any]:
        """Close the log; returns what a summary should say."""
        self._write(self.collector.flush)
        self._note(LISTENED, {"from_ns": self.from_ns, "before": self.accounts.before})
        notes: list[str] = [str(self.failure)] if self.failure else []
        try:
            self.log.close(self.accounts.end_ns)
        except LogError as error:
            notes.append(str(error))
        return {
            "path": str(self.path), "spikes": self.collector.spikes, "samples": self.collector.samples,
            "weights": self.collector.weights, "stimuli": self.collector.stimuli,
            "lost": self.accounts.lost + self.log.lost, "notes": notes + self.log.notes,
            "from_ms": None if self.from_ns is None else self.from_ns / 1e6,
        }  # fmt: skip


def main(context: ObserverContext) -> None:
    """The recorder of a run. Arguments: `path`, `overwrite`, and `on_log_failure`, "continue" or "stop"."""
    path, overwrite = Path(context.arguments["path"]), context.arguments.get("overwrite", False)
    stop_run = context.arguments["on_log_failure"] == "stop"
    recording = Recording(path, Header(**context.header), overwrite=overwrite, stop_run=stop_run)
    serve_program(context, recording, patient=True)
