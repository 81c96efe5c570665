"""Quantities of a config as numbers, each mistake at its line."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neurobus import units
from neurobus.config import Config
from neurobus.config.locate import Place
from neurobus.config.schema import Plain, Value
from neurobus.config.tables import CsvTable
from neurobus.errors import InputError
from neurobus.model import Array
from neurobus.network.draw import Stream, sample

MOST_STEPS = 1 << 30
"""Steps are packed into 31 bits of a spike's key."""


class Quantities:
    """Reads times, constants and distributions of one config; what is random is random by `seed`."""

    def __init__(self, config: Config, seed: int):
        self.config, self.seed, self.dt_ns = config, seed, config.run.dt_ns

    def error(self, place: Place, message: str) -> InputError:
        return self.config.error(place, message)

    def steps(self, place: Place, written: Plain, least: int = 0) -> int:
        """A time as steps of dt."""
        what = next(str(part) for part in reversed(place) if isinstance(part, str))
        try:
            units.parse(written, "ms")
            ns = units.to_ns(written)
        except units.UnitError as error:
            raise self.error(place, f"{what}: {error}") from error
        if ns % self.dt_ns:
            raise self.error(place, f"{what} '{written}' is no multiple of dt = {self.config.run.dt}")
        if ns < least * self.dt_ns:
            raise self.error(place, f"{what} must be {'>' if least else '>='} 0 ms, not '{written}'")
        if ns >= MOST_STEPS * self.dt_ns:
            most = f"{MOST_STEPS} steps of {self.config.run.dt}"
            raise self.error(place, f"{what} '{written}' is beyond the longest run, {most}")
        return ns // self.dt_ns

    def on_grid(self, table: CsvTable, column: str, ns: Array) -> npt.NDArray[np.int64]:
        """A CSV column of times as steps of dt, at least 1."""
        steps = ns / self.dt_ns
        whole = np.rint(steps)
        wrong = (np.abs(steps - whole) > 1e-6) | (whole < 1) | (whole >= MOST_STEPS)
        for row in np.flatnonzero(wrong)[:1]:
            written = table.cells[column][row]
            message = f"{column} {written} must be > 0 and a multiple of dt = {self.config.run.dt}"
            raise table.error(int(row), message)
        return whole.astype(np.int64)

    def drawn(self, place: Place, value: Value, n: int, unit: str, label: str) -> Array:
        """A constant or distribution as n numbers in `unit`; `label` names its random stream."""
        try:
            return sample(value, n, unit, Stream(self.seed, label))
        except units.UnitError as error:
            raise self.error(place, f"{place[-1]}: {error}") from error

    def number(self, place: Place, written: Plain, unit: str) -> float:
        return float(self.drawn(place, written, 1, unit, "")[0])
