"""What a neuron's process is given: who it is on the bus, and the bus."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from neurobus.wire import verbs


class Bus(Protocol):
    """What a process needs of a peer (`neurobus.bus.peer.Peer` is one)."""

    fd: int

    def send(self, data: bytes) -> None: ...
    def subscribe(self, prefix: bytes) -> None: ...
    def unsubscribe(self, prefix: bytes) -> None: ...
    def receive(self) -> bytes | None: ...
    def linger(self) -> bytes | None: ...
    def converse(self, handle: Callable[[bytes], bool]) -> None: ...
    def lines(self) -> tuple[int, ...] | None: ...
    def patience(self, ms: int) -> None: ...
    def close(self) -> None: ...


@dataclass
class Role:
    """Who a process is on the bus. Streams are names; `index_of` maps a stream of one neuron to its
    wire index; `ids` are the neurons hosted here with their wire indices `index`."""

    name: str
    ids: list[str]
    index: list[int]
    dt_ns: int
    wall: bool
    epoch: int = 0
    grace_ns: int = 5_000_000
    spikes_heard: list[str] = field(default_factory=list)
    samples_heard: list[str] = field(default_factory=list)
    index_of: dict[str, int] = field(default_factory=dict)
    sends_samples: bool = False
    n_ids: int = 0
    weighed: list[int] = field(default_factory=list)
    """The wire indices among these whose weights are recorded every `weigh_every` steps."""
    weigh_every: int = 0
    snapshots: Path | None = None
    troubles: Path | None = None
    """Where tracebacks go."""
    late_start: bool = False
    """Joins a run that is under way (restarted, or started by hand)."""
    guest: verbs.Guest | None = None
    """What a neuron started by hand says of itself when it is ready."""
    keeps: bool = False
    """Under the wall clock: what it learns it writes down at once, so that its death costs no more than what
    was under way."""

    @property
    def single(self) -> bool:
        """One neuron in this process."""
        return len(self.ids) == 1

    @property
    def grace(self) -> int:
        """Steps that the committed state stays behind the present under the wall clock."""
        return max(0, self.grace_ns // self.dt_ns)
