"""What waits to act on the neurons of a core: spikes, samples, planned currents and pokes, as a table has
them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neurobus.model import Array
from neurobus.node.interface import NO_KEYS, NO_MV, Keys
from neurobus.node.kernel import layout as T
from neurobus.parts import Currents

AnyArray = npt.NDArray[Any]
CURRENT, INPUT = 0, 1
"""Kinds of planned inputs: a change of an electrode's current, a poke."""
Planned = tuple[int, int, int, float]
"""Step of the update in which it acts, kind, target, value."""


class Waiting:
    """The queues of a table. Spikes and samples are in `T.Table.bound`, from `at_key` and `at_sample` on."""

    def __init__(self, table: T.Table, currents: Currents, hears_samples: bool):
        self._t = table
        room = T.ROOM if hears_samples else 0
        table.bind(
            new=np.empty(T.ROOM, np.int64), new_mv_keys=np.empty(room, np.int64), new_mv=np.empty(room)
        )
        table.room_new, table.room_new_mv = T.ROOM, room
        table.bind(keys=NO_KEYS, sample_keys=NO_KEYS, sample_mv=NO_MV)
        self.room_for(32, room // 2)
        self._bind_plan(currents.step, np.zeros(len(currents.step), np.uint8), currents.neuron, currents.pa)

    @property
    def keys(self) -> Keys:
        """Spikes."""
        return self._t.bound["keys"][self._t.at_key : self._t.n_keys]

    @property
    def samples(self) -> tuple[Keys, Array]:
        """Keys and mV."""
        waits = slice(self._t.at_sample, self._t.n_samples)
        return self._t.bound["sample_keys"][waits], self._t.bound["sample_mv"][waits]

    @property
    def plan(self) -> list[Planned]:
        """Planned inputs, ascending."""
        columns = ("plan_step", "plan_what", "plan_target", "plan_value")
        return list(zip(*(self._t.bound[c][self._t.at_plan :].tolist() for c in columns), strict=True))

    def put_keys(self, keys: Keys) -> None:
        """These spikes wait, ascending, and no others."""
        self._t.at_key = self._t.n_keys = 0
        self.room_for(len(keys), 0)
        self._t.bound["keys"][: len(keys)] = keys
        self._t.n_keys = len(keys)

    def put_samples(self, keys: Keys, mv: Array) -> None:
        """These samples wait, ascending, and no others."""
        self._t.at_sample = self._t.n_samples = 0
        self.room_for(0, len(keys))
        self._t.bound["sample_keys"][: len(keys)], self._t.bound["sample_mv"][: len(keys)] = keys, mv
        self._t.n_samples = len(keys)

    def put_plan(self, rows: list[Planned]) -> None:
        """These inputs are planned, ascending, and no others."""
        columns: list[tuple[float, ...]] = [*zip(*rows, strict=True)] or [()] * 4
        kinds = ("plan_step", "plan_what", "plan_target", "plan_value")
        self._bind_plan(*(np.array(c, T.FIELDS[kind]) for kind, c in zip(kinds, columns, strict=True)))

    def _bind_plan(self, step: AnyArray, what: AnyArray, target: AnyArray, value: AnyArray) -> None:
        self._t.bind(plan_step=step, plan_what=what, plan_target=target, plan_value=value)
        self._t.at_plan, self._t.n_plan, self._t.ahead = 0, len(step), -1

    def room_for(self, n_keys: int, n_samples: int) -> None:
        """There shall be room for so many more spikes and samples."""
        t = self._t
        if t.n_keys - t.at_key + n_keys > t.room_keys:
            keys = self.keys
            t.room_keys = 2 * (len(keys) + n_keys)
            t.bind(keys=_moved(keys, t.room_keys))
            t.at_key, t.n_keys = 0, len(keys)
        if t.n_samples - t.at_sample + n_samples > t.room_samples:
            keys, mv = self.samples
            t.room_samples = 2 * (len(keys) + n_samples)
            t.bind(sample_keys=_moved(keys, t.room_samples), sample_mv=_moved(mv, t.room_samples))
            t.at_sample, t.n_samples = 0, len(keys)


def _moved(waiting: AnyArray, room: int) -> AnyArray:
    found = np.empty(room, waiting.dtype)
    found[: len(waiting)] = waiting
    return found
