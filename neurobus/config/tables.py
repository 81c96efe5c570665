"""CSV tables: named columns, a unit in brackets behind the name (`weight [pA]`), errors with their row."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neurobus import units
from neurobus.config.locate import meant
from neurobus.errors import InputError
from neurobus.model import Array


@dataclass(frozen=True)
class CsvTable:
    """`units` and `cells` by column name; `lines` the line of each row in the file."""

    file: str
    lines: list[int]
    units: dict[str, str]
    cells: dict[str, list[str]]

    @classmethod
    def parse(cls, content: bytes, file: str) -> CsvTable:
        """Raises InputError: not text, no header, rows of another length, a column twice."""
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError("is not UTF-8 text", file) from error
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        lines, rows = [], []
        try:
            for row in reader:
                if row:
                    lines.append(reader.line_num)
                    rows.append([cell.strip() for cell in row])
        except csv.Error as error:
            raise InputError(f"not valid CSV: {error}", file, reader.line_num) from error
        if not rows:
            raise InputError("is empty; its first line must name the columns", file)
        names, given = [], {}
        for head in rows[0]:
            found = re.fullmatch(r"(.*?)\s*(?:\[(.*)\])?", head)
            assert found is not None
            if found[1] in given:
                raise InputError(f"column '{found[1]}' stands twice", file, 1)
            names.append(found[1])
            given[found[1]] = (found[2] or "").strip()
        for line, row in zip(lines, rows, strict=True):
            if len(row) != len(names):
                raise InputError(f"{len(row)} cells, but the header has {len(names)}", file, line)
        columns = list(zip(*rows[1:], strict=True)) or [()] * len(names)
        cells = {name: list(column) for name, column in zip(names, columns, strict=True)}
        return cls(file, lines[1:], given, cells)

    def renamed(self, columns: Mapping[str, str]) -> CsvTable:
        """With the columns called as neurobus calls them; `columns`: our name → the file's."""
        for written in columns.values():
            self.require(written)
        ours = {written: name for name, written in columns.items()}
        return CsvTable(self.file, self.lines, {ours.get(k, k): unit for k, unit in self.units.items()},
                        {ours.get(k, k): cells for k, cells in self.cells.items()})  # fmt: skip

    def require(self, name: str) -> list[str]:
        """The cells of a column there must be."""
        if name not in self.cells:
            raise self.error(None, f"no column '{name}'{meant(name, self.cells)}")
        return self.cells[name]

    def numbers(self, name: str, unit: str) -> Array:
        """A column as numbers in `unit` (`""`: plain). Shape (rows,)."""
        cells = self.require(name)
        if unit and not self.units[name]:
            raise self.error(None, f"column '{name}' has no unit; write the header as '{name} [{unit}]'")
        try:
            # The larger of the two units comes first, so that the factor is a whole number and exact.
            up, down = units.parse(f"1 {self.units[name]}", unit), units.parse(f"1 {unit}", self.units[name])
        except units.UnitError as error:
            raise self.error(None, f"column '{name} [{self.units[name]}]': {error}") from error
        try:
            values = np.array(cells, dtype=np.float64) if cells else np.empty(0)
        except ValueError:
            values = np.array([self._number(name, cell, n) for n, cell in enumerate(cells)])
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise self.error(int(bad[0]), f"{name} '{cells[bad[0]]}' is not a finite number")
        return values * up if up >= 1 else values / down

    def _number(self, name: str, cell: str, row: int) -> float:
        try:
            return float(cell)
        except ValueError:
            raise self.error(row, f"{name} '{cell}' is not a number") from None

    def error(self, row: int | None, message: str) -> InputError:
        """An error in row `row`, counted from 0 below the header; None: in the header."""
        return InputError(message, self.file, 1 if row is None else self.lines[row])
