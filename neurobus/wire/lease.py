"""The messages of a lease: what the bridge asks of a neuron's process, and what the process answers.

A message is a dataclass; its fields, in their order, are the arguments of a control or report. A field that
is None by default is not sent while it is None; one that is missing is read as its default. Arrays travel as
bytes, little-endian: `keys` int64 `step << 32 | neuron`, all else float64 or int64 as said.

A claim names one request of one bridge for one board: `BRIDGE/TOKEN/NUMBER`. It is in every message but the
heartbeat; a process answers a claim that is not under way with `Refused`.
"""

from __future__ import annotations

import types
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, Self, Union, get_args, get_origin, get_type_hints

from neurobus.events import Control, Report
from neurobus.wire.bus import Malformed, integer


@dataclass(frozen=True, slots=True)
class Message:
    """One verb with its arguments."""

    verb: ClassVar[str]

    def args(self) -> dict[str, Any]:
        """The arguments as they are sent."""
        values = {place.name: getattr(self, place.name) for place in fields(self)}
        return {
            place.name: values[place.name]
            for place in fields(self)
            if values[place.name] is not None or place.default is not None
        }

    @classmethod
    def read(cls, args: dict[str, Any]) -> Self:
        """From the arguments of a control or report. Raises Malformed."""
        kinds, found = _kinds(cls), {}
        for place in fields(cls):
            if place.name in args:
                found[place.name] = _checked(cls.verb, place.name, kinds[place.name], args)
            elif place.default is MISSING and place.default_factory is MISSING:
                raise Malformed(f"{cls.verb} without {place.name}")
        return cls(**found)

    def control(self, to: str) -> Control:
        return Control(to, self.verb, self.args())

    def report(self, origin: str) -> Report:
        return Report(origin, self.verb, self.args())


# -- from the bridge to the process ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RequestLease(Message):
    """Begin to keep inputs for a board that runs `model`; answered by `Granted` or `Refused`. `beat`: whose
    heartbeats keep the lease alive."""

    verb = "lend"
    claim: str
    board: str
    model: str
    beat: str


@dataclass(frozen=True, slots=True)
class AskState(Message):
    """Answered by `StateCopy`."""

    verb = "state"
    claim: str


@dataclass(frozen=True, slots=True)
class Acknowledge(Message):
    """Virtual clock, before the board owns: it has done this duty too, so the process may answer it."""

    verb = "consent"
    claim: str
    number: int


@dataclass(frozen=True, slots=True)
class Cede(Message):
    """Publish no spike after `step`; answered by `Ceded`."""

    verb = "cede"
    claim: str
    step: int


@dataclass(frozen=True, slots=True)
class Resync(Message):
    """The board's state at a step, for a shadow that disagreed: float64 state, weights and synapse states;
    answered by `Resynced`."""

    verb = "mend"
    claim: str
    step: int
    state: bytes
    weight: bytes
    synapses: bytes


@dataclass(frozen=True, slots=True)
class AskWeights(Message):
    """Answered by `ShadowWeights`: those of the shadow at `step`."""

    verb = "weigh"
    claim: str
    step: int


@dataclass(frozen=True, slots=True)
class Release(Message):
    """The lease is over; answered by `Owner`. The board has told all it did up to `horizon` (a step).
    `weighed`, `off`: how many weights were compared, and how many were not the same."""

    verb = "release"
    claim: str
    horizon: int
    why: str = ""
    weighed: int | None = None
    off: int | None = None


@dataclass(frozen=True, slots=True)
class Heartbeat(Message):
    """To all that lease to one bridge: it lives. `at`: up to which step a neuron's board has told all."""

    verb = "beat"
    at: dict[str, int]


# -- from the process to the bridge ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Granted(Message):
    """The neuron as a board needs it. `epoch`: the board's; `source`, `delay`, `receptor`: int64, one a
    synapse; delays in steps; `heard`: the streams it listens to; `errors`: the largest by fixed point."""

    verb = "lent"
    claim: str
    epoch: int
    model: str
    params: dict[str, float]
    source: bytes
    delay: bytes
    receptor: bytes
    min_delay: int
    max_delay: int
    dt_ns: int
    index: int
    heard: list[str]
    errors: dict[str, float]


@dataclass(frozen=True, slots=True)
class Refused(Message):
    """No lease; `model`: what the neuron is."""

    verb = "refused"
    claim: str
    why: str
    model: str


