"""What several tests need: networks to try things on, a conductor without sockets, and runs to watch."""

from __future__ import annotations

import ctypes
import json
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from neurobus.bus.peer import Peer
from neurobus.bus.schedule import Schedule
from neurobus.cluster import folder as folders
from neurobus.config import loads
from neurobus.log import read
from neurobus.model import Synapse
from neurobus.network import Network, build
from neurobus.node.core import Core
from neurobus.node.interface import STEP_BITS, Emission, joined
from neurobus.node.kernel import layout as T
from neurobus.node.shadow import KeptInputs
from neurobus.node.source_core import SourceCore
from neurobus.placement import Plan, place
from neurobus.wire import bus as wire
from neurobus.wire import verbs
from neurobus.wire.message import Control, Report, fields

AHEAD = 1000
"""Steps that sources run ahead, as under the conductor."""


def net(text: str, seed: int | None = None) -> Network:
    """The network of a config in memory."""
    return build(loads(text, "test.toml", {}), seed)


def table(name: str, **keys: object) -> str:
    """A table `[[name]]` of a config. Text is quoted, unless it is an array, a table or a boolean."""
    return f"[[{name}]]\n" + _pairs(keys)


def run_table(**keys: object) -> str:
    return "[run]\n" + _pairs(keys)


def _pairs(keys: dict[str, object]) -> str:
    return "".join(f"{key} = {_toml(value)}\n" for key, value in keys.items())


def _toml(value: object) -> object:
    bare = not isinstance(value, str) or value[0] in "[{" or value in ("true", "false")
    return value if bare else f'"{value}"'


# -- networks in one process ----------------------------------------------------------------------


def cores_of(plan: Plan) -> list[Core | SourceCore]:
    return [
        SourceCore(plan.source_part(p.number))
        if plan.is_source(p.number)
        else Core(plan.neuron_part(p.number))
        for p in plan.processes
    ]


DUTY_TOPIC, ANSWER_TOPIC = wire.topic(wire.DUTY, "a"), wire.topic(wire.ANSWER, "a")


POINTER, INT = ctypes.c_void_p, ctypes.c_int


class Wires:
    """What ZeroMQ's functions do, with `inbox` and `outbox` for a socket each."""

    def __init__(self, inbox):
        self.inbox, self.outbox, self.recvs = list(inbox), [], 0
        self._frame = b""
        receive = ctypes.CFUNCTYPE(INT, POINTER, POINTER, INT)(self._receive)
        data = ctypes.CFUNCTYPE(POINTER, POINTER)(lambda _: ctypes.addressof(self._buffer))
        send = ctypes.CFUNCTYPE(INT, POINTER, POINTER, ctypes.c_size_t, INT)(self._send)
        self._kept = receive, data, send
        addresses = (ctypes.cast(function, POINTER).value for function in self._kept)
        self.lines = (*addresses, 11, 22, 33, 0, 0)

    def _receive(self, message, socket, flags):
        assert (message, socket, flags) == (11, 22, 0)
        self.recvs += 1
        if not self.inbox:
            return -1
        frame = self.inbox.pop(0)
        self._buffer = ctypes.create_string_buffer(frame, max(len(frame), 1))
        return len(frame)

    def _send(self, socket, address, size, flags):
        assert (socket, flags) == (33, 0)
        self.outbox.append(ctypes.string_at(address, size))
        return size


