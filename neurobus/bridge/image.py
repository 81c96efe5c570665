"""A neuron as a board is given it: the image of its chip, and back. Pure.

A chip is what a board's firmware computes; `CHIPS` has those there are. `neurobus.wire.link` has the
layouts, and each chip has a model that computes the same bit for bit, whose constants and states are named
after their fields. What differs is said here, once. A synapse's place on the chip follows from its receptor:
`number[j]` is that of synapse j.

`lif` (`nodes.chip`)
    plastic synapses come first; the model holds V in mV, weights in pA, and counts units of trace time since
    0; the chip holds 2^-16 mV, u, and marks that go round in 255 steps, where 0 is none

`race` (`nodes.race`)
    kinds of synapses stand in the order of its receptors; what the model holds apart, `began` and `closed`,
    is one tick on the chip, and its truths are bits; only inputs have a weight there, and a level
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from neurobus.wire.link import LIF_PARAMS, LIF_STATE, RACE_PARAMS, RACE_STATE, Layout, Malformed

Array = npt.NDArray[np.float64]
CYCLE, FORGOTTEN, SWEEP = 255, 128, 64
PER_MV = 65536.0
W_MOST = 127
NONE = 0xFFFF
KICK_MOST = 32767
"""Of one message."""
FELT_MOST = 65535
"""Of one stimulus, and of what one update feels: the chips' sums end there."""


@dataclass(frozen=True)
class State:
    """A neuron at `tick`. `rows` (states,), `weight` (synapses,) and `marks` (synapses,), the state of each
    synapse, are as the model's; `waiting` tells whether inputs that act in the next update are taken."""

    tick: int
    rows: Array
    weight: Array
    marks: Array
    waiting: bool = False


