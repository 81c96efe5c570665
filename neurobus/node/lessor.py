"""What `neurobus.node.lease` decides, done: timers, the bus, the core of one process."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import Any, Protocol

import numpy as np

from neurobus.events import Spikes
from neurobus.model import Array
from neurobus.node import lease_steps as do
from neurobus.node.core import Core
from neurobus.node.interface import STEP_BITS, AnyCore, Emission, Keys
from neurobus.node.lease import WATCH_S, LeaseProtocol
from neurobus.node.outbox import Outbox
from neurobus.node.role import Bus, Role
from neurobus.node.twin import Errors, make_twin, stand_like
from neurobus.wire import bus as wire
from neurobus.wire import lease as messages
from neurobus.wire.message import ControlMessage, ReportMessage


class Host(Protocol):
    """The process whose neuron is leased."""

    role: Role
    core: AnyCore
    bus: Bus
    outbox: Outbox
    loop: asyncio.AbstractEventLoop
    ended: bool

    @property
    @abstractmethod
    def started(self) -> bool: ...

    @abstractmethod
    def step(self) -> int:
        """Where model time stands for this process."""

    @abstractmethod
    def time_of(self, step: int) -> float:
        """When a step is, on the event loop's clock (s)."""

    @abstractmethod
    def hear(self) -> None:
        """Take the frames that wait."""

    @abstractmethod
    def take_in(self) -> None:
        """Hand what was heard to the core."""

    @abstractmethod
    def settle(self) -> None:
        """Commit what nothing that may still arrive in time can change."""

    @abstractmethod
    def commit(self, step: int) -> None:
        """Commit up to `step`, whatever may arrive."""

    @abstractmethod
    def act(self) -> None:
        """Look ahead anew."""

    @abstractmethod
    def replace_core(self, core: Core) -> None: ...

    @abstractmethod
    def report(self, message: ReportMessage) -> None: ...


