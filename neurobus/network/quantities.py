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
from neurobus.grid import LONGEST_RUN, beyond, whole_ns
from neurobus.model import Array
from neurobus.network.draw import Stream, sample


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
        if ns >= LONGEST_RUN * self.dt_ns:
            raise self.error(place, f"{what} '{written}' is {beyond(self.dt_ns)}")
        return ns // self.dt_ns

    def on_grid(self, table: CsvTable, column: str, ms: Array) -> npt.NDArray[np.int64]:
        """A CSV column of times (ms) as steps of dt, at least 1."""
        ns = whole_ns(ms)
        # A float64 of whole ns is off by its own rounding at most; what is farther off has parts of a ns.
        wrong = (ns % self.dt_ns != 0) | (ns < self.dt_ns) | (np.abs(ms * 1e6 - ns) > 1e-15 * np.abs(ns))
        far = ns >= LONGEST_RUN * self.dt_ns
        for row in np.flatnonzero(wrong | far)[:1]:
            written = table.cells[column][row]
            right = f"must be > 0 and a multiple of dt = {self.config.run.dt}"
            what = f"is {beyond(self.dt_ns)}" if far[row] else right
            raise table.error(int(row), f"{column} {written} {what}")
        return ns // self.dt_ns

    def drawn(self, place: Place, value: Value, n: int, unit: str, label: str) -> Array:
        """A constant or distribution as n numbers in `unit`; `label` names its random stream."""
        try:
            return sample(value, n, unit, Stream(self.seed, label))
        except units.UnitError as error:
            raise self.error(place, f"{place[-1]}: {error}") from error

    def number(self, place: Place, written: Plain, unit: str) -> float:
        return float(self.drawn(place, written, 1, unit, "")[0])