class Ensemble:
    """A network under the conductor's rule, its processes mere objects.

    `shuffle` draws the order in which a round's answers come in. What was emitted is in `emission`,
    in the order (step, neuron).
    """

    def __init__(
        self,
        network: Network,
        neurons_per_process: int = 1,
        states: Sequence[dict[str, Any]] = (),
        shuffle: random.Random | None = None,
    ):
        self.network, self.plan = network, place(network, neurons_per_process)
        self.cores = cores_of(self.plan)
        for core, state in zip(self.cores, states, strict=bool(states)):
            core.restore(state)
        self.begin = self.cores[0].k
        self.schedule = Schedule(len(self.cores), network.min_delay, *self.plan.targets())
        self.schedule.horizon = self.begin
        for p, core in enumerate(self.cores):
            self.schedule.bound[p] = max(1, core.look())
        self.duties = 0
        self._seq = [0] * len(self.cores)
        self._wires = Wires([])
        for core in self.cores:
            core.answers_as(ANSWER_TOPIC, 0)
            if isinstance(core, Core):
                core.bind_duties(DUTY_TOPIC, self._wires.lines)
        self._shuffle, self._parts = shuffle, list[Emission]()

    def poke(self, step: int, neuron: str, weight: float) -> None:
        index = self.network.ids.index(neuron)
        self.schedule.at(int(self.plan.process_of[index]), step, index, weight)

    def run(self, to: int) -> Ensemble:
        """Conduct until everybody stands at step `to`."""
        sources = np.array([p for p, core in enumerate(self.cores) if isinstance(core, SourceCore)], np.int64)
        while active := self.schedule.round(to):
            if not set(active).isdisjoint(sources.tolist()):
                active = self.schedule.joined(active, sources, min(self.schedule.horizon + AHEAD, to))
            if self._shuffle is not None:
                self._shuffle.shuffle(active)
            duties = [(p, self.schedule.take(p)) for p in active]
            for p, taken in duties:
                source = isinstance(self.cores[p], SourceCore)
                self._do(p, min(self.schedule.horizon + AHEAD * source, to), taken)
        for p in range(len(self.cores)):
            self._do(p, to, self.schedule.take(p), order=True)
        return self

    def _do(self, p: int, horizon: int, taken: tuple[Any, ...], order: bool = False) -> None:
        """What a process does with a duty."""
        self.duties += 1
        core = self.cores[p]
        number = core.duty_number + 1
        outcome = T.OTHER
        if isinstance(core, Core) and core.kernel_only:
            self._wires.inbox.append(DUTY_TOPIC + wire.duty(number, horizon, *taken))
            outcome = core.converse(True)
        if outcome == T.NOBODY:
            answer = wire.answer(self._wires.outbox.pop()[len(ANSWER_TOPIC) :])
            assert (answer.number, answer.seq) == (number, self._seq[p])
            emission, next_step = Emission(np.frombuffer(answer.keys, np.int64)), answer.next_step
            assert emission.first == answer.first
        elif outcome == T.TELL:
            emission, next_step = core.served()  # type: ignore[union-attr]
        else:
            core.duty_number = number
            emission, next_step = core.duty(horizon, *taken)
        if outcome != T.NOBODY:
            core.seq += len(emission.keys)
        self._seq[p] += len(emission.keys)
        assert not (order and emission), "emitted beyond its word"
        self._parts.append(emission)
        self.schedule.answer(
            p,
            next_step,
            emission.first,
            emission.keys.tobytes(),
            emission.sample_keys.tobytes(),
            emission.sample_mv.tobytes(),
        )

    @property
    def emission(self) -> Emission:
        return in_order(self._parts)

    def states(self) -> list[dict[str, Any]]:
        return [core.dump() for core in self.cores]

    def final_mv(self) -> list[float]:
        """Potentials at the end, by neuron index."""
        mv = np.zeros(len(self.network.ids))
        for process, core in zip(self.plan.processes, self.cores, strict=True):
            mv[process.members] = core.potential_mv()
        return mv.tolist()


