"""How a process lends its neuron to a board and takes it back. Part of the runtime; the book is `loan.Loan`.

The process stays the authority on its neuron: it grants one claim at a time, it alone counts epochs on, and
when it hears nothing from the bridge for `SILENCE_S` (under the virtual clock `STALL_S`) it owns the neuron
again, whatever has happened there.

What the two say to each other stands in `neurobus.wire.lease`.

All frames of a bus come to everybody in one order. So what a bridge hears after its own `state` is exactly
what the state it is answered does not contain. And a process that takes its neuron back without a `release`
learns what the bridge has got through: it publishes an empty batch of the epoch to come, after which nobody
takes the board's spikes any more, and when it hears that itself it has heard all that anybody took.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from neurobus.errors import NeurobusError
from neurobus.events import Spikes
from neurobus.loading import load
from neurobus.network.held import fault
from neurobus.node.core import STEP_BITS, Core, Emission
from neurobus.node.loan import Keys, Loan, Stage
from neurobus.stateful_synapses import lay_out
from neurobus.wire import bus as wire
from neurobus.wire import lease
from neurobus.wire.message import ControlMessage
from neurobus.wire.reasons import Reason

if TYPE_CHECKING:
    from neurobus.node.runtime import Runtime


def _borrower(claim: str) -> str:
    """Who claims: a claim is the borrower's name, and a number of its own."""
    return claim.rpartition("/")[0]


def _longest(runtime: Runtime) -> int:
    return runtime.core.part.max_delay if isinstance(runtime.core, Core) else 0


SILENCE_S = 0.1
"""A bridge that has not been heard for so long is dead, or as good as that."""
STALL_S = 1.0
"""The same under the virtual clock, where all wait, and nothing comes late."""
PATIENCE_S = 10.0
"""The same before anything has changed hands: a board may be slow to prepare."""


