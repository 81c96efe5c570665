"""The life of a neuron's process: it joins the bus, is ready, lives by its clock, reports, and ends.

`Process` is what both clocks share; `neurobus.node.wall` and `neurobus.node.virtual` say how time goes.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import time
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from neurobus.errors import RunError
from neurobus.guard import Guard, file_of
from neurobus.node.core import Core
from neurobus.node.inbox import Inbox
from neurobus.node.interface import AnyCore
from neurobus.node.lessor import Host, Lessor
from neurobus.node.outbox import Outbox
from neurobus.node.role import Bus, Role
from neurobus.node.snapshot import write_snapshot
from neurobus.node.weights import recorded
from neurobus.wire import bus as wire
from neurobus.wire import verbs
from neurobus.wire.message import ControlMessage, Report, ReportMessage

JOIN_S, JOIN_MOST_S = 0.01, 0.2
"""Between two hellos of a process that joins."""
OVER_S = 1.0
"""How often a neuron started by hand asks whether its run is over."""


def now_ns() -> int:
    """The clock all processes of a host share."""
    return time.monotonic_ns()


def step_loop() -> asyncio.AbstractEventLoop:
    """An event loop on select(): its timeouts are in microseconds where epoll's are whole milliseconds."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


class Process(Host):
    """One process on the bus. Call `run`."""

    LINGER_MS = 20
    """How long a process that has just taken a frame waits for the next in ZeroMQ's own blocking call, before
    it goes back to sleep in the event loop."""

    def __init__(self, role: Role, core: AnyCore):
        self.role, self.core = role, core
        self.inbox, self.outbox, self.lease = Inbox(role), Outbox(role, core), Lessor(self)
        self.malformed = 0
        self.ended = False
        self._prepared = self._joined = False
        self._cpu_begun_s = 0.0
        self._failure: RunError | None = None
        self._guard = Guard(lambda line: None, file_of(role.troubles or Path(os.devnull), role.name))

    # -- life -------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Open the accounts and the frame of answers, as `run` does where that is not done yet. What a
        parent has made its children share."""
        if not self._prepared:
            self._prepared = True
            self.core.answers_as(self.outbox.answer_topic, self.role.epoch)
            self.inbox.open_accounts()
            self._open()

    def _open(self) -> None:
        """What else a clock has to make ready."""

    def become(self, epoch: int, late_start: bool) -> None:
        """Be of another epoch than at first, before `run`."""
        self.role.epoch, self.role.late_start, self._prepared = epoch, late_start, False
        self.inbox.clear_accounts()

    def run(
        self, bus: Bus, lifeline_fd: int | None = None, stop_when: Callable[[], bool] | None = None
    ) -> None:
        """Join the bus and live until told to stop.

        `lifeline_fd`: end at once when it reads EOF. `stop_when`: asked once a second, for a neuron
        without a lifeline.
        """
        self.bus = self.outbox.bus = bus
        self.prepare()
        bus.patience(self.LINGER_MS)
        self._lines, self._lifeline_fd = bus.lines(), lifeline_fd
        self._bind()
        self.loop = step_loop()
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._live(stop_when))
        finally:
            self.loop.close()
            self.bus.close()  # not before: a timer may still be due in the loop's last round

    async def _live(self, stop_when: Callable[[], bool] | None) -> None:
        self._done = asyncio.Event()
        self._guard.watch(self.loop, self._fail)
        if stop_when is not None:
            self._ask(stop_when)
        if self._lifeline_fd is not None:
            self.loop.add_reader(self._lifeline_fd, os._exit, 0)
        if not await self._join():
            return  # the bus has gone before it answered
        self._cpu_begun_s = time.process_time()
        ready = verbs.Ready(
            next_step=self.core.look(), pid=os.getpid(), epoch=self.role.epoch, guest=self.role.guest
        )
        self.report(ready)
        self._readable()
        await self._done.wait()
        if self._failure is not None:
            raise self._failure
        self.loop.remove_reader(self.bus.fd)
        if self._lifeline_fd is not None:
            self.loop.remove_reader(self._lifeline_fd)

    async def _join(self) -> bool:
        """Subscribe, and listen for its own voice: then its axon reaches the bus, and as ZeroMQ keeps the
        order within a connection, every subscription is in force."""
        role = self.role
        self._hello, self._echo = wire.topic(wire.HELLO, role.name), wire.hello(role.name)
        controls = [wire.topic(wire.CONTROL, to) for to in (role.name, wire.EVERYONE)]
        for topic in (*self._inputs(), *controls, self._hello):
            self.bus.subscribe(topic)
        self.loop.add_reader(self.bus.fd, self._readable)
        pause_s = JOIN_S
        while not self._done.is_set():
            self.bus.send(self._echo)
            self._readable()
            if self._joined:
                return True
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, JOIN_MOST_S)
        return self._joined

    def _ask(self, over: Callable[[], bool]) -> None:
        if over():
            self._done.set()
        else:
            self.loop.call_later(OVER_S, self._ask, over)

    def _fail(self) -> None:
        """An exception came out of a callback. What this neuron is, nobody knows any more: its process ends,
        says why, and begins again from its snapshot."""
        self._failure = RunError(self._guard.last)
        self._done.set()

    # -- what is said of itself ---------------------------------------------------------------------

    def report(self, message: ReportMessage) -> None:
        self.bus.send(wire.encode(Report(self.role.name, message)))

    def status(self) -> dict[str, Any]:
        """`verbs.Figures`, for a live view and for the summary."""
        return {
            "step": self.core.k,
            **self.lease.protocol.status(),
            "spikes": self.outbox.spikes_sent,
            "deliveries": self.core.deliveries,
            "samples": self.outbox.samples_sent,
            "late": self.core.late,
            **self.inbox.totals(),
            "malformed": self.malformed,
            "cpu_s": time.process_time() - self._cpu_begun_s,
        }

    def _report_final(self, gaps: dict[str, Any], unended: dict[str, dict[str, tuple[int, int]]]) -> None:
        if isinstance(self.core, Core) and (over := self.core.overflown()).any():
            first = self.role.ids[int(np.argmax(over))]
            word = f"the state of {first} overflowed and is no number; what it did since means nothing"
            self.report(verbs.Trouble(word))
        sent = (self.role.epoch, self.core.seq, self.core.sample_seq)
        counts = self.outbox.counts()
        self.report(verbs.Final(**self.status(), counts=counts, gaps=gaps, unended=unended, sent=sent))

    def _report_weights(self, neuron: str | None) -> None:
        """The synapses of one neuron here, or of all."""
        if not isinstance(self.core, Core):
            return
        now, chosen = self.core.weights(), slice(None)
        if neuron in self.role.ids:
            chosen = now.post == self.role.index[self.role.ids.index(neuron)]
        names = ("pre", "post", "receptor", "delay", "weight", "kind")
        columns = {name: getattr(now, name)[chosen].tolist() for name in names}
        self.report(verbs.Weights(step=self.core.k, types=list(now.types), **columns))

    def _report_recorded(self) -> None:
        """The weights that are recorded, as they are at the committed step."""
        assert isinstance(self.core, Core)
        self.report(recorded(self.core.weights(), self.role.weighed, self.core.k, self.role.dt_ns))

    # -- frames -----------------------------------------------------------------------------------

    def _handle(self, data: bytes) -> bool:
        """One frame. What is none is counted, and hurts nobody. Returns whether to go on."""
        try:
            if data[:1] != wire.HELLO:
                self._frame(data)
            elif data == self._echo:
                self._joined = True
                self.bus.unsubscribe(self._hello)
        except wire.Malformed:
            self.malformed += 1
        except Exception as error:
            if data[:1] == wire.DUTY:
                raise
            self.malformed += 1  # the state is as it was: a frame is taken apart before it acts
            self.report(verbs.Trouble(f"dropped a frame: {self._guard.caught(error)}"))
        return not self._done.is_set()

    def _control(self, message: ControlMessage) -> None:
        match message:
            case verbs.AskStatus(step):
                v = self.core.potential_mv(step or 0)
                self.report(verbs.Status(**self.status(), counts=self.outbox.counts(), mv=v.tolist()))
            case verbs.AskWeights(neuron):
                self._report_weights(neuron)
            case verbs.Exit():
                self._done.set()
            case _:
                self.lease.control(message)

    # -- states -------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """For a snapshot."""
        return {
            "name": self.role.name,
            "core": self.core.dump(),
            "spikes_sent": self.outbox.spikes_sent,
            "samples_sent": self.outbox.samples_sent,
            "counts": self.outbox.counts(),
            "ledgers": self.inbox.dump(),
        }

    def restore(self, state: dict[str, Any], same_run: bool) -> None:
        """Continue from a snapshot; `same_run`: all figures go on too, else they begin anew."""
        self.core.restore(state["core"])
        if same_run:
            self.outbox.restore(state["counts"], state["spikes_sent"], state["samples_sent"])
            self.inbox.restore(state["ledgers"])
        else:
            self.core.late = self.core.deliveries = 0

    def recover(self, ledgers: list[list[list[Any]]], senders: dict[str, dict[str, Any]]) -> None:
        """After `restore`, in a run that is resumed: take what was under way at the snapshot. `ledgers`:
        those of this process's snapshot; `senders`: what `cut.Sent.dump` says, by stream."""
        self.prepare()
        if isinstance(self.core, Core):
            self.inbox.recover(ledgers, senders, self.core.deliver)

    def save(self, state: dict[str, Any]) -> None:
        """Write a snapshot, and say so."""
        assert self.role.snapshots is not None
        step = state["core"]["k"]
        try:
            write_snapshot(self.role.snapshots, self.role.name, step, state)
        except OSError as error:
            self.report(verbs.Trouble(f"snapshot not written: {error.strerror}"))
        else:
            self.report(verbs.Saved(step))

    def replace_core(self, core: Core) -> None:
        """Go on as another core, which stands where the old one stood."""
        self.core = core
        self.outbox.replace_core(core)
        self._bind()

    # -- how time goes ---------------------------------------------------------------------------------

    @abstractmethod
    def _bind(self) -> None:
        """Tell the core by what its compiled code talks, where it does."""

    @abstractmethod
    def _inputs(self) -> list[bytes]:
        """Topics it lives by."""

    @abstractmethod
    def _readable(self) -> None:
        """Frames may have come."""

    @abstractmethod
    def _frame(self, data: bytes) -> None:
        """Act on a frame. Raises Malformed."""