@dataclass(frozen=True, slots=True)
class StateCopy(Message):
    """The neuron at `step`, and what it has yet to feel: spikes as keys, pokes as rows `[step, neuron,
    weight]`. `step` None: it has not kept inputs for long enough; ask again."""

    verb = "state"
    claim: str
    step: int | None
    state: bytes = b""
    weight: bytes = b""
    synapses: bytes = b""
    keys: bytes = b""
    pokes: list[Any] = field(default_factory=list)
    errors: dict[str, float] = field(default_factory=dict)

    def args(self) -> dict[str, Any]:
        return {"claim": self.claim, "step": None} if self.step is None else Message.args(self)


@dataclass(frozen=True, slots=True)
class Ceded(Message):
    """From the step after `step` on the neuron is the board's, in `epoch`."""

    verb = "ceded"
    claim: str
    board: str
    epoch: int
    step: int
    errors: dict[str, float]


@dataclass(frozen=True, slots=True)
class Disagreed(Message):
    """Steps at which only the shadow, and only the board, fired."""

    verb = "disagreed"
    claim: str
    shadow: list[int]
    board: list[int]


@dataclass(frozen=True, slots=True)
class Resynced(Message):
    """The shadow stands where the board stood at `step`, and has run on from there."""

    verb = "mended"
    claim: str
    step: int


@dataclass(frozen=True, slots=True)
class ShadowWeights(Message):
    """The weights (float64) of the shadow, which stands at `step`."""

    verb = "weighed"
    claim: str
    step: int
    weight: bytes


@dataclass(frozen=True, slots=True)
class ShadowAnswer(Message):
    """Virtual clock: what the shadow would have answered to duty `number`. As `bus.Answer`."""

    verb = "shadow"
    claim: str
    number: int
    next_step: int
    keys: bytes
    sample_keys: bytes
    sample_mv: bytes


@dataclass(frozen=True, slots=True)
class Owner(Message):
    """The process owns its neuron, in `epoch`. `owned`: the board had owned it; then all the rest is told:
    since `step`; `late` spikes of the board's time were published late, the first by `waited_ms`."""

    verb = "owner"
    epoch: int
    by: str
    board: str
    claim: str
    why: str
    owned: bool
    step: int | None = None
    late: int | None = None
    waited_ms: float | None = None
    agreed: int | None = None
    disagreements: int | None = None
    weighed: int | None = None
    off: int | None = None


CONTROLS: dict[str, type[Message]] = {
    kind.verb: kind
    for kind in (RequestLease, AskState, Acknowledge, Cede, Resync, AskWeights, Release, Heartbeat)
}
REPORTS: dict[str, type[Message]] = {
    kind.verb: kind
    for kind in (
        Granted, Refused, StateCopy, Ceded, Disagreed, Resynced, ShadowWeights, ShadowAnswer, Owner,
    )
}  # fmt: skip


def of_control(event: Control) -> Message | None:
    """The message in a control, None where it is none of a lease. Raises Malformed."""
    kind = CONTROLS.get(event.verb)
    return None if kind is None else kind.read(event.args)


def of_report(event: Report) -> Message | None:
    """The message in a report, None where it is none of a lease. Raises Malformed."""
    kind = REPORTS.get(event.verb)
    return None if kind is None else kind.read(event.data)


def _kinds(cls: type[Message]) -> dict[str, Any]:
    if cls not in _KINDS:
        _KINDS[cls] = get_type_hints(cls)
    return _KINDS[cls]


_KINDS: dict[type[Message], dict[str, Any]] = {}


def _checked(verb: str, name: str, kind: Any, args: dict[str, Any]) -> Any:
    value, choices = args[name], get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    if value is None and type(None) in choices:
        return None
    plain = get_origin(choices[0]) or choices[0]
    if plain is int:
        return integer(args, name)
    if plain is float and type(value) is int:
        return float(value)
    if type(value) is not plain or not _elements_are(value, get_args(choices[0])):
        raise Malformed(f"{verb}: {name} is no {plain.__name__}")
    return value


def _elements_are(value: Any, kinds: tuple[Any, ...]) -> bool:
    """Whether a list or dict holds what its type says; rows in a list are checked by who takes them."""
    if not kinds or kinds[-1] is Any:
        return True
    if isinstance(value, dict):
        return all(type(key) is str for key in value) and _elements_are([*value.values()], kinds[-1:])
    allowed = (int, float) if kinds[-1] is float else kinds[-1:]
    return all(type(element) in allowed for element in value)
