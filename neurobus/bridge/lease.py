"""The bridge's side of a lease: what is said on the bus about one neuron. Sans-IO.

`neurobus.wire.lease` has the messages. A `BridgePort` is what an attached board needs of the bridge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from neurobus.bridge.hardware import REFLASH
from neurobus.bridge.image import CHIPS, Chip, State, chip_for
from neurobus.errors import InputError
from neurobus.events import Led, Spikes, Stimulus
from neurobus.loading import load
from neurobus.model import Model
from neurobus.wire import bus as wire
from neurobus.wire import lease as messages
from neurobus.wire.message import Control, ControlMessage


class BridgePort(Protocol):
    """The bridge around one attached board. Times are those of the bridge's loop, in s."""

    dt_ns: int
    t0_s: float
    streams: dict[str, int]
    """Streams of one neuron → index; a stream of many tells its neurons itself."""

    def publish(self, frame: bytes) -> None: ...

    def listen(self, streams: list[str], then: Callable[[float], None]) -> None:
        """Subscribe; `then(now)` when all subscriptions are in force."""

    def say(self, text: str) -> None:
        """To a person."""

    def await_board(self, why: str) -> None:
        """See whether the board comes back."""

    def let_go(self, why: str) -> None:
        """The attachment is over: close the port."""

    def answered_last(self) -> None:
        """The run ends with the answer that comes now."""

    def new_serial(self) -> int: ...

    def namesake(self, serial: int) -> tuple[str, bool] | None:
        """The neuron of another board of this serial number, and whether its port is open."""


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """The neuron as its process lends it. `synapses`, by a source's index: how long after a stamp its spike
    acts (steps), on which synapse of the chip. `min_delay` in steps; `epoch`: the board's; `errors`: the
    largest by fixed point, which grow when the state comes."""

    synapses: dict[int, list[tuple[int, int]]]
    chip: Chip
    index: int
    heard: list[str]
    min_delay: int
    epoch: int
    errors: dict[str, float]

    @classmethod
    def read(cls, granted: messages.Granted, kind: str) -> LeaseTerms:
        """For a board with this chip. Raises KeyError, TypeError or ValueError where it cannot hold it."""
        model = load(granted.model)
        assert issubclass(model, Model)
        params = {name: np.array([value]) for name, value in granted.params.items()}
        constants = model.prepare(params, granted.dt_ns / 1e6)
        arrays = (granted.source, granted.delay, granted.receptor)
        source, delay, receptor = (np.frombuffer(data, np.int64) for data in arrays)
        chip = CHIPS[kind](constants, receptor)
        synapses: dict[int, list[tuple[int, int]]] = {}
        for pre, steps, number in zip(source.tolist(), delay.tolist(), chip.number.tolist(), strict=True):
            synapses.setdefault(pre, []).append((steps - 1, number))
        return cls(
            synapses, chip, granted.index, granted.heard, granted.min_delay, granted.epoch, {**granted.errors}
        )


class Lease:
    """One neuron's lease, as long as its board is attached: a claim, and the terms once they are granted."""

    def __init__(self, port: BridgePort, neuron: str, claimant: str):
        self.port, self.neuron = port, neuron
        self.claim = ""
        self.terms: LeaseTerms | None = None
        self._claimant, self._claims = claimant, 0

    @property
    def granted(self) -> LeaseTerms:
        """The terms, once they are granted."""
        assert self.terms is not None
        return self.terms

    def request(self, board: str, model: str) -> None:
        """Under a new claim; `claimant` is BRIDGE/TOKEN."""
        self._claims += 1
        self.claim, self.terms = f"{self._claimant}/{self._claims}", None
        bridge = self._claimant.partition("/")[0]
        self.send(messages.RequestLease(self.claim, board, model, bridge))

    def send(self, message: ControlMessage) -> None:
        self._publish(Control(self.neuron, message))

    def _publish(self, event: Control | Spikes | Stimulus | Led) -> None:
        self.port.publish(wire.encode(event))

    def resync(self, state: State) -> None:
        rows, weight, marks = (array.tobytes() for array in (state.rows, state.weight, state.marks))
        self.send(messages.Resync(self.claim, state.tick, rows, weight, marks))

    def spikes(self, seq: int, ticks: list[int]) -> None:
        """Spikes of the board, as the neuron's."""
        dt_ns = self.port.dt_ns
        self._publish(Spikes(self.neuron, self.granted.epoch, seq, [tick * dt_ns for tick in ticks]))

    def poke(self, t_ns: int, weight: float, origin: str) -> None:
        self._publish(Stimulus(self.neuron, t_ns, weight, origin))

    def strip(self, t_ns: int, rgb: bytes) -> None:
        self._publish(Led(self.neuron, t_ns, rgb))


def refusal(neuron: str, refused: messages.Refused, chip: str) -> str:
    """Why there is no lease for a board with this chip, and what to flash where another could be it."""
    needed = chip_for(refused.model)
    if needed is None or needed.kind == chip:
        return refused.why
    return (
        f"'{neuron}' is a {refused.model}, which the chip '{needed.kind}' can be; this board runs "
        f"'{chip}': make firmware CHIP={needed.kind} && "
        f"{REFLASH} --chip {needed.kind}"
    )


def require_neuron(neuron: str, ids: list[str], n_neurons: int, streams: list[str]) -> None:
    """Raise InputError for a neuron that no board can be, as far as a manifest tells."""
    if neuron not in ids:
        raise InputError(f"no neuron '{neuron}' in this cluster")
    index = ids.index(neuron)
    if index >= n_neurons:
        raise InputError(f"'{neuron}' is a source; a board runs a neuron")
    if streams[index] != neuron:
        raise InputError(
            f"'{neuron}' shares a process with others; a board is one neuron: run.neurons_per_process = 1"
        )
