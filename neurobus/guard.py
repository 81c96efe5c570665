"""Where an exception in a callback ends: a line to a person, the traceback in a file, and the run goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

MOST_AT_ONCE, REST_S = 20, 0.1
"""A callback that fails so often on end is given a rest before it is called again."""


class Guard:
    """For one process. `tell` hears of each kind of error once; `file` takes the tracebacks."""

    def __init__(self, tell: Callable[[str], None], file: Path):
        self._tell, self._file = tell, file
        self._told: set[str] = set()
        self.caught_n = 0
        self.last = ""
        """What was caught last, as told."""

    def watch(self, loop: asyncio.AbstractEventLoop, again: Callable[[], object]) -> None:
        """Catch whatever a callback, a reader or a task of this loop raises. After each, `again` is called:
        a ZeroMQ socket tells once of frames that have come, so what an exception left unread must be read."""

        def caught(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            error = context.get("exception")
            if not isinstance(error, Exception):
                loop.default_exception_handler(context)
                return
            self.caught(error)
            if self.caught_n % MOST_AT_ONCE:
                loop.call_soon(again)
            else:
                loop.call_later(REST_S, again)

        loop.set_exception_handler(caught)

    def caught(self, error: BaseException) -> str:
        """Write down what was raised; returns the line for a person."""
        self.caught_n += 1
        self.last = line = one_line(error)
        if line in self._told:
            return line
        self._told.add(line)
        where = f"traceback in {self._file}"
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with open(self._file, "a") as file:
                file.writelines(traceback.format_exception(error))
        except OSError as full:
            where = f"its traceback could not be written to {self._file}: {full.strerror}"
        self.last = line = f"{line} ({where})"
        with contextlib.suppress(Exception):
            self._tell(line)
        return line


def one_line(error: BaseException) -> str:
    """An exception in at most 300 characters without a line break."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def file_of(folder: Path, who: str) -> Path:
    """Where the tracebacks of a process go, in a state folder."""
    return folder / "tracebacks" / f"{os.path.basename(who)}.{os.getpid()}.txt"
