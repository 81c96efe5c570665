"""Controls and reports: the table of verbs, with who sends each, who acts on it, and its typed fields.

    bus.send(encode(Control(EVERYONE, verbs.Stop(step=3000))))

    match event.message:
        case verbs.Stop(step=int(step)): ...

Rows of the lease of a neuron to a board stand in `lease`. To add a verb: a class here, one place that makes
it, one that matches it; `tests/unit/test_verbs.py` asks for an example of its bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from neurobus.wire import lease as lease
from neurobus.wire.message import (
    BRIDGE,
    CONDUCTOR,
    LAUNCHER,
    OBSERVER,
    PROCESS,
    PROGRAM,
    ControlMessage,
    Count,
    Finite,
    ReportMessage,
    Step,
    Whole,
    row,
)  # fmt: skip

Byte = Annotated[int, Meta(ge=0, le=255)]
Colour = tuple[Byte, Byte, Byte]

# -- the run ------------------------------------------------------------------------------------------------


@row("start", LAUNCHER, PROCESS | CONDUCTOR | BRIDGE)
class Start(ControlMessage):
    """The run begins. `t0_ns`: the host's clock at model time 0. `stop_step`: nobody goes beyond it."""

    t0_ns: Whole
    stop_step: Whole | None
    pace: Finite | None


@row("stop", LAUNCHER, PROCESS | CONDUCTOR | PROGRAM | BRIDGE)
class Stop(ControlMessage):
    """Run to `step` and end (wall clock; the conductor chooses one), or: the run has ended at `end_ns`."""

    step: Whole | None = None
    end_ns: Whole | None = None


@row("exit", LAUNCHER, PROCESS | CONDUCTOR | BRIDGE)
class Exit(ControlMessage):
    """End the process."""


@row("snapshot", LAUNCHER, PROCESS)
class TakeSnapshot(ControlMessage):
    """Wall clock: write the state at this step."""

    step: Whole


@row("report", OBSERVER, PROCESS | CONDUCTOR)
class AskStatus(ControlMessage):
    """Answered by `Status` or `ConductorStatus`. `step`: potentials as of then."""

    step: Whole | None = None


@row("weights", OBSERVER, PROCESS)
class AskWeights(ControlMessage):
    """Answered by `Weights`: of one neuron of the process, or of all."""

    neuron: str | None = None


class Guest(Struct):
    """What a neuron started by hand tells of itself. `level_mv`: potential at rest and threshold; `grain`:
    unit and largest number of units of a poke, as `Manifest` has them."""

    neuron: bool
    unit: str = ""
    level_mv: tuple[Finite, Finite] | None = None
    grain: tuple[Finite, Whole] | None = None


@row("ready", PROCESS | PROGRAM | BRIDGE, LAUNCHER | CONDUCTOR | BRIDGE | PROGRAM)
class Ready(ReportMessage, kw_only=True):
    """It hears the bus, and the bus hears it. Processes: `next_step` is the earliest at which it emits."""

    next_step: Whole | None = None
    pid: Count
    epoch: Whole | None = None
    guest: Guest | None = None


class Figures(ReportMessage):
    """What a process counts. `step`: committed up to there. `owner`: the board that owns its neuron."""

    step: Whole
    owner: str | None
    agreed: Count
    disagreements: Count
    returned: Count
    spikes: Count
    deliveries: Count
    samples: Count
    late: Count
    lost: Count
    duplicates: Count
    stale: Count
    malformed: Count
    cpu_s: Finite


@row("status", PROCESS, OBSERVER)
class Status(Figures):
    """`counts`, `mv`: spikes and potential of each neuron here."""

    counts: list[Count]
    mv: list[float]


@row("final", PROCESS, LAUNCHER)
class Final(Figures):
    """The last word of a process. `unended`: kind → stream → (epoch, next seq) of streams whose end it never
    heard; `sent`: epoch, spikes and samples in it."""

    counts: list[Count]
    gaps: dict[str, dict[str, Whole]]
    unended: dict[str, dict[str, tuple[Whole, Whole]]]
    sent: tuple[Whole, Whole, Whole]


class Totals(Struct):
    """Sums over accounts, as `Ledger.totals` has them."""

    received: Count
    lost: Count
    duplicates: Count
    stale: Count


class ConductorFigures(ReportMessage):
    """What the conductor counts, over the accounts of spikes and of samples."""

    step: Whole
    rounds: Count
    duties: Count
    malformed: Count
    ledger: Totals
    gaps: dict[str, dict[str, Whole]]
    samples: Totals


