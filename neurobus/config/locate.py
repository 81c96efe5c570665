"""Where in the text of a config each table and key stands. tomllib does not say, so this scans again.

The text is known to be valid TOML here, which is what lets the scanner be this small: it only has to
find where keys and values begin and end.
"""

from __future__ import annotations

import difflib
import re
from bisect import bisect_right
from collections.abc import Iterable

from neurobus.errors import InputError

Place = tuple[str | int, ...]
"""A place in a config, such as `("groups", 0, "params", "I_e")`."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"""[ \t]*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))[ \t]*""")
_TEXT = re.compile(r'''"""(?:[^\\]|\\.)*?"{3,5}|\'{3}.*?\'{3,5}|"(?:[^"\\]|\\.)*"|'[^']*\'''', re.DOTALL)
_BARE = re.compile(r"[^,\]}\n#]*")


class Lines:
    """Line numbers (from 1) of every table, key and array element of a valid TOML text."""

    def __init__(self, text: str):
        self._text, self._at = text, 0
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self._arrays: dict[Place, int] = {}
        self._lines: dict[Place, int] = {}
        table: Place = ()
        while self._skip(_BLANK) < len(text):
            if text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def of(self, path: Place) -> int:
        """The line of `path`, or of the nearest thing around it."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def _skip(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self._text, self._at)
        assert found is not None
        self._at = found.end()
        return self._at

    def _mark(self, path: Place) -> None:
        self._lines.setdefault(path, bisect_right(self._starts, self._at))

    def _keys(self) -> list[str]:
        keys: list[str] = []
        while not keys or self._text[self._at] == ".":
            self._at += bool(keys)
            found = _KEY.match(self._text, self._at)
            assert found is not None
            keys.append(next(part for part in found.groups() if part is not None))
            self._at = found.end()
        return keys

    def _header(self) -> Place:
        array = self._text.startswith("[[", self._at)
        self._at += 1 + array
        path: Place = ()
        keys = self._keys()
        for n, key in enumerate(keys):
            path += (key,)
            if array and n == len(keys) - 1:
                self._mark(path)
                self._arrays[path] = self._arrays.get(path, -1) + 1
            if path in self._arrays:
                path += (self._arrays[path],)
            self._mark(path)
        self._at += 1 + array
        return path

    def _pair(self, table: Place) -> None:
        self._skip(_BLANK)
        start = self._at
        keys = self._keys()
        after, self._at = self._at, start
        for n in range(len(keys)):
            self._mark((*table, *keys[: n + 1]))
        self._at = after + 1
        self._value((*table, *keys))

    def _value(self, path: Place) -> None:
        self._skip(_BLANK)
        self._mark(path)
        first = self._text[self._at]
        if first in "\"'":
            self._skip(_TEXT)
        elif first in "[{":
            self._at += 1
            n = 0
            while self._text[self._skip(_BLANK)] not in "]}":
                if first == "[":
                    self._value((*path, n))
                else:
                    self._pair(path)
                n += 1
                self._at += self._text[self._skip(_BLANK)] == ","
            self._at += 1
        else:
            self._skip(_BARE)


def meant(word: str, known: Iterable[str]) -> str:
    """The tail of an error about an unknown `word`: the likely one, or all if they are few."""
    names = list(known)
    close = difflib.get_close_matches(word, names, 1)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(names)}" if 0 < len(names) <= 20 else ""


class Places:
    """Turns places of one config into errors a person can act on. `changed`: what `--set` touched."""

    def __init__(self, name: str, text: str):
        self.name, self.lines = name, Lines(text)
        self.changed: dict[Place, str] = {}

    def error(self, path: Place, message: str) -> InputError:
        """An error at the line of `path`, or at the override that put it there."""
        for n in range(len(path), 0, -1):
            if path[:n] in self.changed:
                return InputError(message, f"--set {self.changed[path[:n]]}")
        return InputError(message, self.name, self.lines.of(path))
