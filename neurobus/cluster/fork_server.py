"""The fork server: one process that imports, builds and compiles everything once, then forks the run.

    python -P -m neurobus.cluster.fork_server

Commands come as JSON lines on stdin, and the first names the run folder: the process may be started before
its launcher has one (`neurobus.cluster.spawning`). News leave as JSON lines on a descriptor that was stdout:
what a model prints goes to stderr. It is the parent of all
processes of the run and the only one that reaps them. When stdin ends (the launcher is gone, however)
it ends the run and removes the folder; when the fork server itself is killed, its children see their
lifeline end. So nothing is left behind whoever dies.
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

import numpy as np

from neurobus import __version__, config, modelpath, network, placement
from neurobus.bus import conductor as conducting
from neurobus.bus import hub
from neurobus.bus.conductor import Conductor, ConductorPlan
from neurobus.bus.peer import Endpoints, Peer
from neurobus.classroom.brain import INITIAL_WEIGHTS, weights_from, with_weights
from neurobus.cluster import folder as folders
from neurobus.cluster import room
from neurobus.cluster import state as states
from neurobus.cluster.levels import levels_mv
from neurobus.cluster.options import ObserverContext, Options
from neurobus.cluster.orphan import OrphanedError, hung_up, undisturbed, work_while_held
from neurobus.cluster.prewarm import filling, prewarm, prewarm_peer, repeats
from neurobus.describe import array_mb, told
from neurobus.errors import InputError, NeurobusError
from neurobus.guard import file_of
from neurobus.loading import compiling_fault
from neurobus.model import Model
from neurobus.network.held import grains
from neurobus.network.recorded import with_recorded
from neurobus.node.core import Core, SourceCore
from neurobus.node.kernel import loader
from neurobus.node.runtime import Role, Runtime
from neurobus.node.snapshot import read_snapshot
from neurobus.placement import Plan, Process
from neurobus.streams import drawn_otherwise

TERM_WAIT_S = 2.0
FORKS_BETWEEN_LOOKS = 64
HUB = "hub"


class ForkServer:
    """State of the one fork server of a run."""

    def __init__(self, folder: Path, unread: bytes = b""):
        self.folder, self.owner = folder, folders.owner_of(folder)
        self.options = Options.read(folder)
        self.endpoints = Endpoints.in_folder(folder)
        self.children: dict[int, str] = {}
        self.lifeline, self._lifeline_end = os.pipe()
        self.news, self._news_end = os.pipe()
        self._contexts: dict[str, ObserverContext] = {}
        self._code: dict[str, Callable[[ObserverContext], None]] = {}
        self._runtimes: list[Runtime] = []
        self._buffer = unread
        self._senders: dict[str, dict[str, Any]] = {}
        self.troubles = folders.state_dir()
        self.filling: list[list[object]] = []

    # -- building ---------------------------------------------------------------------------------

    def build(self) -> None:
        """Config, network, plan and compiled kernels. Raises InputError."""
        options = self.options
        self.state = Path(options.state) if options.state and options.snapshots else None
        self.resume_step: int | None = None
        if options.resume:
            self.resume_step = states.resume_step(Path(options.resume))
        if self.state is not None and not self._goes_on:
            states.refuse(self.state, None if options.state_by_name else options.source)
        modelpath.look_in(options.python_path)
        modelpath.leave_out(options.left_out)
        modelpath.guard(options.guarded)
        if options.config_file:
            self.config = config.load(options.config_file, options.overrides)
        else:
            assert options.config_text is not None
            self.config = config.loads(
                options.config_text, options.config_name, options.files, options.overrides
            )
        run = self.config.run
        self.clock = options.clock or run.clock
        built = network.build(self.config, options.seed)
        if word := drawn_otherwise(options.streams, built.drew):
            raise InputError(f"{word}; it cannot be resumed", options.resume)
        weights = options.weights or options.files.get(INITIAL_WEIGHTS)
        if weights is not None:
            built = with_weights(built, weights_from(weights))
        self.network = with_recorded(built, options.replaced)
        self.plan: Plan = placement.place(self.network, run.neurons_per_process, run.processes)
        n = len(self.plan.processes)
        for word in room.missing(n, self.network.n_neurons, array_mb(self.network, n), room.here()):
            raise InputError(word, self.config.path)
        if self.clock == "virtual" and self.plan.external:
            name = self.network.ids[min(self.plan.external)]
            raise InputError(
                f"source '{name}' is external, and the virtual clock knows no one outside; use --clock wall",
                self.config.path,
            )
        if options.resume and self.resume_step is not None:
            self._senders = senders(Path(options.resume), self.plan, self.resume_step)
        self._compile()
        self._grow()
        self._prewarm()
        for module, arguments in options.programs:
            name = module.rpartition(".")[2]
            self._code[name] = importlib.import_module(module).main
            self._contexts[name] = self._context(name, arguments)

    def take_state(self) -> None:
        """Make the state folder this run's; called once all else has succeeded. Every process of the run
        holds its lock, so none of them can write there when it is another's. Raises InputError."""
        if self.state is not None:
            self._lock = states.take(
                self.state, self.options.source, self.resume_step if self._goes_on else None
            )

    @property
    def _goes_on(self) -> bool:
        """Whether the run keeps its snapshots where it resumes from."""
        return (
            self.state is not None
            and bool(self.options.resume)
            and (self.state.resolve() == Path(self.options.resume or "").resolve())
        )

    def _compile(self) -> None:
        """Load the kernels of the models in use. One that is new is compiled by a child that ends then:
        the compiler's memory would be inherited by every neuron."""
        first = {(process.model, self.plan.types(process.number)): process.number
                 for process in reversed(self.plan.processes)}  # fmt: skip
        for (number, types), process in first.items():
            model, name = self.network.models[number], self.network.model_names[number]
            if not issubclass(model, Model):
                continue
            if loader.read(loader.object_path(name, model, types)) is None:
                tell(compiling=name)
                pid = os.fork()
                if pid == 0:
                    signal.signal(signal.SIGALRM, signal.SIG_DFL)
                    with contextlib.suppress(Exception):
                        Core(self.plan.neuron_part(process)).advance(1)
                    os._exit(0)
                try:
                    os.waitpid(pid, 0)
                except OrphanedError:
                    os.kill(pid, signal.SIGKILL)
                    raise
            try:
                Core(self.plan.neuron_part(process)).advance(1)
            except NeurobusError:
                raise
            except Exception as error:
                raise InputError(
                    f"model '{name}' does not compile: {compiling_fault(model, error)}", self.config.path
                ) from error

    def _context(self, name: str, arguments: dict[str, Any]) -> ObserverContext:
        net, run = self.network, self.config.run
        header = {
            "config_name": self.config.path.name if self.config.path else self.options.config_name,
            "config_text": self.config.text,
            "files": self.config.files
            | ({INITIAL_WEIGHTS: self.options.weights} if self.options.weights else {}),
            "overrides": list(self.config.overrides),
            "replaced": sorted(self.options.replaced),
            "seed": net.seed,
            "dt_ns": net.dt_ns,
            "clock": self.clock,
            "ids": net.ids,
            "n_neurons": net.n_neurons,
            "started_unix_ns": time.time_ns(),
            "groups": {name: members.tolist() for name, members in net.groups.items()},
        }
        streams = [p.name for p in self.plan.processes] + [net.ids[i] for i in sorted(self.plan.external)]
        single = {p.name: int(p.members[0]) for p in self.plan.processes if p.single}
        single |= {net.ids[i]: i for i in self.plan.external}
        arguments = {"on_log_failure": run.on_log_failure, **arguments}
        return ObserverContext(
            name, self.folder, self.endpoints.as_dict(), self.lifeline, arguments, header, streams, single
        )

    def manifest(self) -> folders.Manifest:
        net = self.network
        units = [
            net.models[m].weight_unit if m >= 0 and issubclass(net.models[m], Model) else ""
            for m in net.model_of.tolist()
        ]
        return folders.Manifest(
            name=self.folder.name,
            pid=os.getppid(),
            config=str(self.config.path or self.options.config_name),
            clock=self.clock,
            seed=net.seed,
            dt_ns=net.dt_ns,
            endpoints=self.endpoints.as_dict(),
            ids=net.ids,
            n_neurons=net.n_neurons,
            streams=self.plan.stream_of,
            processes=len(self.plan.processes),
            external=[net.ids[i] for i in sorted(self.plan.external)],
            weight_units=units,
            started_unix_ns=time.time_ns(),
            min_delay=net.min_delay,
            levels_mv=levels_mv(net),
            groups={name: members.tolist() for name, members in net.groups.items()},
            grains=grains(net),
        )

    # -- children ---------------------------------------------------------------------------------

    def fork(self, name: str, body: Callable[[], None]) -> None:
        """Fork a child that runs `body`. What it raises reaches the launcher as one line."""
        pid = os.fork()
        if pid:
            self.children[pid] = name
            return
        code = 1
        try:
            os.close(self._lifeline_end)
            os.close(self.news)
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

    def _wait_lifeline(self) -> None:
        select.select([self.lifeline], [], [])

    def _alive(self) -> bool:
        return not select.select([self.lifeline], [], [], 0)[0]

    def fork_bus(self) -> None:
        if self.clock == "wall":
            self.fork(
                HUB, lambda: hub.serve(self.endpoints, lambda: self._send_news(bound=HUB), self._hub_end)
            )
        else:
            self.fork(conducting.NAME, self._conduct)

    def _hub_end(self) -> None:
        self._wait_lifeline()
        folders.remove(self.folder, self.owner)

    def _conduct(self) -> None:
        conductor = Conductor(
            self._score(), self.endpoints, self._alive, self.lifeline, file_of(self.troubles, conducting.NAME)
        )
        self._send_news(bound=conducting.NAME)
        conductor.run()
        conductor.serve_until_exit()
        conductor.close()
        if not self._alive():
            folders.remove(self.folder, self.owner)

    def _score(self) -> ConductorPlan:
        plan, net = self.plan, self.network
        owner = {net.ids[i]: (p, i) for i, p in enumerate(plan.process_of.tolist()) if p >= 0}
        spike_targets, sample_targets = plan.targets()
        return ConductorPlan(
            names=[p.name for p in plan.processes],
            single=[p.single for p in plan.processes],
            sources=[plan.is_source(p.number) for p in plan.processes],
            dt_ns=net.dt_ns,
            min_delay=net.min_delay,
            spike_targets=spike_targets,
            sample_targets=sample_targets,
            owner=owner,
            begin=self.resume_step or 0,
            stimuli=[(t // net.dt_ns, name, weight) for t, name, weight in self.options.stimuli],
            snapshot_every_s=self.config.run.snapshot_every_ns * 1e-9 if self.state else 0.0,
            weighed=np.unique(plan.process_of[net.weighed]).tolist(),
            weigh_every=net.weight_interval,
        )

    def _grow(self) -> None:
        """Make every neuron's core and role here, before the fork: a child that makes its own copies
        850 shared pages on the way. Raises InputError, with the neuron's id."""
        for process in self.plan.processes:
            try:
                runtime = Runtime(self._role(process), self._core(process.number))
                runtime.prepare()
                runtime.core.look()
            except NeurobusError:
                raise
            except Exception as error:
                word = " ".join(f"{type(error).__name__}: {error}".split())[:300]
                raise InputError(f"neuron {process.name}: {word}") from error
            self._runtimes.append(runtime)

    def _prewarm(self) -> None:
        """Run what every neuron will run, for each kind of process once: see `neurobus.cluster.prewarm`."""
        times = repeats(len(self.plan.processes))
        kinds: dict[Any, Process] = {}
        for process in self.plan.processes:
            kinds.setdefault((process.model, self.plan.types(process.number)), process)
        for process in kinds.values():
            # What fails here will fail on the bus, where it is told.
            with undisturbed(), contextlib.suppress(Exception):
                prewarm(self._role(process), partial(self._core, process.number), times)
        prewarm_peer(self.endpoints, times)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def _core(self, number: int) -> Core | SourceCore:
        if self.plan.is_source(number):
            return SourceCore(self.plan.source_part(number))
        return Core(self.plan.neuron_part(number))

    def _role(self, process: Process) -> Role:
        plan, net, number = self.plan, self.network, process.number
        source = plan.is_source(number)
        return Role(
            name=process.name,
            ids=[net.ids[i] for i in process.members],
            index=process.members.tolist(),
            dt_ns=net.dt_ns,
            wall=self.clock == "wall",
            grace_ns=self.config.run.grace_ns,
            spikes_heard=[] if source else [s for s in plan.spikes_heard[number] if s != process.name],
            samples_heard=[] if source else [s for s in plan.samples_heard[number] if s != process.name],
            index_of=self.single_streams,
            n_ids=len(net.ids),
            sends_samples=not source and bool(plan.publishes_potential[process.members].any()),
            weighed=np.intersect1d(process.members, net.weighed).tolist(),
            weigh_every=net.weight_interval,
            snapshots=self.state,
            troubles=self.troubles,
            keeps=not source and self.clock == "wall" and self.state is not None and plan.learns(number),
        )

    def fork_node(self, number: int, epoch: int, restarted: bool) -> None:
        self.fork(self.plan.processes[number].name, lambda: self._node(number, epoch, restarted))

    def _node(self, number: int, epoch: int, restarted: bool) -> None:
        """A child's life. What it took from the fork server was never run, so a restart begins anew too."""
        runtime = self._runtimes[number]
        role = runtime.role
        if restarted or epoch != role.epoch:
            runtime.become(epoch, restarted)
        saved = None
        if restarted and self.state is not None:
            saved = read_snapshot(self.state, role.name)
        if saved is None and self.options.resume:
            saved = read_snapshot(Path(self.options.resume), role.name, self.resume_step)
            if saved is None:
                raise InputError(
                    f"no snapshot of '{role.name}' at step {self.resume_step} in {self.options.resume}"
                )
        if saved is not None:
            try:
                runtime.restore(saved, same_run=restarted)
                if not restarted:
                    runtime.feel(saved["ledgers"], self._senders)
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"snapshot of '{role.name}': {error}") from error
        if restarted and role.wall:
            # What it heard since its snapshot died with it: all of that is missing, and counted.
            for ledger, streams in (
                (runtime.ledger, role.spikes_heard),
                (runtime.sample_ledger, role.samples_heard),
            ):
                for stream in set(streams) - set(ledger.accounts):
                    ledger.expect(stream)
        runtime.run(Peer(self.endpoints), self.lifeline)

    def fork_program(self, name: str) -> None:
        self.fork(name, lambda: self._code[name](self._contexts[name]))

    # -- the loop ---------------------------------------------------------------------------------

    def serve(self) -> None:
        """Carry out commands and pass on news until stdin ends or `end` is asked."""
        wake, wake_end = os.pipe()
        os.set_blocking(wake_end, False)
        signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        os.set_blocking(self.news, False)
        while True:
            ready, _, _ = select.select([0, self.news, wake], [], [])
            if wake in ready:
                os.read(wake, 4096)
                self._reap()
            if self.news in ready:
                self._pass_on()
            if 0 in ready:
                data = os.read(0, 65536)
                if not data:
                    return
                *lines, self._buffer = (self._buffer + data).split(b"\n")
                for line in lines:
                    try:
                        if self._command(json.loads(line)):
                            return
                    except OSError as error:
                        tell(
                            error=f"a process could not be started: {error.strerror} (see ulimit -u)", code=4
                        )
                        return

    def _command(self, command: dict[str, Any]) -> bool:
        do = command["do"]
        if do == "fork":
            for name in self._code:
                self.fork_program(name)
            for process in self.plan.processes:
                self.fork_node(process.number, command["epoch"], False)
                if process.number % FORKS_BETWEEN_LOOKS == 0 and hung_up(0):
                    return True
        elif do == "restart":
            name = command["name"]
            if name in (HUB, conducting.NAME):
                self.fork_bus()
            elif name in self._code:
                self.fork_program(name)
            else:
                self.fork_node(self.plan.number_of[name], command["epoch"], True)
        return bool(do == "end")

    def _pass_on(self) -> None:
        with contextlib.suppress(BlockingIOError):
            _say(os.read(self.news, 65536))

    def _reap(self) -> None:
        """Tell who has ended, after what they themselves had to say of it."""
        ended = []
        with contextlib.suppress(ChildProcessError):
            while (child := os.waitpid(-1, os.WNOHANG))[0]:
                ended.append(child)
        self._pass_on()
        for pid, status in ended:
            name = self.children.pop(pid, None)
            if name is not None:
                tell(exit=name, pid=pid, code=os.waitstatus_to_exitcode(status))

    def end(self) -> None:
        """Terminate what still runs, then kill it, and remove the folder."""
        os.close(self._lifeline_end)
        give_up = time.monotonic() + TERM_WAIT_S
        killed = False
        while self.children:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid:
                self.children.pop(pid, None)
                continue
            if time.monotonic() > give_up and not killed:
                killed = True
                for pid in list(self.children):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)
        folders.remove(self.folder, self.owner)

    @property
    def single_streams(self) -> dict[str, int]:
        if not hasattr(self, "_single"):
            self._single = {p.name: int(p.members[0]) for p in self.plan.processes if p.single}
            self._single |= {self.network.ids[i]: i for i in self.plan.external}
        return self._single


