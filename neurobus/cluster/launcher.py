"""The launcher: carries out what the supervisor decides, between a fork server, a bus and a person."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neurobus.bus.peer import Endpoints, Peer
from neurobus.cluster import folder as folders
from neurobus.cluster import resume, spawning
from neurobus.cluster.instructions import (
    Command,
    Do,
    Instruction,
    KeepSnapshot,
    MeasureMemory,
    Say,
    Send,
    TellReady,
)
from neurobus.cluster.options import Options
from neurobus.cluster.pipe import Pipe
from neurobus.cluster.summary import RESUME, Summary
from neurobus.cluster.supervisor import CONDUCTOR, NAME, Phase, Supervisor
from neurobus.errors import InputError, NeurobusError, RunError
from neurobus.guard import Guard, file_of
from neurobus.node.snapshot import path_of
from neurobus.wire import bus as wire
from neurobus.wire import verbs
from neurobus.wire.message import Control, ControlMessage, Report

GUESTS_EVERY_S = 1.0
"""How often it is seen whether neurons started by hand are still there."""
END_S = 10.0
"""How long the fork server may take to end."""


@dataclass
class Hooks:
    """What a user interface may want to hear of. All are called in the launcher's event loop."""

    word: Callable[[str], None] = lambda text: None
    building: Callable[[], None] = lambda: None
    ready: Callable[[int, int], None] = lambda n, of: None
    starting: Callable[[folders.Manifest], None] = lambda manifest: None
    """All are ready, and none has begun: who joins the bus now hears the first spike."""
    started: Callable[[folders.Manifest], None] = lambda manifest: None


@dataclass
class Launch:
    """One run as asked for. `for_ns`: model time to run, None: until stopped (or the config's duration).
    `resume_with`: the command that goes on from its state folder."""

    options: Options
    stem: str
    for_ns: int | None = None
    pace: float | None = None
    resume_with: str = RESUME
    hooks: Hooks = field(default_factory=Hooks)