@row("status", CONDUCTOR, OBSERVER)
class ConductorStatus(ConductorFigures):
    """The answer to `AskStatus`."""


@row("final", CONDUCTOR, LAUNCHER)
class ConductorFinal(ConductorFigures):
    """The run is over at `step`."""


class _Farewell(Struct):
    path: str | None = None
    lost: Count = 0
    notes: list[str] = []
    boards: list[dict[str, Any]] | None = None


@row("final", PROGRAM | BRIDGE, LAUNCHER)
class Farewell(ReportMessage):
    """The last word of a program: figures by names of its own. Of these `path` (its file), `lost`, `notes`
    (lines for a person) and `boards` (rows of the bridge) mean the same in all."""

    figures: dict[str, Any]

    def payload(self) -> dict[str, Any]:
        return self.figures

    @classmethod
    def reader(cls) -> Callable[[bytes | msgspec.Raw], Any]:
        check = msgspec.msgpack.Decoder(_Farewell).decode
        whole = msgspec.msgpack.Decoder(dict[str, Any]).decode
        return lambda packed: (check(packed), cls(whole(packed)))[1]


@row("weights", PROCESS, OBSERVER)
class Weights(ReportMessage):
    """Synapses as columns: indices of both ends, receptor, delay in steps, weight in the neuron's unit, and
    the place of its type in `types`."""

    step: Whole
    types: list[str]
    pre: list[Whole]
    post: list[Whole]
    receptor: list[Whole]
    delay: list[Whole]
    weight: list[float]
    kind: list[Whole]


@row("recorded", PROCESS, PROGRAM)
class RecordedWeights(ReportMessage):
    """Weights for a log: `pre`, `post` little-endian uint32, `weight` float64."""

    step: Step
    t_ns: Count
    pre: bytes
    post: bytes
    weight: bytes


@row("saved", PROCESS, LAUNCHER)
class Saved(ReportMessage):
    """Its snapshot of this step is written."""

    step: Whole


@row("snapshot", CONDUCTOR, PROGRAM)
class SnapshotTaken(ReportMessage):
    """All have written theirs, or are about to."""

    step: Whole


@row("trouble", PROCESS | CONDUCTOR | PROGRAM | BRIDGE, LAUNCHER | PROGRAM)
class Trouble(ReportMessage):
    """A line for a person. `stop`: the run is to end."""

    what: str
    stop: bool = False


# -- the bridge ---------------------------------------------------------------------------------------------


@row("farewell", LAUNCHER, BRIDGE)
class AskFarewell(ControlMessage):
    """The run is summed up; answered by `Farewell`."""


class Request(ControlMessage, kw_only=True):
    """Answered by `Answer`. `request` is its name, which the client gives."""

    request: str = ""


class Chosen(Request, kw_only=True):
    """`which`: a neuron or port; None: all boards."""

    which: str | None = None


@row("attach", OBSERVER, BRIDGE)
class Attach(Request, kw_only=True):
    """Answered when the board owns the neuron, or cannot."""

    port: str
    neuron: str
    baud: Count | None = None
    lag_ms: Finite | None = None


@row("detach", OBSERVER, BRIDGE)
class Detach(Chosen):
    """Give neurons back to their processes."""


@row("boards", OBSERVER, BRIDGE)
class ListBoards(Request):
    """A row of figures for each board."""


@row("identify", OBSERVER, BRIDGE)
class Identify(Chosen, kw_only=True):
    """Let strips blink."""

    seconds: Annotated[int, Meta(ge=0, le=255)]


@row("palette", OBSERVER, BRIDGE)
class SetPalette(Chosen, kw_only=True):
    """Colours of rest, warm, cool and flash: red, green, blue."""

    colours: tuple[Colour, Colour, Colour, Colour]


@row("answer", BRIDGE, OBSERVER)
class Answer(ReportMessage):
    """`board`, `boards`, `detached`: rows as `neurobus boards` shows them."""

    request: str
    done: bool
    error: str | None = None
    text: str | None = None
    board: dict[str, Any] | None = None
    boards: list[dict[str, Any]] | None = None
    detached: list[dict[str, Any]] | None = None


@row("word", BRIDGE, OBSERVER)
class Word(ReportMessage):
    """A line for a person, about one board's neuron."""

    neuron: str
    text: str
