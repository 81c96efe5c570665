"""What happens to a lease (events), and what is to be done (instructions): see `neurobus.node.lease`."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple

from neurobus.node.interface import Emission, Keys, Poke
from neurobus.wire import lease as messages
from neurobus.wire.message import ReportMessage


class Moment(NamedTuple):
    """`time_s`: of the event loop. `step`: where model time stands for this process."""

    time_s: float
    step: int


# -- events, beside the messages of the bridge -------------------------------------------------------


class Asked(NamedTuple):
    """A request for a lease, with what the neuron is: its model, why no board could be it (None: one could),
    the process's epoch, and the inputs that wait in it."""

    request: messages.RequestLease
    model: str
    obstacle: str | None
    epoch: int
    keys: Keys
    pokes: list[Poke]


class TwinMade(NamedTuple):
    """The neuron as the board computes it; `errors`: the largest of each quantity."""

    claim: str
    errors: dict[str, float]


class TwinFailed(NamedTuple):
    claim: str
    why: str


class CessionReached(NamedTuple):
    """The last step that is the process's has passed."""


class OwnSpikes(NamedTuple):
    """Wall clock: a batch of this neuron's own stream came, from here or from the bridge; `steps`."""

    epoch: int
    seq: int
    steps: list[int]


class DutyDone(NamedTuple):
    """Virtual clock: what came of a duty, and the inputs it brought."""

    number: int
    next_step: int
    emission: Emission
    keys: Keys
    pokes: list[Poke]


class Tick(NamedTuple):
    """Every `WATCH_S`, after all frames that waited were handled: it may be this process that slept."""


class EndPassed(NamedTuple):
    """A shadow has come to the end of the run, and its board has not given the neuron back."""


class RunEnded(NamedTuple):
    """The run is over for this process."""


Event = (
    Asked | TwinMade | TwinFailed | CessionReached | OwnSpikes | DutyDone | Tick | EndPassed | RunEnded
    | messages.AskState | messages.Acknowledge | messages.Cede | messages.Resync | messages.AskWeights
    | messages.Release | messages.Heartbeat
)  # fmt: skip
CLAIMED = (messages.AskState, messages.Acknowledge, messages.Cede, messages.Resync, messages.AskWeights,
           messages.Release)  # fmt: skip
MESSAGES = (*CLAIMED, messages.Heartbeat)

# -- instructions --------------------------------------------------------------------------------------


class Listen(NamedTuple):
    """Hear the heartbeats of this bridge, under the wall clock the neuron's own stream too; `Tick` begins."""

    bridge: str


class Unlisten(NamedTuple):
    """No more of `Listen`, `WakeAt` and `MakeTwin`."""

    bridge: str


class Report(NamedTuple):
    message: ReportMessage


class Refuse(NamedTuple):
    """Report `Refused`, with the model."""

    claim: str
    why: str


class MakeTwin(NamedTuple):
    """Build the neuron as `model`, beside; `TwinMade` or `TwinFailed` follows."""

    claim: str
    model: str


class ReplaceCore(NamedTuple):
    """The neuron becomes its twin, with these inputs still to be felt. Returns the errors of the state."""

    keys: Keys
    pokes: list[Poke]


class ReportNeuron(NamedTuple):
    """Report `Granted`, with what the neuron is."""

    claim: str
    epoch: int
    errors: dict[str, float]


class ReportState(NamedTuple):
    """Report `StateCopy` of the committed state, with the inputs still to be felt."""

    claim: str
    keys: Keys
    pokes: list[Poke]
    errors: dict[str, float]


class ReportWeights(NamedTuple):
    """Report `ShadowWeights` at the committed step."""

    claim: str


class ReportShadow(NamedTuple):
    """Report `ShadowAnswer`."""

    claim: str
    done: DutyDone


class WakeAt(NamedTuple):
    """`CessionReached` when this step has come."""

    step: int


class Settle(NamedTuple):
    """Take in what was heard, and commit what nothing that comes in time can change. Returns the step
    committed; when all instructions are carried out, the process looks ahead anew."""


class CommitTo(NamedTuple):
    """Run to this step, whatever may still arrive. Returns the step committed."""

    step: int


class LoadState(NamedTuple):
    """Stand at `step` with the board's state, and these inputs still to be felt."""

    state: messages.Resync
    keys: Keys
    pokes: list[Poke]


class Publish(NamedTuple):
    """Spikes at these steps, in the present epoch; they are counted."""

    steps: list[int]


class CountBoardSpikes(NamedTuple):
    """The board has published these as this neuron."""

    spikes: OwnSpikes


class SetEpoch(NamedTuple):
    """Speak in this epoch from here on. A new owner counts from zero."""

    epoch: int


class EndEpoch(NamedTuple):
    """Publish an empty batch of this epoch, the one to come."""

    epoch: int


class Answer(NamedTuple):
    """Tell the conductor what came of a duty."""

    done: DutyDone


Instruction = (
    Listen | Unlisten | Report | Refuse | MakeTwin | ReplaceCore | ReportNeuron | ReportState | ReportWeights
    | ReportShadow | WakeAt | Settle | CommitTo | LoadState | Publish | CountBoardSpikes | SetEpoch | EndEpoch
    | Answer
)  # fmt: skip
Steps = Generator[Instruction, Any, None]
StepsToEpoch = Generator[Instruction, Any, int]
"""Instructions, and the epoch in which the process speaks after them."""
