"""The fork server: one process that imports, builds and compiles everything once, then forks the run.

    python -P -m neurobus.cluster.fork_server

Commands come as JSON lines on stdin, and the first names the run folder: the process may be started before
its launcher has one (`neurobus.cluster.spawning`). News leave as JSON lines on a descriptor that was stdout:
what a model prints goes to stderr. It is the parent of all processes of the run and the only one that reaps
them. When stdin ends (the launcher is gone, however) it ends the run and removes the folder. When the fork
server is killed, its children see their lifeline end. So nothing is left behind whoever dies.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from neurobus.bus import conductor as conducting
from neurobus.bus import hub
from neurobus.bus.conductor import Conductor
from neurobus.bus.peer import Endpoints, Peer
from neurobus.cluster import folder as folders
from neurobus.cluster import prewarm, roles, room
from neurobus.cluster import state as states
from neurobus.cluster.build import build
from neurobus.cluster.options import ObserverContext, Options, program_name
from neurobus.cluster.orphan import OrphanedError, hung_up, work_while_held
from neurobus.cluster.resume import resume_step, state_at
from neurobus.errors import InputError, NeurobusError
from neurobus.guard import file_of
from neurobus.node.process import Process as NeuronProcess
from neurobus.node.snapshot import read_snapshot

TERM_WAIT_S = 2.0
FORKS_BETWEEN_LOOKS = 64
HUB = "hub"


class Prepared:
    """All that the processes of a run are made of, ready before the first fork. Raises InputError."""

    def __init__(self, folder: Path, lifeline: int):
        options = Options.read(folder)
        step = resume_step(Path(options.resume)) if options.resume else None
        self._refuse_state(options)
        self.build = build(options, step, room.here())
        self.senders = self._senders()
        self.troubles = folders.state_dir()
        prewarm.compile_models(self.build, lambda model: tell(compiling=model))
        self.runtimes = prewarm.grow(self.build, self.troubles)
        prewarm.prewarm(self.build, Endpoints.in_folder(folder), self.troubles)
        self.manifest = roles.manifest(self.build, folder, os.getppid(), time.time_ns())
        self.programs: dict[str, Callable[[], None]] = {}
        for module, arguments in options.programs:
            name = program_name(module, arguments)
            main: Callable[[ObserverContext], None] = importlib.import_module(module).main
            context = roles.observer_context(self.build, name, arguments, self.manifest, folder, lifeline)
            self.programs[name] = partial(main, context)
        self._take_state()
        # Everything made so far is shared with the children for as long as nobody writes to it.
        gc.collect()
        self._filling = prewarm.filling()

    @staticmethod
    def _goes_on(options: Options) -> bool:
        """Whether the run keeps its snapshots where it resumes from."""
        if not (options.state and options.snapshots and options.resume):
            return False
        return Path(options.state).resolve() == Path(options.resume).resolve()

    def _refuse_state(self, options: Options) -> None:
        if options.state and options.snapshots and not self._goes_on(options):
            states.refuse(Path(options.state), None if options.state_by_name else options.source)

    def _take_state(self) -> None:
        """Make the state folder this run's, once all else has succeeded. Every process of the run holds its
        lock, so none of them can write there when it is another's."""
        build = self.build
        if build.state is not None:
            keep_to = build.resume_step if self._goes_on(build.options) else None
            self._lock = states.take(build.state, build.options.source, keep_to)

    def _senders(self) -> dict[str, dict[str, Any]]:
        """What each process had sent around the snapshot that is resumed (`neurobus.node.cut`), by stream."""
        resume, step = self.build.options.resume, self.build.resume_step
        if resume is None or step is None:
            return {}
        processes = self.build.plan.processes
        found = {process.name: read_snapshot(Path(resume), process.name, step) for process in processes}
        return {name: state["sent"] for name, state in found.items() if state and "sent" in state}

    def restored(self, number: int, epoch: int, restarted: bool) -> NeuronProcess:
        """The runtime of a process, at the snapshot it goes on from. Called in the child. What the child took
        from its parent has never run, so a process that was restarted begins anew too."""
        runtime, options = self.runtimes[number], self.build.options
        role, saved = runtime.role, None
        if restarted or epoch != role.epoch:
            runtime.become(epoch, restarted)
        if restarted and self.build.state is not None:
            saved = read_snapshot(self.build.state, role.name)
        if saved is None and options.resume:
            saved = state_at(Path(options.resume), role.name, self.build.begin)
        if saved is not None:
            try:
                runtime.restore(saved, same_run=restarted)
                if not restarted:
                    runtime.recover(saved["ledgers"], self.senders)
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"snapshot of '{role.name}': {error}") from error
        if restarted and role.wall:
            # What it heard since its snapshot died with it: all of that is missing, and counted.
            runtime.inbox.expect_all()
        return runtime


