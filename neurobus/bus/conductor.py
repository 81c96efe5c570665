"""The conductor of the virtual clock: it owns the bus's endpoints and says who runs how far.

A shell around `rounds.Rounds`: sockets, the clock, who observes. Frames that are not duties or answers it
forwards, as the hub does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import zmq

from neurobus.bus.peer import OBSERVER_HWM, PATIENT_HWM, Endpoints, await_frame, receive
from neurobus.bus.rounds import NAME as NAME
from neurobus.bus.rounds import Collect, ConductorPlan, Publish, Rounds, Wait
from neurobus.events import Led, Stimulus
from neurobus.guard import Guard
from neurobus.wire import bus as wire
from neurobus.wire import verbs
from neurobus.wire.message import Control, ControlMessage, Report, ReportMessage
from neurobus.words import some

POLL_MS = 200
SILENT_S = 5.0
"""How long nobody may say anything, while a duty is not answered, before the conductor says whose it is."""
LOOK_S = 0.02
"""How often it is looked, between rounds, who has come to observe."""


class _Sockets:
    """The bus's three endpoints, and who observes on each."""

    def __init__(self, endpoints: Endpoints, lifeline_fd: int):
        self._context = zmq.Context()
        self.inward, self.outward, self._tap = (
            self._context.socket(kind) for kind in (zmq.SUB, zmq.XPUB, zmq.XPUB)
        )
        self.inward.setsockopt(zmq.RCVHWM, PATIENT_HWM)
        self.inward.setsockopt(zmq.RCVTIMEO, POLL_MS)
        self.outward.setsockopt(zmq.SNDHWM, PATIENT_HWM)
        self._tap.setsockopt(zmq.SNDHWM, OBSERVER_HWM)
        self.inward.subscribe(b"")
        self._poller = zmq.Poller()
        bound = {self.inward: endpoints.inward, self.outward: endpoints.outward, self._tap: endpoints.tap}
        for socket, endpoint in bound.items():
            socket.setsockopt(zmq.LINGER, 2000)
            socket.bind(endpoint)
            self._poller.register(socket, zmq.POLLIN)
        self._poller.register(lifeline_fd, zmq.POLLIN)
        self._observers = {self.outward: 0, self._tap: 0}
        self._look_due_s = 0.0

    def publish(self, data: bytes) -> None:
        self.outward.send(data)
        self._tap.send(data)

    def observe(self, data: bytes) -> None:
        """Spikes and samples go only where somebody listens to such."""
        for socket, observers in self._observers.items():
            if observers:
                socket.send(data)

    @property
    def observed(self) -> bool:
        return any(self._observers.values())

    def look(self, now_s: float) -> None:
        """Who has come and who has left."""
        if now_s > self._look_due_s:
            self._look_due_s = now_s + LOOK_S
            for socket in self._observers:
                self._subscriptions(socket)

    def _subscriptions(self, socket: zmq.Socket[bytes]) -> None:
        while (data := receive(socket)) is not None:
            if data[1:2] in (b"", wire.SPIKES, wire.SAMPLES):
                self._observers[socket] += 1 if data[:1] == b"\x01" else -1

    def frames(self, timeout_ms: int) -> list[bytes]:
        """Frames that wait, after at most `timeout_ms`."""
        found = []
        while (data := receive(self.inward)) is not None:
            found.append(data)
        if found or timeout_ms == 0:
            return found
        events = dict(self._poller.poll(timeout_ms))
        for socket in self._observers:
            if socket in events:
                self._subscriptions(socket)
        while (data := receive(self.inward)) is not None:
            found.append(data)
        return found

    def close(self) -> None:
        self._context.destroy(2000)


