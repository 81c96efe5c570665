"""Who is on the bus of a run, as its launcher knows them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the summary needs a name of here, and who only asks for an exit code starts the sooner
    from neurobus.wire.verbs import Final

BRIDGE = "bridge"


class Kind(Enum):
    PROCESS = auto()
    """Of neurons or sources."""
    PROGRAM = auto()
    """An observer that is part of the run."""
    GUEST = auto()
    """The bridge, or a neuron started by hand."""


@dataclass
class Member:
    """`final`: the last report of a process; `farewell`: that of a program or a guest. `missed`: a program
    that died, and the run goes on without it."""

    kind: Kind
    epoch: int = 0
    pid: int | None = None
    ready: bool = False
    final: Final | None = None
    farewell: dict[str, Any] | None = None
    missed: bool = False

    @property
    def has_reported(self) -> bool:
        return self.final is not None or self.farewell is not None


class Members(dict[str, Member]):
    """By name."""

    @property
    def processes(self) -> dict[str, Member]:
        return self._of(Kind.PROCESS)

    @property
    def programs(self) -> dict[str, Member]:
        return self._of(Kind.PROGRAM)

    @property
    def guests(self) -> dict[str, Member]:
        return self._of(Kind.GUEST)

    def _of(self, kind: Kind) -> dict[str, Member]:
        return {name: member for name, member in self.items() if member.kind is kind}

    def is_process(self, name: str) -> bool:
        return name in self and self[name].kind is Kind.PROCESS

    @property
    def finals(self) -> dict[str, Final]:
        """The final reports of processes."""
        return {name: m.final for name, m in self.items() if m.final is not None}

    @property
    def bridge_is_silent(self) -> bool:
        return BRIDGE in self and self[BRIDGE].farewell is None
