"""What the fork server does between building and forking, so that its children share more memory with it.

CPython rewrites the bytecode it runs, in place (the specializing interpreter, PEP 659). A child of a process
that has never run its code rewrites it in pages of its own. So the fork server runs that code first, on a bus
that follows a script. Free places in the pools of Python's allocator lie in shared pages too: it fills them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from neurobus.bus.peer import Endpoints, Peer
from neurobus.cluster import roles
from neurobus.cluster.build import Build
from neurobus.cluster.orphan import OrphanedError, undisturbed
from neurobus.errors import InputError, NeurobusError
from neurobus.events import Samples, Spikes
from neurobus.loading import compiling_fault
from neurobus.model import Model
from neurobus.node.core import Core
from neurobus.node.kernel import loader
from neurobus.node.process import Process, now_ns
from neurobus.node.role import Role
from neurobus.node.runtime import process_of
from neurobus.node.source_core import SourceCore
from neurobus.wire import bus as wire
from neurobus.wire import verbs
from neurobus.wire.message import Control

REPEATS = 12
"""CPython specializes what has run eight times."""
FEW = 16
"""Processes. For fewer of them, `REPEATS` lives cost more time than they save in pages."""
BEGUN = 10_000
"""Steps that a life under the wall clock has had before its first input; a second has many at a short dt."""
SHORTEST_NS = 10_000
"""Steps of a life under the wall clock take at least so long: those it falls behind meanwhile it computes."""


FILLING = 200
"""Objects of each size: about as many as are free. More of them change nothing."""


def repeats(processes: int) -> int:
    """How often to run the life of each kind of process. Once at least: what it loads is there for the first
    spike."""
    return REPEATS if processes >= FEW else 1


class ScriptedBus:
    """A bus that says what is in its script, a batch a wake, and sends a peer back its own hello."""

    def __init__(self, script: Iterable[list[bytes]], hello: bytes, attended: bool = False):
        self._script, self._hello, self._attended = iter(script), hello, attended
        self._batch: list[bytes] = []
        self.fd, self._end = os.pipe()
        os.write(self._end, b"!")  # always readable

    def send(self, data: bytes) -> None:
        if data.startswith(self._hello):
            self._batch.append(data)

    def subscribe(self, prefix: bytes) -> None: ...
    def unsubscribe(self, prefix: bytes) -> None: ...
    def patience(self, ms: int) -> None: ...

    def lines(self) -> tuple[int, ...] | None:
        """For compiled code that attends: the script, by functions of C that stand for ZeroMQ's. There is
        never anything to wait for."""
        if not self._attended or sys.platform != "linux":
            return None
        pointer, number = ctypes.c_void_p, ctypes.c_int
        made = (
            ctypes.CFUNCTYPE(number, pointer, pointer, number)(self._receive_at),
            ctypes.CFUNCTYPE(pointer, pointer)(lambda _: ctypes.addressof(self._frame)),
            ctypes.CFUNCTYPE(number, pointer, pointer, ctypes.c_size_t, number)(lambda *_: 0),
            ctypes.CFUNCTYPE(number, pointer, ctypes.c_ulong, pointer, pointer)(lambda *_: -1),
        )
        self._functions = made  # alive as long as this
        receive, data, send, poll = (ctypes.cast(one, pointer).value or 0 for one in made)
        clock = ctypes.cast(ctypes.CDLL(None).clock_gettime, pointer).value or 0
        return receive, data, send, 0, 0, 0, clock, poll

    def _receive_at(self, *_: object) -> int:
        data = self.receive()
        if data is None:
            return -1
        self._frame = ctypes.create_string_buffer(data, max(len(data), 1))
        return len(data)

    def receive(self) -> bytes | None:
        if self._batch:
            return self._batch.pop(0)
        self._batch = next(self._script, [])
        return None

    def linger(self) -> bytes | None:
        return self.receive()

    def converse(self, handle: Callable[[bytes], bool]) -> None:
        while (data := self.receive()) is not None:
            handle(data)

    def close(self) -> None:
        os.close(self.fd)
        os.close(self._end)


def live(role: Role, grow: Callable[[], Core | SourceCore], times: int) -> None:
    """Run a whole life as this role with cores that `grow` makes, so many times.
    Nothing but warm code is left."""
    dt_ns = max(role.dt_ns, SHORTEST_NS) if role.wall else role.dt_ns
    role = replace(role, snapshots=None, keeps=False, grace_ns=0, dt_ns=dt_ns)
    exit = wire.encode(Control(role.name, verbs.Exit()))
    t0_ns = now_ns() - BEGUN * role.dt_ns
    begin = wire.encode(Control(wire.EVERYONE, verbs.Start(t0_ns, None, None)))
    ask = wire.encode(Control(wire.EVERYONE, verbs.AskStatus(1)))
    for _ in range(times):
        play = _by_the_wall(role) if role.wall else _by_duties(role)
        script = [[], [begin], *play, [ask], [exit]]
        process_of(role, grow()).run(ScriptedBus(script, wire.topic(wire.HELLO, role.name), role.wall))


def _by_the_wall(role: Role) -> list[list[bytes]]:
    """One spike and one sample at a time, `BEGUN` steps after the start, then the end of all streams."""
    now, play = BEGUN * role.dt_ns, []
    spikes = next((name for name in role.spikes_heard if name in role.index_of), None)
    samples = next((name for name in role.samples_heard if name in role.index_of), None)
    for n in range(3):
        t = [now + n * role.dt_ns]
        if spikes is not None:
            play.append([wire.encode(Spikes(spikes, 0, n, t))])
        if samples is not None:
            play.append([wire.encode(Samples(samples, 0, n, t, [-60.0 - n]))])
    ends = [
        *(wire.encode(Spikes(name, 0, 3, [], None, True)) for name in role.spikes_heard),
        *(wire.encode(Samples(name, 0, 3, [], [], None, True)) for name in role.samples_heard),
    ]
    return [*play, [wire.encode(Control(wire.EVERYONE, verbs.Stop(step=1)))], [], ends]


def _by_duties(role: Role) -> list[list[bytes]]:
    topic = wire.topic(wire.DUTY, role.name)
    key = np.array([next(iter(role.index_of.values()), 0)], np.int64).tobytes()
    duties = [wire.duty(n, 10 * n, key if n % 2 else b"") for n in range(1, 4)]
    if role.samples_heard:
        duties.append(wire.duty(4, 40, b"", key, np.array([-60.0]).tobytes()))
    return [[topic + payload] for payload in [*duties, wire.duty(5, 50, b"", order=wire.Order.STOP)]]


def compile_models(build: Build, tell: Callable[[str], None]) -> None:
    """Load the kernels of the models in use. One that is new is compiled by a child, which ends then: the
    compiler's memory would be inherited by every neuron. `tell` hears its name. Raises InputError."""
    for process in build.one_of_each:
        model, name = build.network.models[process.model], build.network.model_names[process.model]
        if not issubclass(model, Model):
            continue
        if loader.read(loader.object_path(name, model, build.plan.types(process.number))) is None:
            tell(name)
            _compile_in_a_child(build, process.number)
        try:
            roles.core(build, process.number).advance(1)
        except NeurobusError:
            raise
        except Exception as error:
            fault = compiling_fault(model, error)
            raise InputError(f"model '{name}' does not compile: {fault}", build.config.path) from error


