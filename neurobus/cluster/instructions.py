"""What a supervisor has its launcher do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from neurobus.wire.message import ControlMessage


@dataclass(frozen=True)
class Command:
    """To the fork server."""

    do: str
    epoch: int
    name: str | None = None


@dataclass(frozen=True)
class Send:
    """A control on the bus."""

    to: str
    message: ControlMessage


@dataclass(frozen=True)
class Say:
    """A line for a person."""

    text: str


@dataclass(frozen=True)
class TellReady:
    n: int
    of: int


@dataclass(frozen=True)
class KeepSnapshot:
    """It is whole. `first`: of this run."""

    step: int
    first: bool


@dataclass(frozen=True)
class MeasureMemory:
    pids: list[int]


class Do(Enum):
    JOIN_BUS = auto()
    WRITE_MANIFEST = auto()
    CALL_STARTING = auto()
    CALL_STARTED = auto()


Instruction = Command | Send | Say | TellReady | KeepSnapshot | MeasureMemory | Do