class Lender:
    """The loan of one runtime, if there is one."""

    def __init__(self, runtime: Runtime):
        self._runtime = runtime
        self.loan: Loan | None = None
        self.shadow = False
        """Somebody else owns the neuron."""
        self._beat = ""
        self._beaten = 0.0
        self._twin: Core | None = None
        self._errors: dict[str, float] = {}
        self._last: tuple[int, int, Emission] | None = None
        self._held: tuple[int, int, Emission] | None = None
        """An answer of ours that waits for a board that does not own yet: the conductor goes no faster."""
        self._reclaiming: str | None = None
        """Why: the board's epoch is over, and the batch that says so is on its way to all, and to us."""
        self._ahead: Loan | None = None
        """One that is over, whose board had told more than there was yet: it ran ahead of time."""
        self._watching: asyncio.TimerHandle | None = None
        self._ceding: asyncio.TimerHandle | None = None
        self._disagreements = 0
        self._returned = 0

    def status(self) -> dict[str, Any]:
        """What a live view shows of it."""
        loan = self.loan
        return {
            "owner": loan.board if loan and self.shadow else None,
            "agreed": loan.agreed if loan else 0,
            "disagreements": self._disagreements + (loan.disagreements if loan else 0),
            "returned": self._returned,
        }

    @property
    def looks_on(self) -> bool:
        """Whether what the neuron hears and emits must pass through here."""
        if self._ahead is not None and self._runtime.core.k >= self._ahead.told:
            self._ahead = None
        return self.loan is not None or self._ahead is not None

    # -- controls ---------------------------------------------------------------------------------

    def control(self, message: ControlMessage) -> None:
        """A control of `wire.lease`; others are nothing to it. Raises Malformed."""
        if isinstance(message, lease.Heartbeat):
            self._hear_beat(message.at)
            return
        claim = getattr(message, "claim", None)
        if claim is None:
            return
        if isinstance(message, lease.RequestLease):
            self._lend(message)
        elif self.loan is None or self.loan.claim != claim:
            self._refuse(claim, "no such claim; the loan is over")
        else:
            self._of_loan(message)

    def _of_loan(self, message: ControlMessage) -> None:
        match message:
            case lease.AskState():
                self._give_state()
            case lease.Acknowledge():
                self._consent(message.number)
            case lease.Cede():
                self._cede(message.step)
            case lease.Resync():
                self._mend(message)
            case lease.AskWeights():
                self._weigh(message.step)
            case lease.Release():
                self._take_back(message.why, message.horizon, (message.weighed, message.off))

    def _refuse(self, claim: str, why: str) -> None:
        core = self._runtime.core
        model = core.part.model_name if isinstance(core, Core) else ""
        self._runtime.report(lease.Refused(claim, why, model))

    def _lend(self, asked: lease.RequestLease) -> None:
        claim, board, model, beat = asked.claim, asked.board, asked.model, asked.beat
        runtime, loan = self._runtime, self.loan
        if loan is not None and loan.claim != claim and _borrower(loan.claim) == _borrower(claim):
            self._take_back("the board asks anew")
            loan = None
        if loan is not None and loan.claim != claim:
            self._refuse(claim, f"'{runtime.role.ids[0]}' is on loan to {loan.board} already")
            return
        if (word := self._cannot()) is not None:
            self._refuse(claim, word)
            return
        core = runtime.core
        assert isinstance(core, Core)
        runtime.take_in()
        loan = Loan(claim, board, runtime.role.epoch + 1, runtime.step())
        loan.keep(np.frombuffer(core.dump()["keys"], np.int64))
        for k, what, i, value in core.dump()["plan"]:
            if what:
                loan.keep_poke(k, runtime.role.index[i % core.K], value)
        self.loan, self._beat = loan, beat
        self._twin, self._errors = None, {}
        runtime.bus.subscribe(wire.topic(wire.CONTROL, beat))
        if runtime.role.wall:
            runtime.bus.subscribe(wire.topic(wire.SPIKES, runtime.role.name))
        self._beaten = runtime.loop.time()
        self._watch()
        if core.part.model_name == model:
            self._lent(core)
            return
        # The board's model is loaded in a thread: the neuron goes on firing meanwhile.
        work = runtime.loop.run_in_executor(None, self._grow_twin, core, model)
        work.add_done_callback(lambda done: self._grown(claim, done))

    def _cannot(self) -> str | None:
        """Why no board could be this neuron, whatever its model."""
        runtime = self._runtime
        core, name = runtime.core, runtime.role.name
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
        if runtime.ended or not runtime.started:
            return "the run is at its end" if runtime.ended else "the run has not started"
        return None

    @staticmethod
    def _grow_twin(core: Core, name: str) -> tuple[Core, dict[str, float]]:
        """The same neuron as a board computes it, and the largest errors of its quantities. Raises ValueError
        or NeurobusError when a board cannot."""
        part = core.part
        chip: Any = load(name)
        if not hasattr(chip, "adopt"):
            raise NeurobusError(f"this board is a {name}; '{part.ids[0]}' is a {part.model_name}")
        if part.stateful:
            raise NeurobusError(
                f"'{part.ids[0]}' has synapses with memory of their own; use model = \"{name}\""
            )
        synapses = core.weights()
        params, errors = chip.adopt(part.model_name, part.params, part.dt_ns / 1e6, synapses.weight)
        if (word := chip.check(params)) is not None:
            raise NeurobusError(word)
        n = len(synapses.pre)
        each = {name: np.repeat(value, n) for name, value in params.items()}
        if (found := fault(chip, each, synapses.weight, synapses.receptor)) is not None:
            raise NeurobusError(found[1])
        none = np.zeros(n, np.int64)
        owned = lay_out(
            chip, 1, len(part.row) - 1, part.dt_ns, [], [], synapses.pre, none, synapses.receptor,
            synapses.delay, synapses.weight, none - 1, none,
        )  # fmt: skip
        twin = replace(
            part, model_name=name, model=chip, params=params, row=np.zeros_like(part.row), stateful=owned,
            target=part.target[:0], delay=part.delay[:0], weight=part.weight[:0],
        )  # fmt: skip
        return Core(twin), errors

    def _grown(self, claim: str, done: asyncio.Future[tuple[Core, dict[str, float]]]) -> None:
        loan = self.loan
        if loan is None or loan.claim != claim:
            return
        if (error := done.exception()) is not None:
            self._refuse(claim, " ".join(str(error).split()) or type(error).__name__)
            self._over()
            return
        self._twin, self._errors = done.result()
        self._lent(self._twin)

    def _lent(self, core: Core) -> None:
        loan, runtime, part = self.loan, self._runtime, core.part
        assert loan is not None
        synapses = core.weights()
        runtime.report(lease.Granted(
            claim=loan.claim, epoch=loan.epoch, model=part.model_name,
            params={name: float(values[0]) for name, values in part.params.items()},
            source=synapses.pre.astype(np.int64).tobytes(),
            delay=synapses.delay.astype(np.int64).tobytes(),
            receptor=synapses.receptor.astype(np.int64).tobytes(),
            min_delay=part.min_delay, max_delay=part.max_delay, dt_ns=part.dt_ns,
            index=int(part.index[0]), heard=runtime.role.spikes_heard, errors=self._errors,
        ))  # fmt: skip

    def _give_state(self) -> None:
        """The state at the step committed. A float neuron becomes its twin here."""
        loan, runtime = self.loan, self._runtime
        assert loan is not None
        if self._held is not None:  # the state contains that duty; nobody will consent to it any more
            self._consent(self._held[0])
        runtime.take_in()
        runtime.settle()
        core = runtime.core
        assert isinstance(core, Core)
        if core.k < loan.since + core.part.max_delay:
            runtime.report(lease.StateCopy(loan.claim, None))
            return
        if self._twin is not None:
            core = self._become_twin(core)
        keys, pokes = loan.inputs(core.k, core.part.max_delay)
        loan.beside = True
        runtime.report(lease.StateCopy(
            claim=loan.claim, step=core.k, state=core.state.tobytes(),
            weight=core.weights().weight.tobytes(), synapses=core.synapse_states().tobytes(),
            keys=keys.tobytes(), pokes=pokes, errors=self._errors,
        ))  # fmt: skip

    def _become_twin(self, core: Core) -> Core:
        loan, runtime, twin = self.loan, self._runtime, self._twin
        assert loan is not None and twin is not None
        model: Any = twin.part.model
        state, errors = model.adopted(
            twin.part.params, dict(zip(core.part.model.states(), core.state, strict=True))
        )
        self._errors = {**self._errors, **errors}
        keys, pokes = loan.inputs(core.k, core.part.max_delay)
        twin.late, twin.deliveries = core.late, core.deliveries
        twin.load_state(core.k, state, twin.weights().weight, twin.synapse_states(), keys, pokes)
        self._twin = None
        runtime.replace_core(twin)
        runtime.act()
        return twin

    # -- ownership ----------------------------------------------------------------------------------

    def _cede(self, step: int) -> None:
        loan, runtime = self.loan, self._runtime
        assert loan is not None
        if loan.stage is not Stage.PREPARING:
            return
        if not runtime.role.wall:
            loan.cede(runtime.core.k)
            self._ceded()
            return
        runtime.take_in()
        loan.cede(max(step, runtime.core.k, runtime.step()))
        when = runtime.time_of(loan.from_step + 1)
        self._ceding = runtime.loop.call_at(when, self._reach_cession)

    def _reach_cession(self) -> None:
        """The last step that is ours has passed: what fell into it is published, and nothing more can."""
        loan, runtime = self.loan, self._runtime
        if loan is None or loan.stage is not Stage.CEDING:
            return
        runtime.take_in()
        runtime.act()
        runtime.commit(loan.from_step)
        self._ceded()
        runtime.act()

    def _ceded(self) -> None:
        loan, runtime = self.loan, self._runtime
        assert loan is not None
        loan.stage, self.shadow = Stage.SHADOW, True
        runtime.report(lease.Ceded(loan.claim, loan.board, loan.epoch, loan.from_step, self._errors))

    def _take_back(self, why: str, horizon: int | None = None,
                   scales: tuple[int | None, int | None] = (None, None)) -> None:  # fmt: skip
        """Own the neuron again, now and from the exact state. Without a `horizon`: as far as we know it.
        `scales`: how many weights the bridge has compared, and how many were not the same."""
        loan, runtime = self.loan, self._runtime
        assert loan is not None
        if not self.shadow:
            self._publish(loan.withheld())  # after the last step that was ours, and no board has it now
            self._over()
            runtime.report(lease.Owner(
                runtime.role.epoch, "process", loan.board, loan.claim, why, owned=False))  # fmt: skip
            return
        runtime.take_in()
        late: list[int] = []
        if runtime.role.wall:
            runtime.settle()
            # What the board has told is told: run through it, so that none of it is found once more.
            loan.horizon = max(horizon or 0, loan.horizon)
            self._ahead = loan
            runtime.commit(min(loan.told, runtime.step()))
            loan.compare(loan.horizon, runtime.core.k)
            late = loan.withheld()
        runtime.own(loan.epoch + 1)
        self._publish(late)
        if self._last is not None:
            # Whether the bridge's answer to this duty came through is not known here. The conductor takes
            # one and drops the other; an epoch of its own keeps both accounts right.
            runtime.answer(*self._last)
            runtime.own(runtime.role.epoch + 1)
        now = runtime.step()
        late = [step for step in late if step < now]
        waited_ms = (now - late[0]) * runtime.role.dt_ns * 1e-6 if late else 0.0
        self._returned += 1
        self._over()
        runtime.report(lease.Owner(
            epoch=runtime.role.epoch, by="process", board=loan.board, claim=loan.claim, why=why, owned=True,
            step=now, late=len(late), waited_ms=round(waited_ms, 3), agreed=loan.agreed,
            disagreements=loan.disagreements, weighed=scales[0], off=scales[1],
        ))  # fmt: skip
        runtime.act()

    def _publish(self, steps: list[int]) -> None:
        if steps:
            index = self._runtime.role.index[0]
            self._runtime.count(len(steps))
            self._runtime.publish(np.array([step << STEP_BITS | index for step in steps], np.int64))

    def reclaim(self, why: str) -> None:
        """Take back what the bridge does not give."""
        if not (self.shadow and self._runtime.role.wall):
            self._take_back(why)
        elif self._reclaiming is None:
            self._reclaiming = why
            self._end_epoch()

    def _end_epoch(self) -> None:
        loan, runtime = self.loan, self._runtime
        assert loan is not None
        runtime.bus.send(wire.encode(Spikes(runtime.role.name, loan.epoch + 1, 0, [])))

    def _consent(self, number: int) -> None:
        held = self._held
        if held is not None and held[0] <= number:
            self._held = None
            self._runtime.answer(*held)

    def _over(self) -> None:
        """The loan is closed, and its inputs forgotten."""
        loan, runtime = self.loan, self._runtime
        assert loan is not None
        if self._held is not None:
            self._consent(self._held[0])
        self._disagreements += loan.disagreements
        self.loan, self.shadow, self._twin, self._last, self._reclaiming = None, False, None, None, None
        for timer in (self._watching, self._ceding):
            if timer is not None:
                timer.cancel()
        runtime.bus.unsubscribe(wire.topic(wire.CONTROL, self._beat))
        if runtime.role.wall:
            runtime.bus.unsubscribe(wire.topic(wire.SPIKES, runtime.role.name))

    def end(self) -> None:
        """The run is over for this process, which owns its neuron."""
        if self.loan is not None:
            self._take_back(Reason.RUN_ENDED.value)

    # -- side by side ---------------------------------------------------------------------------------

    def keep(self, keys: Keys, pokes: list[tuple[int, int, float]]) -> None:
        """What has arrived."""
        if self.loan is not None:
            self.loan.keep(keys)
            for poke in pokes:
                self.loan.keep_poke(*poke)

    def withhold(self, keys: Keys) -> Keys:
        """The part of what the neuron emitted that is ours to publish."""
        loan = self.loan
        if self._ahead is not None and self._ahead is not loan:
            keys = keys[[not self._ahead.has(step) for step in (keys >> STEP_BITS).tolist()]]
        if loan is None or loan.stage is Stage.PREPARING:
            return keys
        steps = keys >> STEP_BITS
        loan.fired(steps[steps > loan.from_step].tolist())
        return keys[steps <= loan.from_step]

    def heard(self, event: Spikes) -> None:
        """The board published spikes; our own come back to us too, and those of an epoch that is over."""
        loan = self.loan
        if loan is None:
            return
        if event.epoch == loan.epoch:
            runtime, index = self._runtime, self._runtime.role.index[0]
            steps = [t // runtime.role.dt_ns for t in event.t_ns]
            loan.heard(steps)
            runtime.count(len(steps))
            runtime.told(event.epoch, event.seq, np.array(steps, np.int64) << STEP_BITS | index)
        elif event.epoch == loan.epoch + 1 and self._reclaiming is not None:
            self._take_back(self._reclaiming)

    def _hear_beat(self, at: dict[str, int]) -> None:
        loan, runtime = self.loan, self._runtime
        if loan is None:
            return
        self._beaten = runtime.loop.time()
        step = at.get(runtime.role.name)
        if step is None or not self.shadow or not runtime.role.wall:
            return
        runtime.take_in()
        runtime.act()
        mine, theirs = loan.compare(step, runtime.core.k)
        loan.forget(runtime.core.k - 1_000_000_000 // runtime.role.dt_ns, _longest(runtime))
        if mine or theirs:
            runtime.report(lease.Disagreed(loan.claim, mine, theirs))

    def instead(self, number: int, next_step: int, keys: bytes, stimuli: Any, emission: Emission) -> bool:
        """Under the virtual clock the bridge answers, once board and shadow have both done the duty. While
        the neuron is ours still, so is the answer, but it waits for a board that runs beside; else False."""
        loan, runtime = self.loan, self._runtime
        assert loan is not None
        loan.keep(np.frombuffer(keys, np.int64))
        for step, neuron, weight in stimuli or ():
            loan.keep_poke(int(step), int(neuron), weight)
        loan.forget(runtime.core.k - 1_000_000_000 // runtime.role.dt_ns, _longest(runtime))
        if not self.shadow:
            if loan.beside:
                self._held = (number, next_step, emission)
            return loan.beside
        self._last = (number, next_step, emission)
        columns = (c.tobytes() for c in (emission.keys, emission.sample_keys, emission.sample_mv))
        self._runtime.report(lease.ShadowAnswer(loan.claim, number, next_step, *columns))
        return True

    def _mend(self, board: lease.Resync) -> None:
        """Stand where the board stood, and feel again what came since."""
        loan, runtime = self.loan, self._runtime
        core = runtime.core
        assert loan is not None and isinstance(core, Core)
        step = board.step
        try:
            state = np.frombuffer(board.state, np.float64).reshape(core.state.shape)
            weight = np.frombuffer(board.weight, np.float64)
            synapses = np.frombuffer(board.synapses, np.float64).reshape(core.synapse_states().shape)
            if weight.shape != core.weights().weight.shape:
                raise ValueError("weights of another neuron")
        except ValueError as error:
            raise wire.Malformed("not a state of this neuron") from error
        runtime.take_in()
        # What it would have done up to there is still compared; the rest is done anew.
        runtime.commit(step)
        now = core.k
        keys, pokes = loan.inputs(step, core.part.max_delay)
        core.load_state(step, state, weight, synapses, keys, pokes)
        loan.mine = [mine for mine in loan.mine if mine <= step]
        if now > step:
            runtime.commit(now)
        runtime.act()
        runtime.report(lease.Resynced(loan.claim, step))

    def _weigh(self, step: int) -> None:
        """What the shadow weighs where the board stood. Under the virtual clock it stands there already."""
        loan, runtime = self.loan, self._runtime
        assert loan is not None
        if runtime.role.wall and self.shadow:
            runtime.take_in()
            runtime.commit(min(step, runtime.step()))
        core = runtime.core
        assert isinstance(core, Core)
        weight = core.weights().weight
        runtime.report(lease.ShadowWeights(loan.claim, core.k, weight.tobytes()))

    # -- time -----------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Whether the bridge still beats. What waits at the socket is heard first: it may be we who slept."""
        loan, runtime = self.loan, self._runtime
        if loan is None:
            return
        patience_s = SILENCE_S if runtime.role.wall else STALL_S
        if loan.stage is Stage.PREPARING:
            patience_s = PATIENCE_S
        if self._reclaiming is not None:
            self._end_epoch()
        elif runtime.loop.time() - self._beaten > patience_s:
            runtime.hear()
            if self.loan is loan and runtime.loop.time() - self._beaten > patience_s:
                self.reclaim(f"the bridge has been silent for {patience_s * 1000:g} ms")
        if self.loan is loan:
            self._watching = runtime.loop.call_later(SILENCE_S / 4, self._watch)
