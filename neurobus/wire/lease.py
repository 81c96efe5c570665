"""The messages of a lease: what the bridge asks of a neuron's process, and what the process answers.

Arrays travel as bytes, little-endian: `keys` int64 `step << 32 | neuron`, all else float64 or int64 as said.
A claim names one request of one bridge for one board: `BRIDGE/TOKEN/NUMBER`. It is in every message but the
heartbeat; a process answers a claim that is not under way with `Refused`.
"""

from __future__ import annotations

from typing import Any

from msgspec import field

from neurobus.wire.message import (
    BRIDGE,
    LAUNCHER,
    PROCESS,
    ControlMessage,
    Count,
    Finite,
    ReportMessage,
    Step,
    Whole,
    row,
)

# -- from the bridge to the process ---------------------------------------------------------------


@row("lend", BRIDGE, PROCESS)
class RequestLease(ControlMessage):
    """Begin to keep inputs for a board that runs `model`; answered by `Granted` or `Refused`. `beat`: whose
    heartbeats keep the lease alive."""

    claim: str
    board: str
    model: str
    beat: str


@row("state", BRIDGE, PROCESS)
class AskState(ControlMessage):
    """Answered by `StateCopy`."""

    claim: str


@row("consent", BRIDGE, PROCESS)
class Acknowledge(ControlMessage):
    """Virtual clock, before the board owns: it has done this duty too, so the process may answer it."""

    claim: str
    number: Whole


@row("cede", BRIDGE, PROCESS)
class Cede(ControlMessage):
    """Publish no spike after `step`; answered by `Ceded`."""

    claim: str
    step: Whole


@row("mend", BRIDGE, PROCESS)
class Resync(ControlMessage):
    """The board's state at a step, for a shadow that disagreed: float64 state, weights and synapse states;
    answered by `Resynced`."""

    claim: str
    step: Whole
    state: bytes
    weight: bytes
    synapses: bytes


@row("weigh", BRIDGE, PROCESS)
class AskWeights(ControlMessage):
    """Answered by `ShadowWeights`: those of the shadow at `step`."""

    claim: str
    step: Whole


@row("release", BRIDGE, PROCESS)
class Release(ControlMessage):
    """The lease is over; answered by `Owner`. The board has told all it did up to `horizon` (a step).
    `weighed`, `off`: how many weights were compared, and how many were not the same."""

    claim: str
    horizon: Whole
    why: str = ""
    weighed: Whole | None = None
    off: Whole | None = None


@row("beat", BRIDGE, PROCESS)
class Heartbeat(ControlMessage):
    """To all that lease to one bridge: it lives. `at`: up to which step a neuron's board has told all."""

    at: dict[str, Whole]


# -- from the process to the bridge ---------------------------------------------------------------


@row("lent", PROCESS, BRIDGE)
class Granted(ReportMessage):
    """The neuron as a board needs it. `epoch`: the board's; `source`, `delay`, `receptor`: int64, one a
    synapse; delays in steps; `heard`: the streams it listens to; `errors`: the largest by fixed point."""

    claim: str
    epoch: Whole
    model: str
    params: dict[str, float]
    source: bytes
    delay: bytes
    receptor: bytes
    min_delay: Count
    max_delay: Count
    dt_ns: Count
    index: Count
    heard: list[str]
    errors: dict[str, float]


@row("refused", PROCESS, BRIDGE)
class Refused(ReportMessage):
    """No lease; `model`: what the neuron is."""

    claim: str
    why: str
    model: str


@row("state", PROCESS, BRIDGE)
class StateCopy(ReportMessage, omit_defaults=False):
    """The neuron at `step`, and what it has yet to feel: spikes as keys, pokes as rows `[step, neuron,
    weight]`. `step` None: it has not kept inputs for long enough; ask again."""

    claim: str
    step: Whole | None
    state: bytes = b""
    weight: bytes = b""
    synapses: bytes = b""
    keys: bytes = b""
    pokes: list[tuple[Whole, Whole, Finite]] = field(default_factory=list)
    errors: dict[str, float] = field(default_factory=dict)

    def payload(self) -> Any:
        return {"claim": self.claim, "step": None} if self.step is None else self


@row("ceded", PROCESS, BRIDGE | LAUNCHER)
class Ceded(ReportMessage):
    """From the step after `step` on the neuron is the board's, in `epoch`."""

    claim: str
    board: str
    epoch: Count
    step: Step
    errors: dict[str, float]


@row("disagreed", PROCESS, BRIDGE)
class Disagreed(ReportMessage):
    """Steps at which only the shadow, and only the board, fired."""

    claim: str
    shadow: list[Whole]
    board: list[Whole]


@row("mended", PROCESS, BRIDGE)
class Resynced(ReportMessage):
    """The shadow stands where the board stood at `step`, and has run on from there."""

    claim: str
    step: Whole


@row("weighed", PROCESS, BRIDGE)
class ShadowWeights(ReportMessage):
    """The weights (float64) of the shadow, which stands at `step`."""

    claim: str
    step: Whole
    weight: bytes


@row("shadow", PROCESS, BRIDGE)
class ShadowAnswer(ReportMessage):
    """Virtual clock: what the shadow would have answered to duty `number`. As `bus.Answer`."""

    claim: str
    number: Whole
    next_step: Whole
    keys: bytes
    sample_keys: bytes
    sample_mv: bytes


@row("owner", PROCESS, BRIDGE | LAUNCHER)
class Owner(ReportMessage):
    """The process owns its neuron, in `epoch`. `owned`: the board had owned it; then all the rest is told:
    since `step`; `late` spikes of the board's time were published late, the first by `waited_ms`."""

    epoch: Count
    by: str
    board: str
    claim: str
    why: str
    owned: bool
    step: Step | None = None
    late: Count | None = None
    waited_ms: Finite | None = None
    agreed: Count | None = None
    disagreements: Count | None = None
    weighed: Count | None = None
    off: Count | None = None