class Conductor:
    """See the module's docstring. `run` returns when the run is over or `alive` says so."""

    def __init__(self, plan: ConductorPlan, endpoints: Endpoints, alive: Callable[[], bool],
                 lifeline_fd: int, tracebacks: Path = Path(os.devnull)):  # fmt: skip
        self._sockets, self._alive = _Sockets(endpoints, lifeline_fd), alive
        self._rounds = Rounds(plan, self._sockets.outward.send)
        self._number = {name: p for p, name in enumerate(plan.names)}
        self._answering = {wire.topic(wire.ANSWER, name)[:-1]: p for p, name in enumerate(plan.names)}
        self._silent_told: set[str] = set()
        self._exit = False
        self._guard = Guard(self._troubled, tracebacks)
        self._malformed = 0

    # -- frames ---------------------------------------------------------------------------------------

    def _handle(self, data: bytes) -> None:
        try:
            if data[:1] == wire.ANSWER:
                self._answered(data)
            elif data[:1] == wire.HELLO:
                wire.split(data)
                self._sockets.publish(data)
            else:
                self._other(data)
        except wire.Malformed:
            self._malformed += 1
        except Exception as error:
            self._guard.caught(error)

    def _answered(self, data: bytes) -> None:
        head, _, payload = data.partition(b"\0")
        p = self._answering.get(head)
        if p is None:
            raise wire.Malformed("an answer from nobody")
        answer, rounds = wire.answer(payload), self._rounds
        if rounds.answered(p, answer) and answer.first >= 0 and self._sockets.observed:
            for event in rounds.emitted(p, answer):
                self._sockets.observe(wire.encode(event))

    def _other(self, data: bytes) -> None:
        match wire.decode(data):
            case Stimulus() as poke:
                data = wire.encode(self._rounds.poked(poke, time.monotonic()))
            case Report(origin, message):
                if origin == NAME:
                    raise wire.Malformed("somebody else speaks as the conductor")
                if isinstance(message, verbs.Ready) and origin in self._number:
                    self._rounds.joined(self._number[origin], message)
            case Control(to, message) if to == NAME:
                self._control(message)
                return
            case Control() | Led():
                pass
            case _:
                raise wire.Malformed("spikes reach the conductor in answers only")
        self._sockets.publish(data)

    def _control(self, message: ControlMessage) -> None:
        now_s = time.monotonic()
        match message:
            case verbs.Start():
                self._rounds.started(message, now_s)
            case verbs.Stop():
                self._rounds.stop(now_s)
            case verbs.AskStatus():
                self._report(verbs.ConductorStatus(*self._rounds.figures(self._malformed, now_s)))
            case verbs.Exit():
                self._exit = True

    def _report(self, message: ReportMessage) -> None:
        self._sockets.publish(wire.encode(Report(NAME, message)))

    def _troubled(self, line: str) -> None:
        self._report(verbs.Trouble(f"passed over an error: {line}"))

    # -- the run --------------------------------------------------------------------------------------

    def run(self) -> None:
        """Wait for all processes, then conduct until the limit or a stop."""
        course = self._rounds.course()
        step = next(course)
        while self._alive():
            match step:
                case Collect():
                    if not self._collect():
                        return
                case Wait(until_s):
                    left_ms = min((until_s - time.monotonic()) * 1000, POLL_MS)
                    for data in self._sockets.frames(max(1, int(left_ms))):
                        self._handle(data)
                case Publish(event):
                    self._sockets.publish(wire.encode(event))
            try:
                step = course.send(time.monotonic())
            except StopIteration:
                break
        else:
            return
        for end in self._rounds.ends():
            self._sockets.observe(wire.encode(end))
        self._report(verbs.ConductorFinal(*self._rounds.figures(self._malformed)))

    def _collect(self) -> bool:
        """Until every duty is answered: waits in ZeroMQ's own call, as nothing else matters meanwhile. False
        when the run is no more."""
        inward, waiting, told_at = self._sockets.inward, self._rounds.waiting, 0.0
        while waiting:
            data = await_frame(inward)
            if data is not None:
                self._handle(data)
            elif not self._alive():
                return False
            else:
                told_at = told_at or time.monotonic() + SILENT_S
                if time.monotonic() > told_at:
                    told_at = float("inf")
                    self._tell_silent()
        self._sockets.look(time.monotonic())
        for data in self._sockets.frames(0):
            self._handle(data)
        return True

    def _tell_silent(self) -> None:
        names = sorted(self._rounds.plan.names[p] for p in self._rounds.waiting)
        if names and not self._silent_told.issuperset(names):
            self._silent_told.update(names)
            word = f"no answer from {some(names)} for {SILENT_S:g} s, and the run waits (is it stopped?)"
            self._report(verbs.Trouble(word))

    def serve_until_exit(self) -> None:
        """Go on forwarding (reports, farewells) until told to exit."""
        while self._alive() and not self._exit:
            for data in self._sockets.frames(POLL_MS):
                self._handle(data)

    def close(self) -> None:
        self._sockets.close()