def lock_step(network: Network, to: int, pokes: Sequence[tuple[int, str, float]] = ()) -> Emission:
    """The same network without any cleverness: one process per neuron, one smallest delay at a time,
    everything told to everybody."""
    plan = place(network)
    cores = cores_of(plan)
    for step, name, weight in pokes:
        index = network.ids.index(name)
        core = cores[plan.process_of[index]]
        assert isinstance(core, Core)
        core.poke(step, index, weight)
    parts = []
    told = [core.window for core in cores if isinstance(core, Core)]
    at_a_time = min(told, default=network.min_delay)
    for start in range(0, to, at_a_time):
        window = [core.advance(min(start + at_a_time, to)) for core in cores]
        parts += window
        for core in (core for core in cores if isinstance(core, Core)):
            for process, emission in zip(plan.processes, window, strict=True):
                if process.name != core.part.name:
                    core.admit(emission.keys)
                    core.admit_samples(emission.sample_keys, emission.sample_mv)
    return in_order(parts)


def in_order(parts: Sequence[Emission]) -> Emission:
    whole = joined(list(parts))
    order = np.argsort(whole.sample_keys, kind="stable")
    return Emission(np.sort(whole.keys), whole.sample_keys[order], whole.sample_mv[order])


def same(a: Emission, b: Emission) -> bool:
    """The same spikes and the same potentials, bit for bit."""
    return all(
        np.array_equal(getattr(a, name), getattr(b, name)) for name in ("keys", "sample_keys", "sample_mv")
    )


# -- runs in real processes -------------------------------------------------------------------------


def spikes_in(path: Path) -> list[tuple[int, str]]:
    """The spikes of a log as (t_ns, id), in order."""
    log = read(path)
    return sorted((t, log.header.ids[i]) for t, i in zip(log.spikes_t.tolist(), log.spikes_i, strict=True))


def until(true: Callable[[], Any], timeout_s: float = 40.0, what: str = "it") -> Any:
    """Wait for something to become true; returns it."""
    give_up = time.monotonic() + timeout_s
    while not (found := true()):
        if time.monotonic() > give_up:
            pytest.fail(f"waited {timeout_s:g} s for {what}")
        time.sleep(0.02)
    return found


@dataclass
class Ended:
    """How a run ended. `summary` is empty where it printed none."""

    code: int
    summary: dict[str, Any]
    err: str

    @property
    def lines(self) -> list[str]:
        return self.err.strip().splitlines()


def ended(code: int, out: str, err: str) -> Ended:
    last = out.strip().rpartition("\n")[2]
    return Ended(code, json.loads(last) if last else {}, err)


class Cluster:
    """A run under way, started with `neurobus.start("run", …, "--json")`, past its start barrier."""

    def __init__(self, process: subprocess.Popen[str]):
        self.process, self.pid = process, process.pid

        def started() -> folders.Manifest | None:
            assert process.poll() is None, process.communicate()
            return next((m for m in folders.running() if m.pid == self.pid and m.t0_ns is not None), None)

        self.manifest: folders.Manifest = until(started, 40, "the start")
        self.folder = folders.runtime_dir() / self.manifest.name
        (self.fork_server,) = psutil.Process(self.pid).children()

    def child(self, name: str) -> psutil.Process | None:
        """The process of that stream, of the hub or the conductor, or of the recorder ("recording")."""
        title = f"nb {name}"[:15]
        newest = None
        with suppress(psutil.NoSuchProcess):  # of the fork_server: the run is over
            for child in self.fork_server.children():
                with suppress(psutil.NoSuchProcess):
                    if child.name() == title and (not newest or child.create_time() > newest.create_time()):
                        newest = child
        return newest

    def kill(self, name: str) -> None:
        child = until(lambda: self.child(name), 10, f"a process {name}")
        child.send_signal(signal.SIGKILL)

    def stop(self) -> Ended:
        self.process.send_signal(signal.SIGINT)
        return self.end()

    def end(self, timeout_s: float = 40) -> Ended:
        out, err = self.process.communicate(timeout=timeout_s)
        return ended(self.process.returncode, out, err)

    @contextmanager
    def peer(self, observer: bool = True) -> Iterator[Peer]:
        peer = Peer(self.manifest.bus, observer)
        try:
            yield peer
        finally:
            peer.close()

    def status(self) -> dict[str, dict[str, Any]]:
        """What every process says of itself now, by stream."""
        streams = set(self.manifest.streams) - set(self.manifest.external)
        heard: dict[str, dict[str, Any]] = {}
        with self.peer() as peer:
            peer.subscribe(wire.REPORT + b"/")
            peer.join("test-status")
            peer.send(wire.encode(Control(wire.EVERYONE, verbs.AskStatus())))
            give_up = time.monotonic() + 10
            while streams - heard.keys() and time.monotonic() < give_up:
                data = peer.wait(0.2)
                event = wire.decode(data) if data is not None else None
                if isinstance(event, Report) and isinstance(event.message, verbs.Status):
                    heard[event.origin] = fields(event.message)
        return heard


