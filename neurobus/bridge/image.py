"""A neuron as a board is given it: the image of the chip `lif`, and back. Pure.

`neurobus.wire.link` has the layouts, the twin model (`nodes.chip`) names its constants and states after their
fields. What differs is said here, once:

- on the chip plastic synapses come first; `number[j]` is the place of synapse j
- the twin holds V in mV, weights in pA, and counts units of trace time since 0; the chip holds 2^-16 mV, u,
  and marks that go round in 255 steps, where 0 is none
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neurobus.wire.link import LIF_PARAMS, LIF_STATE, Malformed

Array = npt.NDArray[np.float64]
CYCLE, FORGOTTEN, SWEEP = 255, 128, 64
PER_MV = 65536.0
STATE_AT = LIF_PARAMS.size
ROWS = ("V", "I_ex", "I_in", "r", "post")
"""The states of the twin, in order."""


@dataclass(frozen=True)
class State:
    """A neuron at `tick`. `rows` (states,) as the twin's, `weight` (synapses,) pA, `pre` (synapses,) as the
    twin's; `waiting` tells whether inputs have been taken that act in the next update."""

    tick: int
    rows: Array
    weight: Array
    pre: Array
    waiting: bool = False


class Chip:
    """One neuron's image. `constants`: of the twin's `prepare`; `plastic` (synapses,) bool."""

    def __init__(self, constants: dict[str, Any], plastic: npt.NDArray[np.bool_]):
        self.constants = {name: float(np.ravel(value)[0]) for name, value in constants.items()}
        self.u = self.constants["u"]
        self.shift = int(self.constants["shift"])
        order = np.argsort(~plastic, kind="stable")
        self.number = np.empty(len(plastic), np.int64)
        self.number[order] = np.arange(len(plastic))
        self._order, self.n, self.n_plastic = order, len(plastic), int(plastic.sum())

    @property
    def room(self) -> int:
        """Bytes behind the layouts."""
        return 2 * self.n + self.n_plastic

    @property
    def size(self) -> int:
        return LIF_PARAMS.size + LIF_STATE.size + self.room

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

    def pack(self, state: State) -> bytes:
        """The image of a neuron in this state. Raises ValueError where a value does not fit."""
        fields = {
            f.name: round(self.constants[f.name]) for f in LIF_PARAMS.fields if f.name in self.constants
        }
        params = LIF_PARAMS.pack({**fields, "synapses": self.n, "plastic": self.n_plastic})
        rows = dict(zip(ROWS, state.rows.tolist(), strict=True))
        head = LIF_STATE.pack({
            "tick": state.tick, "V": round(rows["V"] * PER_MV), "I_ex": round(rows["I_ex"]),
            "I_in": round(rows["I_in"]), "r": round(rows["r"]), "post": self._mark(rows["post"], state.tick),
            "x_ex": 0, "x_in": 0, **self._clock(state.tick),
        })  # fmt: skip
        weights = np.clip(np.rint(state.weight[self._order] / self.u), -32767, 32767).astype("<i2")
        marks = bytes(self._mark(unit, state.tick) for unit in state.pre[self._order[: self.n_plastic]])
        return params + head + weights.tobytes() + marks

    def unpack(self, image: bytes) -> State:
        """The state in an image from `STATE_AT` on (what a READ of all but the parameters brings)."""
        fields = LIF_STATE.unpack(image)
        body = image[LIF_STATE.size :]
        if len(body) != self.room:
            raise Malformed(f"{len(body)} bytes of weights and marks, not {self.room}")
        tick = fields["tick"]
        rows = np.array([
            fields["V"] / PER_MV, fields["I_ex"], fields["I_in"], fields["r"],
            self._unit(fields["post"], tick),
        ])  # fmt: skip
        weight, pre = np.empty(self.n), np.zeros(self.n)
        weight[self._order] = np.frombuffer(body[: 2 * self.n], "<i2") * self.u
        for j, mark in zip(self._order[: self.n_plastic], body[2 * self.n :], strict=True):
            pre[j] = self._unit(mark, tick)
        return State(tick, rows, weight, pre, bool(fields["x_ex"] or fields["x_in"]))

    def kick(self, weight_pa: float) -> int:
        """A stimulus in the chip's unit."""
        return int(max(-32767, min(round(weight_pa / self.u), 32767)))