def senders(folder: Path, plan: Plan, step: int) -> dict[str, dict[str, Any]]:
    """What each process had sent around a snapshot under the wall clock (`neurobus.node.cut`), by stream."""
    states = {process.name: read_snapshot(folder, process.name, step) for process in plan.processes}
    return {name: state["sent"] for name, state in states.items() if state and "sent" in state}


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
    fork_server = ForkServer(*wait_for_folder())
    try:
        with work_while_held(0):
            fork_server.build()
            fork_server.take_state()
            manifest = fork_server.manifest()
            manifest.write(fork_server.folder)
            # Everything made so far is shared with the children for as long as nobody writes to it.
            gc.collect()
            fork_server.filling = filling()
            gc.freeze()
            gc.disable()
    except NeurobusError as error:
        tell(error=str(error), code=error.exit_code)
        sys.exit(error.exit_code)
    except OrphanedError:
        fork_server.end()
        sys.exit(0)
    fork_server.fork_bus()
    tell(
        built={
            **asdict(manifest),
            "version": __version__,
            "resume_step": fork_server.resume_step or 0,
            "n_processes": len(fork_server.plan.processes),
            "restarts": fork_server.config.run.restarts,
            "snapshot_every_s": fork_server.config.run.snapshot_every_ns * 1e-9,
            "duration_ns": fork_server.config.run.duration_ns,
            "clock": fork_server.clock,
            "config_text": None,
            "skipped": fork_server.network.skipped,
            "told": list(told(fork_server.network)),
        }
    )
    try:
        fork_server.serve()
    finally:
        fork_server.end()
    leave(0)


if __name__ == "__main__":
    main()