def word(kind: bytes, name: str, verb: str, args: Any) -> bytes:
    """The frame of a control or report that may be none."""
    return wire.frame(wire.topic(kind, name), [verb, args])


FIGURES = dict.fromkeys(
    ("step", "agreed", "disagreements", "returned", "spikes", "deliveries", "samples", "late", "lost",
     "duplicates", "stale", "malformed", "cpu_s"), 0)  # fmt: skip


def status(counts: list[int], mv: list[float], **figures: Any) -> verbs.Status:
    """The answer of a process that counts nothing but `figures`."""
    return verbs.Status(**{"owner": None, **FIGURES, **figures}, counts=counts, mv=mv)


def final(**figures: Any) -> verbs.Final:
    """The last word of a process that counts nothing but `figures`."""
    none = {"owner": None, "counts": [], "gaps": {}, "unended": {}, "sent": (0, 0, 0)}
    return verbs.Final(**{**FIGURES, **none, **figures})


def inputs_of(core: Core, book: KeptInputs, number: Any, at: int) -> tuple[dict[int, list[int]], Any]:
    """Tick → places on a chip of the synapses by which kept spikes act from step `at` on; the pokes."""
    synapses, inputs = core.weights(), dict[int, list[int]]()
    kept, pokes = book.inputs(at, core.part.max_delay)
    for key in kept.tolist():
        stamp, source = key >> STEP_BITS, key & 0xFFFFFFFF
        for j in np.flatnonzero(synapses.pre == source).tolist():
            tick = stamp + int(synapses.delay[j]) - 1
            if tick >= at:
                inputs.setdefault(tick, []).append(int(number[j]))
    return inputs, pokes


class NoPeer:
    """A peer of no bus: it notes what it subscribes to."""

    fd = -1

    def __init__(self) -> None:
        self.subscribed: list[bytes] = []

    def subscribe(self, prefix: bytes) -> None:
        self.subscribed.append(prefix)

    def join(self, name: str) -> None: ...


def synapses_now(cores: list[Any]) -> dict[tuple[int, int], list[Any]]:
    """(source, neuron) → what its synapses with memory stand at: delay, weight, states."""
    found: dict[tuple[int, int], list[Any]] = {}
    for core in cores:
        if isinstance(core, Core) and core.part.stateful:
            owned, w = core.part.stateful, core.weights()
            for of in zip(w.pre, w.post, w.receptor, w.delay, w.weight, strict=True):
                found.setdefault(of[:2], []).append(tuple(of[2:]))
            for source, i, z in zip(owned.source, owned.neuron, core.synapse_states().T, strict=True):
                found.setdefault((source, core.part.index[i]), []).append(tuple(z))
    return {key: sorted(rows) for key, rows in sorted(found.items())}


def classes_in(folder: Path, base: Any) -> list[str]:
    """Dotted names of the files in `folder` that define a class of that kind; helpers do not."""
    names = [f"{folder.name}.{path.stem}" for path in sorted(folder.glob("*.py")) if path.stem != "__init__"]
    return [name for name in names
            if any(isinstance(value, type) and issubclass(value, base) and value.__module__ == name
                   for value in vars(import_module(name)).values())]  # fmt: skip


SYNAPSE_TYPES = classes_in(Path(__file__).parents[1] / "nodes", Synapse)
