"""CSV tables: named columns, a unit in brackets behind the name (`weight [pA]`), errors with their row.

Cells are separated by commas, semicolons or tabs, as the line of names has it; with semicolons or tabs a
number may have a decimal comma, as spreadsheets write it where people count that way.
"""

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

COMMA, SEMICOLON, TAB = ",", ";", "\t"
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)


def separator(head: str, file: str) -> str:
    """What separates the cells of a file with this line of names. Raises InputError for a mixture."""
    bare = re.sub(r'"[^"]*"', "", head)
    found = [mark for mark in (COMMA, SEMICOLON, TAB) if mark in bare]
    if len(found) > 1:
        names = " and ".join({COMMA: "commas", SEMICOLON: "semicolons", TAB: "tabs"}[mark] for mark in found)
        raise InputError(f"the names of the columns are separated by {names}; use one of them", file, 1)
    return found[0] if found else COMMA


def _text(content: bytes, file: str) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError("is UTF-16 text; save it as UTF-8", file)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8 text", file) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InputError("holds a NUL byte, so it is no text", file, line)
    return text


@dataclass(frozen=True)
class CsvTable:
    """`units` and `cells` by column name; `lines` the line of each row in the file.

    `decimal_comma`: numbers in it may have one.
    """

    file: str
    lines: list[int]
    units: dict[str, str]
    cells: dict[str, list[str]]
    decimal_comma: bool = False

    @classmethod
    def parse(cls, content: bytes, file: str) -> CsvTable:
        """Raises InputError: not text, no header, rows of another length, a column twice."""
        text = _text(content, file)
        mark = separator(re.split(r"[\r\n]", text.lstrip(), maxsplit=1)[0], file)
        reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=mark)
        lines, rows = [], []
        try:
            for row in reader:
                if any(row):
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
        return cls(file, lines[1:], given, cells, mark != COMMA)

    def renamed(self, columns: Mapping[str, str]) -> CsvTable:
        """With the columns called as neurobus calls them; `columns`: our name → the file's."""
        for written in columns.values():
            self.require(written)
        ours = {written: name for name, written in columns.items()}
        return CsvTable(self.file, self.lines, {ours.get(k, k): unit for k, unit in self.units.items()},
                        {ours.get(k, k): cells for k, cells in self.cells.items()},
                        self.decimal_comma)  # fmt: skip

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
        values = self._floats(name, cells)
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise self.error(int(bad[0]), f"{name} '{cells[bad[0]]}' is not a finite number")
        values = values * up if up >= 1 else values / down
        for row in np.flatnonzero(np.abs(values) > units.LARGEST)[:1].tolist():
            most = f"{units.LARGEST:g} {unit}".rstrip()
            raise self.error(
                row, f"{name} '{cells[row]}' is beyond every number that is reckoned with here, {most}"
            )
        return values

    def _floats(self, name: str, cells: list[str]) -> Array:
        text = "".join(cells)
        # numpy reads more than people write as a number (1_0, digits of other scripts), and no decimal comma
        if text.isascii() and "_" not in text and COMMA not in text:
            try:
                return np.array(cells, dtype=np.float64) if cells else np.empty(0)
            except ValueError:
                pass
        return np.array([self._number(name, cell, row) for row, cell in enumerate(cells)])

    def _number(self, name: str, cell: str, row: int) -> float:
        written = cell
        if self.decimal_comma and COMMA in cell:
            if "." in cell or cell.count(COMMA) > 1:
                raise self.error(row, f"{name} '{cell}' is not a number; leave out what separates thousands")
            written = cell.replace(COMMA, ".")
        if _NUMBER.fullmatch(written) or written.lstrip("+-").lower() in ("nan", "inf", "infinity"):
            return float(written)
        raise self.error(row, f"{name} '{cell}' is not a number")

    def error(self, row: int | None, message: str) -> InputError:
        """An error in row `row`, counted from 0 below the header; None: in the header."""
        return InputError(message, self.file, 1 if row is None else self.lines[row])