class Chip(ABC):
    """One neuron's image. `constants`: of the model's `prepare`; `receptor` (synapses,) as the model numbers
    them. Raises ValueError where the chip cannot hold them."""

    kind: ClassVar[str]
    """The chip, by its name in `link.CHIP`."""
    model: ClassVar[str]
    """What computes as it does, by dotted name."""
    takes: ClassVar[tuple[str, ...]]
    """Models of neurons that a board with this chip can become."""
    params: ClassVar[Layout]
    state: ClassVar[Layout]

    def __init__(self, constants: dict[str, Any], receptor: npt.NDArray[np.int64]):
        self.constants = {name: float(np.ravel(value)[0]) for name, value in constants.items()}
        self.n = len(receptor)
        order = np.argsort(self.rank(receptor), kind="stable")
        self.number = np.empty(self.n, np.int64)
        self.number[order] = np.arange(self.n)
        self.order = order

    @staticmethod
    def rank(receptor: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Where synapses of a receptor come on the chip."""
        return receptor

    n_plastic: int
    """Synapses that learn: the first ones."""

    @property
    @abstractmethod
    def room(self) -> int:
        """Bytes behind the layouts."""

    @property
    def size(self) -> int:
        return self.params.size + self.state.size + self.room

    @property
    def state_at(self) -> int:
        """Where in the image its state begins; weights and marks follow."""
        return self.params.size

    def fits(self, room: int, plastic: int) -> str | None:
        """What is too much for a board that has this room and so many plastic synapses, if anything."""
        if self.room <= room and self.n_plastic <= plastic:
            return None
        holds = self.most(room, plastic)
        return f"{self.n} synapses, {self.n_plastic} of them plastic; this board holds {holds}"

    @staticmethod
    @abstractmethod
    def most(room: int, plastic: int) -> str:
        """What a board with this room holds."""

    @abstractmethod
    def pack(self, state: State) -> bytes:
        """The image of a neuron in this state. Raises ValueError where a value does not fit."""

    @abstractmethod
    def unpack(self, image: bytes, weight: Array) -> State:
        """The state in an image from `state_at` on. `weight`: of the synapses that have none on the chip."""

    @abstractmethod
    def whole(self, weight: Array) -> npt.NDArray[np.int64]:
        """The weights that the chip has, in its unit."""

    unit: float = 1.0
    """Of a stimulus: what 1 on the chip is to the model."""

    def kick(self, weight: float) -> int:
        """A stimulus in the chip's unit, as the model's `grain` has it."""
        return round(max(-FELT_MOST, min(weight / self.unit, FELT_MOST)))

    @staticmethod
    @abstractmethod
    def kicks(weights: list[int]) -> list[int]:
        """The messages that are all stimuli of one update: whichever comes first, the chip feels the same."""

    def _body(self, image: bytes) -> bytes:
        body = image[self.state.size :]
        if len(body) != self.room:
            raise Malformed(f"{len(body)} bytes of weights and marks, not {self.room}")
        return body


def _in_messages(total: int) -> list[int]:
    """A sum as kicks of one sign: those add up, and end where the chip's sum ends, in any order."""
    size, sign = min(abs(total), FELT_MOST), 1 if total > 0 else -1
    return [sign * min(KICK_MOST, size - at) for at in range(0, size, KICK_MOST)]


class Lif(Chip):
    kind, model, takes = "lif", "nodes.chip", ("nodes.chip", "nodes.lif")
    params, state = LIF_PARAMS, LIF_STATE
    ROWS = ("V", "I_ex", "I_in", "r", "post")
    PLASTIC = 2
    """The states of the model, and its receptor `plastic`."""

    def __init__(self, constants: dict[str, Any], receptor: npt.NDArray[np.int64]):
        super().__init__(constants, receptor)
        self.n_plastic = int((receptor == self.PLASTIC).sum())
        self.unit = self.constants["u"]
        self.shift = int(self.constants["shift"])

    @staticmethod
    def rank(receptor: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return np.asarray(receptor != Lif.PLASTIC, np.int64)

    @property
    def room(self) -> int:
        return 2 * self.n + self.n_plastic

    @staticmethod
    def most(room: int, plastic: int) -> str:
        return f"{room // 2} static or {plastic} plastic ones"

    def _clock(self, tick: int) -> dict[str, int]:
        """What the chip keeps of trace time beside the tick."""
        units = tick >> self.shift
        return {"unit": units % CYCLE + 1, "sweep": SWEEP - units % SWEEP}

    def _mark(self, unit: float, tick: int) -> int:
        """Of a spike in this unit (+ 1), 0 for none or one that is forgotten."""
        if unit <= 0 or (tick >> self.shift) - (int(unit) - 1) >= FORGOTTEN:
            return 0
        return (int(unit) - 1) % CYCLE + 1

    def _unit(self, mark: int, tick: int) -> float:
        """The youngest unit (+ 1) with this mark."""
        if mark == 0:
            return 0.0
        now = tick >> self.shift
        return float(now - (now - (mark - 1)) % CYCLE + 1)

    @staticmethod
    def kicks(weights: list[int]) -> list[int]:
        """One sum by each sign: they are two currents."""
        return _in_messages(sum(w for w in weights if w > 0)) + _in_messages(sum(w for w in weights if w < 0))

    def whole(self, weight: Array) -> npt.NDArray[np.int64]:
        return np.clip(np.rint(weight[self.order] / self.unit), -32767, 32767).astype(np.int64)

    def pack(self, state: State) -> bytes:
        fields = {
            f.name: round(self.constants[f.name]) for f in LIF_PARAMS.fields if f.name in self.constants
        }
        params = LIF_PARAMS.pack({**fields, "synapses": self.n, "plastic": self.n_plastic})
        rows = dict(zip(self.ROWS, state.rows.tolist(), strict=True))
        head = LIF_STATE.pack({
            "tick": state.tick, "V": round(rows["V"] * PER_MV), "I_ex": round(rows["I_ex"]),
            "I_in": round(rows["I_in"]), "r": round(rows["r"]), "post": self._mark(rows["post"], state.tick),
            "x_ex": 0, "x_in": 0, **self._clock(state.tick),
        })  # fmt: skip
        marks = bytes(self._mark(unit, state.tick) for unit in state.marks[self.order[: self.n_plastic]])
        return params + head + self.whole(state.weight).astype("<i2").tobytes() + marks

    def unpack(self, image: bytes, weight: Array) -> State:
        fields, body = LIF_STATE.unpack(image), self._body(image)
        tick = fields["tick"]
        rows = np.array([
            fields["V"] / PER_MV, fields["I_ex"], fields["I_in"], fields["r"],
            self._unit(fields["post"], tick),
        ])  # fmt: skip
        now, marks = np.empty(self.n), np.zeros(self.n)
        now[self.order] = np.frombuffer(body[: 2 * self.n], "<i2") * self.unit
        for j, mark in zip(self.order[: self.n_plastic], body[2 * self.n :], strict=True):
            marks[j] = self._unit(mark, tick)
        return State(tick, rows, now, marks, bool(fields["x_ex"] or fields["x_in"]))


class Race(Chip):
    kind, model, takes = "race", "nodes.race", ("nodes.race",)
    params, state = RACE_PARAMS, RACE_STATE
    ROWS = ("V", "S", "began", "fired", "inhibited", "mine", "mate", "earlier", "foreign", "order", "claim",
            "threshold", "virgin", "rank", "closed")  # fmt: skip
    ENDS = ("inputs", "elders", "youngers", "foreign", "teachers", "learns", "synapses")
    """Fields that say where a kind ends, in the order of the model's receptors."""
    FLAGS: ClassVar = {"inhibited": 2, "mine": 4, "mate": 8, "earlier": 16, "foreign": 32, "virgin": 64}
    OPEN, TAKEN = 1, 128
    ORDERS: ClassVar = {0: 0, 6: 1, 5: 2}
    """The model's order, a receptor, as the chip's."""

    def __init__(self, constants: dict[str, Any], receptor: npt.NDArray[np.int64]):
        super().__init__(constants, receptor)
        ends = np.cumsum(np.bincount(receptor, minlength=len(self.ENDS)))
        self._ends = dict(zip(self.ENDS, ends.tolist(), strict=True))
        self.n_plastic = self._ends["inputs"]
        self._inputs = self.order[: self.n_plastic]
        c = {name: round(value) for name, value in self.constants.items()}
        for name, most in (("shift", 15), ("start", 255), ("delay", 255)):
            if not 0 <= c[name] <= most:
                raise ValueError(f"the chip cannot hold {name} = {c[name]}, in ticks of dt: {most} at most")
        if c["level"] < 1 or c["level"] & (c["level"] - 1) or c["level"] >= 1 << 16:
            raise ValueError(f"the chip cannot hold a level of {c['level']} dt: it must be a power of two")
        names = ("V_th", "shift", "attract", "repel", "top", "start", "delay")
        self._params = RACE_PARAMS.pack({
            **self._ends, **{name: c[name] for name in names}, "level": c["level"].bit_length() - 1,
        })  # fmt: skip

    @property
    def room(self) -> int:
        return 2 * self.n_plastic

    @staticmethod
    def most(room: int, plastic: int) -> str:
        return f"{plastic} plastic ones, the inputs, beside any others"

    @staticmethod
    def kicks(weights: list[int]) -> list[int]:
        """One sum: it charges the membrane."""
        return _in_messages(sum(weights))

    def whole(self, weight: Array) -> npt.NDArray[np.int64]:
        return np.asarray(weight[self._inputs], np.int64)

    def pack(self, state: State) -> bytes:
        r = {name: round(value) for name, value in zip(self.ROWS, state.rows.tolist(), strict=True)}
        is_open = r["began"] >= 0
        head = RACE_STATE.pack({
            "tick": state.tick, "began": r["began"] if is_open else r["closed"], "V": r["V"], "S": r["S"],
            "fired": NONE if r["fired"] < 0 else r["fired"], "claim": NONE if r["claim"] < 0 else r["claim"],
            "threshold": r["threshold"], "order": self.ORDERS[r["order"]],
            "flags": is_open * self.OPEN + sum(bit for name, bit in self.FLAGS.items() if r[name]),
        })  # fmt: skip
        weight, level = state.weight[self._inputs], state.marks[self._inputs]
        off = (weight != np.rint(weight)) | (weight < 0) | (weight > W_MOST)
        if off.any():
            raise ValueError(f"a weight of {weight[off][0]:g}: they are whole, from 0 to {W_MOST}")
        return self._params + head + weight.astype(np.uint8).tobytes() + level.astype(np.uint8).tobytes()

    def unpack(self, image: bytes, weight: Array) -> State:
        fields, body = RACE_STATE.unpack(image), self._body(image)
        flags, began = fields["flags"], fields["began"]
        is_open = bool(flags & self.OPEN)
        r = {name: bool(flags & bit) for name, bit in self.FLAGS.items()} | {
            "V": fields["V"], "S": fields["S"], "threshold": fields["threshold"],
            "began": began if is_open else -1, "closed": 0 if is_open else began,
            "fired": -1 if fields["fired"] == NONE else fields["fired"],
            "claim": -1 if fields["claim"] == NONE else fields["claim"],
            "order": {chip: model for model, chip in self.ORDERS.items()}[fields["order"]],
            "rank": self._ends["elders"] - self._ends["inputs"],
        }  # fmt: skip
        now, marks = weight.copy(), np.zeros(self.n)
        now[self._inputs] = np.frombuffer(body[: self.n_plastic], np.uint8)
        marks[self._inputs] = np.frombuffer(body[self.n_plastic :], np.uint8)
        rows = np.array([float(r[name]) for name in self.ROWS])
        return State(fields["tick"], rows, now, marks, bool(flags & self.TAKEN))


CHIPS: dict[str, type[Chip]] = {chip.kind: chip for chip in (Lif, Race)}
"""By the name that a board says in HELLO."""


def chip_for(model: str) -> type[Chip] | None:
    """The chip that a neuron of this model can become."""
    return next((chip for chip in CHIPS.values() if model in chip.takes), None)
