"""The lease of a neuron to a board, as the neuron's process keeps it: a state machine. Pure.

The process is the authority on its neuron: it grants one claim at a time, it alone counts epochs on, and when
it hears nothing from the bridge for `SILENCE_S` (virtual clock: `STALL_S`) it owns the neuron again, whatever
has happened there.

| stage      | who publishes the neuron's spikes                                                             |
|------------|-----------------------------------------------------------------------------------------------|
| OWN        | the process; nobody has a lease                                                               |
| PREPARING  | the process; it keeps what the neuron hears, for the board to catch up                        |
| CEDING     | agreed: the process up to and with step `from_step`, the board from there on                  |
| SHADOW     | the board; the process runs on with the same inputs and withholds its spikes                  |
| RECLAIMING | nobody any more: the process has ended the board's epoch and waits to hear its own word of it |

`LeaseProtocol.handle` takes an event and the moment, and yields instructions (`neurobus.node.lease_steps`).
Whoever runs it carries out each instruction before asking for the next, and sends back what it returns;
spikes that the neuron emits meanwhile pass through `withhold`. `TRANSITIONS` says what is done at which
stage; what is not listed there is passed over.

All frames of a bus come to everybody in one order. So what a bridge hears after its own `AskState` is exactly
what the state it is answered does not contain. And a process that takes its neuron back without a `Release`
learns what the bridge has got through: it publishes an empty batch of the epoch to come, after which nobody
takes the board's spikes any more, and when it hears that itself it has heard all that anybody took.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from neurobus.node import lease_steps as do
from neurobus.node.interface import STEP_BITS, Keys, Poke
from neurobus.node.lease_steps import Event, Moment, Steps, StepsToEpoch
from neurobus.node.shadow import Comparison, KeptInputs
from neurobus.wire import lease as messages
from neurobus.wire.reasons import Reason

SILENCE_S = 0.1
"""A bridge that has not been heard for so long is dead, or as good as that."""
STALL_S = 1.0
"""The same under the virtual clock, where all wait, and nothing comes late."""
PATIENCE_S = 10.0
"""The same before anything has changed hands: a board may be slow to prepare."""
WATCH_S = SILENCE_S / 4
"""How often a `Tick` is to come while there is a lease."""
FORGET_NS = 1_000_000_000


class Stage(Enum):
    OWN = "own"
    PREPARING = "preparing"
    CEDING = "ceding"
    SHADOW = "shadow"
    RECLAIMING = "reclaiming"


OURS = Stage.PREPARING, Stage.CEDING
THEIRS = Stage.SHADOW, Stage.RECLAIMING
LEASED = OURS + THEIRS


@dataclass(slots=True)
class Lease:
    """`claim` names who asked (one bridge and board); `epoch` is the board's; `since`: the step from which
    inputs are kept; `heartbeat`: the bridge whose heartbeats count, heard last at `heard_s`."""

    claim: str
    board: str
    epoch: int
    since: int
    heartbeat: str
    heard_s: float
    from_step: int = 0
    beside: bool = False
    """The board has been given the state: it runs beside the process, or catches up."""
    twin_waits: bool = False
    """The core becomes its twin when the state is asked for."""
    errors: dict[str, float] = field(default_factory=dict)
    comparison: Comparison = field(default_factory=Comparison)
    kept: KeptInputs = field(default_factory=KeptInputs)
    held: do.DutyDone | None = None
    """An answer of ours that waits for a board that does not own yet: the conductor goes no faster."""
    last: do.DutyDone | None = None
    """The last duty of which the bridge has been told."""
    reclaim_why: str = ""


class LeaseProtocol:
    """The lease of one neuron, if there is one. `max_delay` in steps."""

    def __init__(self, neuron: str, wall: bool, dt_ns: int, max_delay: int):
        self.neuron, self.wall, self.dt_ns, self.max_delay = neuron, wall, dt_ns, max_delay
        self.stage = Stage.OWN
        self.lease: Lease | None = None
        self._ahead: Comparison | None = None
        """Of a lease that is over, whose board had told more than there was yet: it ran ahead of time."""
        self._disagreements = self._returned = 0

    def handle(self, event: Event, now: Moment) -> Steps:
        """The instructions that follow from an event."""
        if isinstance(event, do.CLAIMED) and (self.lease is None or event.claim != self.lease.claim):
            yield do.Refuse(event.claim, "no such claim; the lease is over")
        elif (transition := TRANSITIONS.get((self.stage, type(event)))) is not None:
            yield from transition(self, event, now)

    @property
    def shadow(self) -> bool:
        """Whether somebody else owns the neuron."""
        return self.stage in THEIRS

    def looks_on(self, committed: int) -> bool:
        """Whether what the neuron hears and emits must pass through here."""
        if self._ahead is not None and committed >= self._ahead.told:
            self._ahead = None
        return self.lease is not None or self._ahead is not None

    def status(self) -> dict[str, Any]:
        """What a live view shows of it."""
        lease = self.lease
        return {
            "owner": lease.board if lease and self.shadow else None,
            "agreed": lease.comparison.agreed if lease else 0,
            "disagreements": self._disagreements + (lease.comparison.disagreements if lease else 0),
            "returned": self._returned,
        }

    def keep(self, keys: Keys, pokes: list[Poke]) -> None:
        """What the neuron hears."""
        if self.lease is not None:
            self.lease.kept.keep(keys, pokes)

    def withhold(self, keys: Keys) -> Keys:
        """The part of what the neuron emitted that is the process's to publish."""
        if self._ahead is not None:
            keys = keys[[not self._ahead.has(step) for step in (keys >> STEP_BITS).tolist()]]
        if self.lease is None or self.stage is Stage.PREPARING:
            return keys
        steps = keys >> STEP_BITS
        self.lease.comparison.fired(steps[steps > self.lease.from_step].tolist())
        return keys[steps <= self.lease.from_step]

    # -- transitions ----------------------------------------------------------------------------------

    @property
    def _under_way(self) -> Lease:
        assert self.lease is not None
        return self.lease

    def _grant(self, asked: do.Asked, now: Moment) -> Steps:
        request = asked.request
        if asked.obstacle is not None:
            yield do.Refuse(request.claim, asked.obstacle)
            return
        lease = Lease(request.claim, request.board, asked.epoch + 1, now.step, request.beat, now.time_s)
        lease.kept.keep(asked.keys, asked.pokes)
        self.lease, self.stage = lease, Stage.PREPARING
        yield do.Listen(request.beat)
        if asked.model == request.model:
            yield do.ReportNeuron(lease.claim, lease.epoch, lease.errors)
        else:
            lease.twin_waits = True
            yield do.MakeTwin(lease.claim, request.model)

    def _contend(self, asked: do.Asked, now: Moment) -> Steps:
        """A claim is its borrower's name and a number: the same borrower gives up its old claim."""
        lease, claim = self._under_way, asked.request.claim
        if lease.claim.rpartition("/")[0] != claim.rpartition("/")[0]:
            yield do.Refuse(claim, f"'{self.neuron}' is leased to {lease.board} already")
            return
        epoch = yield from self._end_lease("the board asks anew", now)
        yield from self._grant(asked._replace(epoch=epoch), now)

    def _twin_made(self, made: do.TwinMade, now: Moment) -> Steps:
        lease = self._under_way
        if made.claim == lease.claim:
            lease.errors = made.errors
            yield do.ReportNeuron(lease.claim, lease.epoch, lease.errors)

    def _twin_failed(self, failed: do.TwinFailed, now: Moment) -> Steps:
        if failed.claim == self._under_way.claim:
            yield do.Refuse(failed.claim, failed.why)
            yield from self._close()

    def _give_state(self, asked: messages.AskState, now: Moment) -> Steps:
        lease = self._under_way
        yield from self._answer_held(lease)  # the state contains that duty; nobody will acknowledge it
        committed = yield do.Settle()
        if committed < lease.since + self.max_delay:
            yield do.Report(messages.StateCopy(lease.claim, None))
            return
        keys, pokes = lease.kept.inputs(committed, self.max_delay)
        if lease.twin_waits:
            lease.twin_waits = False
            lease.errors = {**lease.errors, **(yield do.ReplaceCore(keys, pokes))}
        lease.beside = True
        yield do.ReportState(lease.claim, keys, pokes, lease.errors)

    def _acknowledge(self, acknowledge: messages.Acknowledge, now: Moment) -> Steps:
        lease = self._under_way
        if lease.held is not None and lease.held.number <= acknowledge.number:
            yield from self._answer_held(lease)

    def _cede(self, cede: messages.Cede, now: Moment) -> Steps:
        lease = self._under_way
        committed = yield do.Settle()
        lease.from_step = max(cede.step, committed, now.step) if self.wall else committed
        lease.comparison.horizon = lease.from_step
        self.stage = Stage.CEDING
        if self.wall:
            yield do.WakeAt(lease.from_step + 1)
        else:
            yield from self._hand_over(do.CessionReached(), now)

    def _hand_over(self, event: do.CessionReached, now: Moment) -> Steps:
        lease = self._under_way
        yield do.Settle()
        yield do.CommitTo(lease.from_step)
        self.stage = Stage.SHADOW
        yield do.Report(messages.Ceded(lease.claim, lease.board, lease.epoch, lease.from_step, lease.errors))

    def _alive(self, heartbeat: messages.Heartbeat, now: Moment) -> Steps:
        self._under_way.heard_s = now.time_s
        yield from ()

    def _compare(self, heartbeat: messages.Heartbeat, now: Moment) -> Steps:
        lease = self._under_way
        lease.heard_s = now.time_s
        horizon = heartbeat.at.get(self.neuron)
        if horizon is None or not self.wall:
            return
        committed = yield do.Settle()
        mine, theirs = lease.comparison.compare(horizon, committed)
        self._forget(lease, now)
        if mine or theirs:
            yield do.Report(messages.Disagreed(lease.claim, mine, theirs))

    def _resync(self, resync: messages.Resync, now: Moment) -> Steps:
        """Stand where the board stood, and feel again what came since."""
        lease, step = self._under_way, resync.step
        # What the shadow would have done up to there is still compared; the rest is done anew.
        yield do.Settle()
        committed = yield do.CommitTo(step)
        lease.comparison.mine = [mine for mine in lease.comparison.mine if mine <= step]
        yield do.LoadState(resync, *lease.kept.inputs(step, self.max_delay))
        yield do.CommitTo(committed)
        yield do.Report(messages.Resynced(lease.claim, step))

    def _weigh(self, asked: messages.AskWeights, now: Moment) -> Steps:
        if self.wall and self.shadow:
            yield do.Settle()
            yield do.CommitTo(min(asked.step, now.step))  # under the virtual clock it stands there already
        yield do.ReportWeights(asked.claim)

    def _own_spikes(self, spikes: do.OwnSpikes, now: Moment) -> Steps:
        """The board's; the process's own come back to it too, and those of an epoch that is over."""
        lease = self._under_way
        if spikes.epoch == lease.epoch:
            lease.comparison.heard(spikes.steps)
            yield do.CountBoardSpikes(spikes)

    def _own_spikes_reclaiming(self, spikes: do.OwnSpikes, now: Moment) -> Steps:
        if spikes.epoch == self._under_way.epoch + 1:
            yield from self._take_back(self._under_way.reclaim_why, now)
        else:
            yield from self._own_spikes(spikes, now)

    def _hold_answer(self, done: do.DutyDone, now: Moment) -> Steps:
        """The answer is the process's still, but it waits for a board that runs beside."""
        lease = self._under_way
        lease.kept.keep(done.keys, done.pokes)
        self._forget(lease, now)
        if lease.beside:
            lease.held = done
        else:
            yield do.Answer(done)

    def _divert_answer(self, done: do.DutyDone, now: Moment) -> Steps:
        """The bridge answers, once board and shadow have both done the duty."""
        lease = self._under_way
        lease.kept.keep(done.keys, done.pokes)
        self._forget(lease, now)
        lease.last = done
        yield do.ReportShadow(lease.claim, done)

    def _watch(self, tick: do.Tick, now: Moment) -> Steps:
        """Whether the bridge still lives."""
        patience_s = SILENCE_S if self.wall else STALL_S
        if self.stage is Stage.PREPARING:
            patience_s = PATIENCE_S
        if now.time_s - self._under_way.heard_s > patience_s:
            yield from self._reclaim(f"the bridge has been silent for {patience_s * 1000:g} ms", now)

    def _watch_reclaiming(self, tick: do.Tick, now: Moment) -> Steps:
        yield do.EndEpoch(self._under_way.epoch + 1)  # the last one may have been lost

    def _end_passed(self, event: do.EndPassed, now: Moment) -> Steps:
        yield from self._reclaim(Reason.RUN_ENDED.value, now)

    def _reclaim(self, why: str, now: Moment) -> Steps:
        """Take back what the bridge does not give."""
        if self.stage is Stage.SHADOW and self.wall:
            self.stage, self._under_way.reclaim_why = Stage.RECLAIMING, why
            yield do.EndEpoch(self._under_way.epoch + 1)
        else:
            yield from self._end_lease(why, now)

    def _released(self, release: messages.Release, now: Moment) -> Steps:
        yield from self._end_lease(release.why, now, release)

    def _run_ended(self, event: do.RunEnded, now: Moment) -> Steps:
        yield from self._end_lease(Reason.RUN_ENDED.value, now)

    def _end_lease(self, why: str, now: Moment, release: messages.Release | None = None) -> StepsToEpoch:
        if self.shadow:
            return (yield from self._take_back(why, now, release))
        lease = self._under_way
        yield from self._close()
        yield do.Report(messages.Owner(lease.epoch - 1, "process", lease.board, lease.claim, why, False))
        return lease.epoch - 1

    def _take_back(self, why: str, now: Moment, release: messages.Release | None = None) -> StepsToEpoch:
        """Own the neuron again, now and from the exact state. No `release`: as far as is known here."""
        lease, epoch, late = self._under_way, self._under_way.epoch + 1, list[int]()
        yield do.Settle()
        if self.wall:
            comparison = lease.comparison
            # What the board has told is told: run through it, so that none of it is found once more.
            comparison.horizon = max(release.horizon if release else 0, comparison.horizon)
            committed = yield do.CommitTo(min(comparison.told, now.step))
            comparison.compare(comparison.horizon, committed)
            self._ahead, late = comparison, comparison.withheld()
            lease.comparison.mine = []
        yield do.SetEpoch(epoch)
        if late:
            yield do.Publish(late)
        if lease.last is not None:
            # Whether the bridge's answer to this duty came through is not known here. The conductor takes
            # one and drops the other; an epoch of its own keeps both accounts right.
            yield do.Answer(lease.last)
            epoch += 1
            yield do.SetEpoch(epoch)
        late = [step for step in late if step < now.step]
        waited_ms = (now.step - late[0]) * self.dt_ns * 1e-6 if late else 0.0
        self._returned += 1
        yield from self._close()
        yield do.Report(messages.Owner(
            epoch, "process", lease.board, lease.claim, why, True, now.step, len(late), round(waited_ms, 3),
            lease.comparison.agreed, lease.comparison.disagreements,
            release.weighed if release else None, release.off if release else None,
        ))  # fmt: skip
        return epoch

    def _close(self) -> Steps:
        """The lease is over, and its inputs forgotten."""
        lease, owned = self._under_way, self.shadow
        self._disagreements += lease.comparison.disagreements
        self.lease, self.stage = None, Stage.OWN
        if not owned and (withheld := lease.comparison.withheld()):
            yield do.Publish(
                withheld
            )  # after the last step that was to be the process's; no board has it now
        yield from self._answer_held(lease)
        yield do.Unlisten(lease.heartbeat)

    def _answer_held(self, lease: Lease) -> Steps:
        if lease.held is not None:
            held, lease.held = lease.held, None
            yield do.Answer(held)

    def _forget(self, lease: Lease, now: Moment) -> None:
        lease.kept.forget(now.step - FORGET_NS // self.dt_ns, self.max_delay)


Transition = Callable[[LeaseProtocol, Any, Moment], Generator[do.Instruction, Any, Any]]
_P = LeaseProtocol
_TABLE: tuple[tuple[tuple[Stage, ...], type, Transition], ...] = (
    ((Stage.OWN,), do.Asked, _P._grant),
    (LEASED, do.Asked, _P._contend),
    ((Stage.PREPARING,), do.TwinMade, _P._twin_made),
    ((Stage.PREPARING,), do.TwinFailed, _P._twin_failed),
    (LEASED, messages.AskState, _P._give_state),
    (LEASED, messages.Acknowledge, _P._acknowledge),
    ((Stage.PREPARING,), messages.Cede, _P._cede),
    ((Stage.CEDING,), do.CessionReached, _P._hand_over),
    (OURS, messages.Heartbeat, _P._alive),
    (THEIRS, messages.Heartbeat, _P._compare),
    (LEASED, messages.Resync, _P._resync),
    (LEASED, messages.AskWeights, _P._weigh),
    (LEASED, messages.Release, _P._released),
    ((*OURS, Stage.SHADOW), do.OwnSpikes, _P._own_spikes),
    ((Stage.RECLAIMING,), do.OwnSpikes, _P._own_spikes_reclaiming),
    (OURS, do.DutyDone, _P._hold_answer),
    ((Stage.SHADOW,), do.DutyDone, _P._divert_answer),
    ((*OURS, Stage.SHADOW), do.Tick, _P._watch),
    ((Stage.RECLAIMING,), do.Tick, _P._watch_reclaiming),
    ((Stage.SHADOW,), do.EndPassed, _P._end_passed),
    (LEASED, do.RunEnded, _P._run_ended),
)
TRANSITIONS: dict[tuple[Stage, type], Transition] = {
    (stage, event): transition for stages, event, transition in _TABLE for stage in stages
}