class ForkServer:
    """Forks, reaps, serves the launcher, ends. `unread`: what was read of stdin after the folder's line."""

    def __init__(self, folder: Path, unread: bytes = b""):
        self.folder, self._owner, self._unread = folder, folders.owner_of(folder), unread
        self._endpoints = Endpoints.in_folder(folder)
        self._children: dict[int, str] = {}
        self.lifeline, self._lifeline_end = os.pipe()
        self._news, self._news_end = os.pipe()
        self.run: Prepared

    # -- children ---------------------------------------------------------------------------------

    def _fork(self, name: str, body: Callable[[], object]) -> None:
        """Fork a child that runs `body`. What it raises reaches the launcher as one line."""
        pid = os.fork()
        if pid:
            self._children[pid] = name
            return
        code = 1
        try:
            os.close(self._lifeline_end)
            os.close(self._news)
            os.close(_line_fd)
            devnull = os.open(os.devnull, os.O_RDWR)
            os.dup2(devnull, 0)
            os.close(devnull)
            signal.set_wakeup_fd(-1)
            # SIGINT is ignored already, and no child has children.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            gc.enable()
            _rename(name)
            body()
            code = 0
        except Exception as error:
            if os.environ.get("NEUROBUS_DEBUG"):
                traceback.print_exc()
            word = str(error) if isinstance(error, NeurobusError) else f"{type(error).__name__}: {error}"
            self._send_news(failed=name, error=" ".join(word.split())[:600])
        finally:
            os._exit(code)

    def _send_news(self, **news: Any) -> None:
        """From a child: at most PIPE_BUF bytes, so that lines of several children never mix."""
        os.write(self._news_end, json.dumps(news).encode() + b"\n")

    def fork_bus(self) -> None:
        if self.run.build.wall:
            self._fork(HUB, self._serve_hub)
        else:
            self._fork(conducting.NAME, self._conduct)

    def _serve_hub(self) -> None:
        def over() -> None:
            select.select([self.lifeline], [], [])
            folders.remove(self.folder, self._owner)

        hub.serve(self._endpoints, lambda: self._send_news(bound=HUB), over)

    def _conduct(self) -> None:
        def alive() -> bool:
            return not select.select([self.lifeline], [], [], 0)[0]

        plan, file = roles.conductor_plan(self.run.build), file_of(self.run.troubles, conducting.NAME)
        conductor = Conductor(plan, self._endpoints, alive, self.lifeline, file)
        self._send_news(bound=conducting.NAME)
        conductor.run()
        conductor.serve_until_exit()
        conductor.close()
        if not alive():
            folders.remove(self.folder, self._owner)

    def _fork_node(self, number: int, epoch: int, restarted: bool) -> None:
        def live() -> None:
            self.run.restored(number, epoch, restarted).run(Peer(self._endpoints), self.lifeline)

        self._fork(self.run.build.plan.processes[number].name, live)

    def _fork_all(self, epoch: int) -> bool:
        """Whether the launcher is gone meanwhile."""
        for name, main in self.run.programs.items():
            self._fork(name, main)
        for process in self.run.build.plan.processes:
            self._fork_node(process.number, epoch, False)
            if process.number % FORKS_BETWEEN_LOOKS == 0 and hung_up(0):
                return True
        return False

    def _restart(self, name: str, epoch: int) -> None:
        if name in (HUB, conducting.NAME):
            self.fork_bus()
        elif name in self.run.programs:
            self._fork(name, self.run.programs[name])
        else:
            self._fork_node(self.run.build.plan.number_of[name], epoch, True)

    # -- the loop ---------------------------------------------------------------------------------

    def serve(self) -> None:
        """Carry out commands and pass on news until stdin ends or `end` is asked."""
        wake, wake_end = os.pipe()
        os.set_blocking(wake_end, False)
        signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        os.set_blocking(self._news, False)
        while True:
            ready, _, _ = select.select([0, self._news, wake], [], [])
            if wake in ready:
                os.read(wake, 4096)
                self._reap()
            if self._news in ready:
                self._pass_on()
            if 0 in ready:
                data = os.read(0, 65536)
                if not data:
                    return
                *lines, self._unread = (self._unread + data).split(b"\n")
                if any(self._command(json.loads(line)) for line in lines):
                    return

    def _command(self, command: dict[str, Any]) -> bool:
        """Whether it is the last one."""
        try:
            if command["do"] == "fork":
                return self._fork_all(command["epoch"])
            if command["do"] == "restart":
                self._restart(command["name"], command["epoch"])
        except OSError as error:
            tell(error=f"a process could not be started: {error.strerror} (see ulimit -u)", code=4)
            return True
        return bool(command["do"] == "end")

    def _pass_on(self) -> None:
        with contextlib.suppress(BlockingIOError):
            _say(os.read(self._news, 65536))

    def _reap(self) -> None:
        """Tell who has ended, after what they themselves had to say of it."""
        ended = []
        with contextlib.suppress(ChildProcessError):
            while (child := os.waitpid(-1, os.WNOHANG))[0]:
                ended.append(child)
        self._pass_on()
        for pid, status in ended:
            name = self._children.pop(pid, None)
            if name is not None:
                tell(exit=name, pid=pid, code=os.waitstatus_to_exitcode(status))

    def end(self) -> None:
        """Terminate what still runs, then kill it, and remove the folder."""
        os.close(self._lifeline_end)
        give_up = time.monotonic() + TERM_WAIT_S
        killed = False
        while self._children:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid:
                self._children.pop(pid, None)
                continue
            if time.monotonic() > give_up and not killed:
                killed = True
                for pid in list(self._children):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)
        folders.remove(self.folder, self._owner)


