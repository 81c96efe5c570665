"""Quantities of a config as numbers, each mistake at its line."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neurobus import units
from neurobus.bounds import LONGEST_DELAY, LONGEST_RUN, beyond
from neurobus.config import Config
from neurobus.config.locate import Place
from neurobus.config.schema import Distribution, Plain, Value
from neurobus.config.tables import CsvTable
from neurobus.errors import InputError
from neurobus.grid import whole_ns
from neurobus.model import Array
from neurobus.network.draw import Owners, Stream, sample
from neurobus.streams import Use, Words, key, keys

CLIPPED_UNTOLD = 0.01
"""The share of draws that `min` or `max` may clip without a word."""


class Quantities:
    """Reads times, constants and distributions of one config; what is random is random by `seed`."""

    def __init__(self, config: Config, seed: int):
        self.config, self.seed, self.dt_ns = config, seed, config.run.dt_ns
        self.drew: set[Use] = set()
        self.notes: list[str] = []

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
        if what == "delay" and ns > LONGEST_DELAY * self.dt_ns:
            most = f"{LONGEST_DELAY:,} steps of {self.config.run.dt}"
            raise self.error(place, f"{what} '{written}' is beyond the longest delay, {most}")
        return ns // self.dt_ns

    def on_grid(self, table: CsvTable, column: str, ms: Array) -> npt.NDArray[np.int64]:
        """A CSV column of times (ms) as steps of dt, at least 1."""
        ns = whole_ns(ms)
        # A float64 of whole ns is off by its own rounding at most; what is farther off has parts of a ns.
        wrong = (ns % self.dt_ns != 0) | (ns < self.dt_ns) | (np.abs(ms * 1e6 - ns) > 1e-15 * np.abs(ns))
        longest, what = LONGEST_RUN - 1, f"is {beyond(self.dt_ns)}"
        if column == "delay":
            longest, what = LONGEST_DELAY, f"is beyond the longest delay, {LONGEST_DELAY:,} steps"
        far = ns > longest * self.dt_ns
        for row in np.flatnonzero(wrong | far)[:1]:
            right = f"must be > 0 and a multiple of dt = {self.config.run.dt}"
            raise table.error(int(row), f"{column} {table.cells[column][row]} {what if far[row] else right}")
        return ns // self.dt_ns

    def number(self, place: Place, written: Plain, unit: str) -> float:
        """A constant in `unit`."""
        try:
            return units.parse(written, unit)
        except units.UnitError as error:
            raise self.error(place, f"{place[-1]}: {error}") from error

    # -- what is drawn ----------------------------------------------------------------------------

    def stream(self, use: Use, label: str) -> Stream:
        self.drew.add(use)
        return Stream(key(self.seed, use, label))

    def keys(self, use: Use, tag: Words, label: str = "") -> Words:
        """Of the owners with these tags, a key each."""
        self.drew.add(use)
        return keys(self.seed, use, tag, label)

    def values(self, place: Place, value: Value, unit: str, use: Use, label: str, of: Owners) -> Array:
        """A constant or distribution as a number in `unit` for each `of`."""
        if not isinstance(value, Distribution):
            return np.full(of.n, self.number(place, value, unit))
        self.drew.add(use)
        try:
            drawn = sample(value, unit, lambda attempt: of.uniforms(self.seed, use, label, attempt))
        except units.UnitError as error:
            raise self.error(place, f"{place[-1]}: {error}") from error
        for n, bound, written in ((drawn.below, "min", value.min), (drawn.above, "max", value.max)):
            if n > CLIPPED_UNTOLD * of.n:
                word = (
                    f"{place[-1]}: {n:,} of {of.n:,} draws ({n / of.n:.1%}) are clipped to {bound} {written}"
                )
                self.note(place, word + "; redraw = true draws them again")
        return drawn.values

    def note(self, place: Place, word: str) -> None:
        """Something that is no mistake, but should be known before a run; told once."""
        said = str(self.error(place, word))
        if said not in self.notes:
            self.notes.append(said)