class Lessor:
    """The lease of one process, if there is one."""

    def __init__(self, host: Host):
        role, core = host.role, host.core
        longest = core.part.max_delay if isinstance(core, Core) else 0
        self._host = host
        self.protocol = LeaseProtocol(role.name, role.wall, role.dt_ns, longest)
        self._twin: Core | None = None
        self._timers: list[asyncio.TimerHandle] = []

    @property
    def active(self) -> bool:
        return self.protocol.lease is not None

    @property
    def shadow(self) -> bool:
        """Whether somebody else owns the neuron."""
        return self.protocol.shadow

    @property
    def looks_on(self) -> bool:
        """Whether what the neuron hears and emits must pass through here."""
        return self.protocol.looks_on(self._host.core.k)

    # -- what happens -----------------------------------------------------------------------------------

    def control(self, message: ControlMessage) -> None:
        """A message of the bridge; others are nothing to it. Raises Malformed."""
        if isinstance(message, messages.RequestLease):
            self._host.take_in()
            self.happened(self._asked(message))
            self._host.act()
            return
        if isinstance(message, messages.Resync) and isinstance(self._host.core, Core):
            board_state(self._host.core, message)
        if isinstance(message, do.MESSAGES):
            self.happened(message)

    def happened(self, event: do.Event) -> None:
        """Do what follows from an event."""
        host, settled = self._host, False
        steps = self.protocol.handle(event, do.Moment(host.loop.time(), host.step()))
        result: Any = None
        try:
            while True:
                instruction = steps.send(result)
                settled = settled or isinstance(instruction, do.Settle)
                result = self._execute(instruction)
        except StopIteration:
            pass
        if settled:
            host.act()

    def heard(self, event: Spikes) -> None:
        """Spikes of this neuron's own stream."""
        if self.active:
            dt = self._host.role.dt_ns
            self.happened(do.OwnSpikes(event.epoch, event.seq, [int(t) // dt for t in event.t_ns]))

    def duty_done(
        self, number: int, next_step: int, emission: Emission, keys: bytes, stimuli: list[list[float]] | None
    ) -> None:
        """What came of a duty (virtual clock), and the inputs it brought: answered here, or by the bridge."""
        pokes = [(int(step), int(neuron), weight) for step, neuron, weight in stimuli or ()]
        self.happened(do.DutyDone(number, next_step, emission, np.frombuffer(keys, np.int64), pokes))

    def _asked(self, request: messages.RequestLease) -> do.Asked:
        role, core = self._host.role, self._host.core
        if not isinstance(core, Core):
            return do.Asked(request, "", self._obstacle(), role.epoch, np.empty(0, np.int64), [])
        waiting = core.dump()
        pokes = [(k, role.index[i % core.K], value) for k, what, i, value in waiting["plan"] if what]
        keys = np.frombuffer(waiting["keys"], np.int64)
        return do.Asked(request, core.part.model_name, self._obstacle(), role.epoch, keys, pokes)

    def _obstacle(self) -> str | None:
        """Why no board could be this neuron, whatever its model."""
        host = self._host
        core, name = host.core, host.role.name
        if not isinstance(core, Core):
            return f"'{name}' is a source; a board runs a neuron"
        if core.K > 1:
            return f"'{name}' is {core.K} neurons in one process; a board is one: run.neurons_per_process = 1"
        if core.has_junctions:
            return f"'{name}' has electrical synapses, and a board hears spikes only"
        if core.recurrent:
            return f"'{name}' has a synapse onto itself, which a board does not hear"
        if np.any(core.part.background.rate_hz > 0):
            return f"'{name}' has background noise, which a board cannot draw; make it a source"
        if any(not what for _, what, _, _ in core.dump()["plan"]):
            return f"'{name}' has a current that changes with time, which a board does not know; use I_e"
        if host.ended or not host.started:
            return "the run is at its end" if host.ended else "the run has not started"
        return None

    # -- what is to be done ----------------------------------------------------------------------------

    def _execute(self, instruction: do.Instruction) -> Any:
        """Carry out one instruction; returns what the lease is to know of it."""
        host, core = self._host, self._host.core
        match instruction:
            case do.Report(message):
                self._host.report(message)
            case do.Settle():
                host.take_in()
                host.settle()
                return host.core.k
            case do.CommitTo(step):
                host.commit(step)
                return host.core.k
            case do.Publish(steps):
                host.outbox.count(self._keys(steps))
                host.outbox.publish(self._keys(steps))
            case do.CountBoardSpikes(spikes):
                keys = self._keys(spikes.steps)
                host.outbox.count(keys)
                host.outbox.note(spikes.epoch, spikes.seq, keys)
            case do.SetEpoch(epoch):
                host.outbox.set_epoch(epoch)
            case do.EndEpoch(epoch):
                host.bus.send(wire.encode(Spikes(host.role.name, epoch, 0, [])))
            case do.Answer(done):
                host.outbox.answer(done.number, done.next_step, done.emission)
            case do.ReportShadow(claim, done):
                out = done.emission
                columns = out.keys.tobytes(), out.sample_keys.tobytes(), out.sample_mv.tobytes()
                self._host.report(messages.ShadowAnswer(claim, done.number, done.next_step, *columns))
            case do.Refuse(claim, why):
                model = core.part.model_name if isinstance(core, Core) else ""
                self._host.report(messages.Refused(claim, why, model))
            case do.Listen(bridge):
                host.bus.subscribe(wire.topic(wire.CONTROL, bridge))
                if host.role.wall:
                    host.bus.subscribe(wire.topic(wire.SPIKES, host.role.name))
                self._timers = [host.loop.call_later(WATCH_S, self._tick)]
            case do.Unlisten(bridge):
                host.bus.unsubscribe(wire.topic(wire.CONTROL, bridge))
                if host.role.wall:
                    host.bus.unsubscribe(wire.topic(wire.SPIKES, host.role.name))
                for timer in self._timers:
                    timer.cancel()
                self._timers, self._twin = [], None
            case do.WakeAt(step):
                timer = host.loop.call_at(host.time_of(step), self.happened, do.CessionReached())
                self._timers.append(timer)
            case _ if isinstance(core, Core):
                return self._on_core(core, instruction)

    def _on_core(self, core: Core, instruction: do.Instruction) -> Any:
        """What only a neuron is told."""
        host = self._host
        match instruction:
            case do.MakeTwin(claim, model):
                # In a thread: the neuron goes on firing while the board's model is loaded.
                work = host.loop.run_in_executor(None, make_twin, core, model)
                work.add_done_callback(lambda made: self._made(claim, made))
            case do.ReplaceCore(keys, pokes):
                assert self._twin is not None
                twin, self._twin = self._twin, None
                errors = stand_like(twin, core, keys, pokes)
                host.replace_core(twin)
                return errors
            case do.ReportNeuron(claim, epoch, errors):
                self._report_neuron(self._twin or core, claim, epoch, errors)
            case do.ReportState(claim, keys, pokes, errors):
                self._host.report(messages.StateCopy(
                    claim, core.k, core.state.tobytes(), core.weights().weight.tobytes(),
                    core.synapse_states().tobytes(), keys.tobytes(), pokes, errors,
                ))  # fmt: skip
            case do.ReportWeights(claim):
                self._host.report(messages.ShadowWeights(claim, core.k, core.weights().weight.tobytes()))
            case do.LoadState(board, keys, pokes):
                core.load_state(board.step, *board_state(core, board), keys, pokes)
        return None

    def _report_neuron(self, core: Core, claim: str, epoch: int, errors: Errors) -> None:
        part, synapses = core.part, core.weights()
        self._host.report(messages.Granted(
            claim, epoch, part.model_name, {name: float(value[0]) for name, value in part.params.items()},
            synapses.pre.astype(np.int64).tobytes(), synapses.delay.astype(np.int64).tobytes(),
            synapses.receptor.astype(np.int64).tobytes(), part.min_delay, part.max_delay, part.dt_ns,
            int(part.index[0]), self._host.role.spikes_heard, errors,
        ))  # fmt: skip

    def _keys(self, steps: list[int]) -> Keys:
        return np.asarray(np.array(steps, np.int64) << STEP_BITS | self._host.role.index[0])

    def _made(self, claim: str, made: asyncio.Future[tuple[Core, Errors]]) -> None:
        lease = self.protocol.lease
        if lease is None or lease.claim != claim:
            return
        if (error := made.exception()) is not None:
            why = " ".join(str(error).split()) or type(error).__name__
            self.happened(do.TwinFailed(claim, why))
        else:
            self._twin, errors = made.result()
            self.happened(do.TwinMade(claim, errors))

    def _tick(self) -> None:
        lease = self.protocol.lease
        self._host.hear()
        if lease is self.protocol.lease:
            self._timers[0] = self._host.loop.call_later(WATCH_S, self._tick)
            self.happened(do.Tick())


def board_state(core: Core, board: messages.Resync) -> tuple[Array, Array, Array]:
    """State, weights and synapse states. Raises Malformed where they are not those of this neuron."""
    try:
        return (
            np.frombuffer(board.state).reshape(core.state.shape),
            np.frombuffer(board.weight).reshape(core.weights().weight.shape),
            np.frombuffer(board.synapses).reshape(core.synapse_states().shape),
        )
    except ValueError as error:
        raise wire.Malformed("not a state of this neuron") from error