def _compile_in_a_child(build: Build, number: int) -> None:
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        with contextlib.suppress(Exception):
            roles.core(build, number).advance(1)
        os._exit(0)
    try:
        os.waitpid(pid, 0)
    except OrphanedError:
        os.kill(pid, signal.SIGKILL)
        raise


def grow(build: Build, troubles: Path) -> list[Process]:
    """Every process's core and runtime, by number: a child that made its own would copy 850 shared pages on
    the way. Raises InputError, with the neuron's id."""
    runtimes = []
    for process in build.plan.processes:
        try:
            runtime = process_of(roles.role(build, process, troubles), roles.core(build, process.number))
            runtime.prepare()
            runtime.core.look()
        except NeurobusError:
            raise
        except Exception as error:
            word = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise InputError(f"neuron {process.name}: {word}") from error
        runtimes.append(runtime)
    return runtimes


def prewarm(build: Build, endpoints: Endpoints, troubles: Path) -> None:
    """Run what every process will run, for each kind once or more."""
    times = repeats(len(build.plan.processes))
    for process in build.one_of_each:
        # What fails here will fail on the bus, where it is told.
        with undisturbed(), contextlib.suppress(Exception):
            live(roles.role(build, process, troubles), partial(roles.core, build, process.number), times)
    for _ in range(times):
        peer = Peer(endpoints)  # of a bus that is not there yet
        peer.subscribe(b"s/")
        peer.patience(0)
        peer.send(b"s/")
        peer.receive()
        peer.unsubscribe(b"s/")
        peer.close(0)
    # What a life's event loop has set.
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def filling() -> list[list[object]]:
    """Objects for the free places in the pools of Python's allocator, one for each multiple of 16 bytes up to
    512. What a child makes then lies together, and not in holes of shared pages."""
    rows: list[list[object]] = [[object() for _ in range(FILLING)], [float(i) for i in range(FILLING)]]
    for size in range(48, 513, 16):
        rows.append([bytes(size - sys.getsizeof(b"")) for _ in range(FILLING)])
    return rows