def _raise_file_limit() -> None:
    """The hub and the conductor hold two descriptors a process; the usual soft limit is 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _rename(name: str) -> None:
    """Show the neuron's id in ps and top, where the system lets a process say its name."""
    try:
        comm = os.open("/proc/self/comm", os.O_WRONLY)
    except OSError:
        return
    os.write(comm, f"nb {name}"[:15].encode())  # with pathlib, 300 KB of pages would be copied for it
    os.close(comm)


def tell(**news: Any) -> None:
    """One line to the launcher."""
    with contextlib.suppress(BrokenPipeError):
        _say(json.dumps(news).encode() + b"\n")


_line_fd = 1


def take_line() -> None:
    """Keep stdout for the launcher alone: from here on whatever else is printed goes to stderr."""
    global _line_fd
    _line_fd = os.dup(1)
    os.dup2(2, 1)


def wait_for_folder() -> tuple[Path, bytes]:
    """The run folder, and what has been read of stdin after it. Ends the process when nobody wants it."""
    heard = b""
    while b"\n" not in heard:
        data = os.read(0, 65536)
        if not data:
            sys.exit(0)
        heard += data
    line, _, rest = heard.partition(b"\n")
    return Path(json.loads(line)["folder"]), rest


def leave(code: int) -> NoReturn:
    """End without taking the interpreter and the network apart: that takes long."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _say(data: bytes) -> None:
    while data:
        data = data[os.write(_line_fd, data) :]


def main() -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # When the launcher is killed while one of us is stopped, the group is orphaned and hung up.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    take_line()
    _raise_file_limit()
    server = ForkServer(*wait_for_folder())
    try:
        with work_while_held(0):
            server.run = run = Prepared(server.folder, server.lifeline)
            run.manifest.write(server.folder)
            gc.freeze()
            gc.disable()
    except NeurobusError as error:
        tell(error=str(error), code=error.exit_code)
        sys.exit(error.exit_code)
    except OrphanedError:
        server.end()
        sys.exit(0)
    server.fork_bus()
    tell(built=asdict(roles.built(run.build, run.manifest)))
    try:
        server.serve()
    finally:
        server.end()
    leave(0)


if __name__ == "__main__":
    main()