class Launcher:
    """Runs one cluster: `summary = await Launcher(launch).run()`. `fork_server`: one already started."""

    def __init__(self, launch: Launch, fork_server: spawning.Started | None = None):
        self.launch, self._given = launch, fork_server
        self.supervisor = Supervisor(
            launch.options, launch.for_ns, launch.pace, launch.resume_with, self._has_snapshot
        )
        self._todo: list[Instruction] = []
        self._changed = asyncio.Event()
        self._guard = Guard(self._passed_over, file_of(folders.state_dir(), NAME))
        self._pipe: Pipe | None = None
        self._peer: Peer | None = None
        self._exiting = False
        self._guests_s = 0.0

    @property
    def summary(self) -> Summary:
        return self.supervisor.summary

    async def run(self) -> Summary:
        """From nothing to the summary. Raises InputError or RunError; leaves nothing behind either way."""
        begun = self._given.begun if self._given else time.monotonic()
        self.folder = folders.create(self.launch.stem)
        try:
            options = self.launch.options
            if options.snapshots and options.state is None:
                options.state, options.state_by_name = str(folders.state_dir() / self.folder.name), True
            options.write(self.folder)
            await self._start_fork_server()
            self.launch.hooks.building()
            while self.supervisor.phase is not Phase.OVER:
                await self._once()
                if self.supervisor.phase is Phase.STARTING:
                    self.summary.ready_s = time.monotonic() - begun
            if self.summary.state is not None and not resume.resumable(Path(self.summary.state)):
                self.summary.state = None  # it was there, and somebody removed it
        finally:
            await self._clean_up()
        return self.summary

    def stop(self) -> None:
        """Stop politely: everybody runs to one agreed step, reports, and exits."""
        self._heed(self.supervisor.stop(time.monotonic_ns()))

    def kill(self) -> None:
        """Stop at once."""
        self.supervisor.kill()
        self._changed.set()

    # -- the loop ---------------------------------------------------------------------------------

    async def _once(self) -> None:
        """Wait for something to happen, or to be due, and do what it calls for."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), self.supervisor.wait_s(time.monotonic_ns()))
        self._changed.clear()
        self._miss_guests()
        phase = self.supervisor.phase
        self._todo += self.supervisor.tick(time.monotonic_ns())
        while self._todo:
            todo, self._todo = self._todo, []
            for instruction in todo:
                self._carry_out(instruction)
        if self.supervisor.fatal is not None:
            raise self.supervisor.fatal
        if self.supervisor.phase is not phase:
            self._changed.set()

    def _heed(self, instructions: list[Instruction]) -> None:
        self._todo += instructions
        self._changed.set()

    def _carry_out(self, instruction: Instruction) -> None:
        try:
            match instruction:
                case Command(do, epoch, name):
                    self._tell(do=do, epoch=epoch, name=name)
                case Send(to, message):
                    self._send(to, message)
                case Say(text):
                    self.launch.hooks.word(text)
                case TellReady(n, of):
                    self.launch.hooks.ready(n, of)
                case KeepSnapshot(step, first):
                    self._keep(step, first)
                case MeasureMemory(pids):
                    self._measure(pids)
                case Do.JOIN_BUS:
                    self._join_bus()
                case Do.WRITE_MANIFEST:
                    self.supervisor.manifest.write(self.folder)
                case Do.CALL_STARTING:
                    self.launch.hooks.starting(self.supervisor.manifest)
                case Do.CALL_STARTED:
                    self.launch.hooks.started(self.supervisor.manifest)
        except NeurobusError:
            raise
        except Exception as error:
            self._guard.caught(error)

    # -- the fork server --------------------------------------------------------------------------

    async def _start_fork_server(self) -> None:
        self._pipe = Pipe((self._given or spawning.fork_server()).process)
        await self._pipe.open()
        self._tell(folder=str(self.folder))
        self._reader = asyncio.create_task(self._read_news())

    def _tell(self, **command: Any) -> None:
        assert self._pipe is not None
        self._pipe.tell(**command)

    async def _read_news(self) -> None:
        assert self._pipe is not None
        while line := await self._pipe.line():
            self._news(json.loads(line))
            self._changed.set()
        code = await self._pipe.wait()
        if not self._exiting and self.supervisor.failure is None:
            self.supervisor.failure = RunError(f"the fork server ended unexpectedly (exit code {code})")
        self._changed.set()

    def _news(self, news: dict[str, Any]) -> None:
        now_ns = time.monotonic_ns()
        if "error" in news and "failed" not in news:
            kind = InputError if news["code"] == 2 else RunError
            self.supervisor.failure = kind(news["error"])
        elif "compiling" in news:
            self._heed([Say(f"compiling {news['compiling']} (only this once)")])
        elif "built" in news:
            self._heed(self.supervisor.built(folders.Built.of(news["built"]), now_ns))
        elif "bound" in news:
            self._heed(self.supervisor.bound(now_ns))
        elif "failed" in news:
            self.supervisor.failed(news["failed"], news["error"])
        elif "exit" in news and not self._exiting:
            self._heed(self.supervisor.exited(news["exit"], news["code"], now_ns))

    # -- the bus ----------------------------------------------------------------------------------

    def _join_bus(self) -> None:
        self._peer = Peer(Endpoints(**self.supervisor.manifest.endpoints))
        self._peer.subscribe(wire.REPORT + b"/")
        self._peer.join(NAME)
        loop = asyncio.get_running_loop()
        self._guard.watch(loop, self._read_bus)
        loop.add_reader(self._peer.fd, self._read_bus)
        self._read_bus()

    def _read_bus(self) -> None:
        assert self._peer is not None
        for data in self._peer.frames():
            try:
                event = wire.decode(data)
                if isinstance(event, Report):
                    self.hear(event)
            except wire.Malformed:
                self.supervisor.malformed(time.monotonic_ns())
            except Exception as error:
                self._guard.caught(error)
        self._changed.set()

    def hear(self, report: Report) -> None:
        """What somebody says on the bus."""
        self._heed(self.supervisor.report(report, time.monotonic_ns()))

    def _send(self, to: str, message: ControlMessage) -> None:
        assert self._peer is not None
        self._peer.send(wire.encode(Control(to, message)))

    def _passed_over(self, line: str) -> None:
        """An error of our own that has ended nothing."""
        self._heed(self.supervisor.troubled(f"passed over an error: {line}"))

    def _miss_guests(self) -> None:
        if (now_s := time.monotonic()) < self._guests_s or self.supervisor.phase < Phase.RUNNING:
            return
        self._guests_s = now_s + GUESTS_EVERY_S
        for name in list(self.supervisor.manifest.guests):
            if not folders.alive(self.supervisor.members[name].pid or 0):
                self._heed(self.supervisor.gone(name))

    # -- snapshots and memory ---------------------------------------------------------------------

    def _has_snapshot(self, name: str, step: int) -> bool:
        options = self.launch.options
        return bool(options.snapshots and options.state and path_of(Path(options.state), name, step).exists())

    def _keep(self, step: int, first: bool) -> None:
        manifest = self.supervisor.manifest
        facts = {"clock": manifest.clock, "name": manifest.name, "seed": manifest.seed}
        try:
            resume.keep(self.launch.options, step, facts, first)
        except OSError as error:
            self._heed(self.supervisor.troubled(f"snapshot not kept: {error.strerror}"))
        else:
            self.supervisor.kept(step)

    def _measure(self, pids: list[int]) -> None:
        sizes = [size for pid in pids if (size := pss_kb(pid)) is not None]
        if sizes:
            self.summary.pss_mb_per_process = round(sum(sizes) / len(sizes) / 1024, 2)

    # -- the end ----------------------------------------------------------------------------------

    async def _clean_up(self) -> None:
        self._exiting = True
        if self._peer is not None:
            asyncio.get_running_loop().remove_reader(self._peer.fd)
            self._send(wire.EVERYONE, verbs.Exit())
            self._send(CONDUCTOR, verbs.Exit())
            self._peer.close()
        if self._pipe is not None:
            self._tell(do="end")
            self._pipe.hang_up()  # while it builds it reads no word, but sees that
            try:
                await asyncio.wait_for(self._pipe.wait(), END_S)
            except TimeoutError:
                self._pipe.kill()
                await self._pipe.wait()
            await self._reader
        folders.remove(self.folder, os.getpid())


def pss_kb(pid: int) -> int | None:
    """Proportional set size of a process in kB; None where the system does not tell."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return None
