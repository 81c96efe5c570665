"""Errors that reach a person. Each becomes one line on stderr and an exit code (see `EXIT_CODES`)."""

from __future__ import annotations

from pathlib import Path

EXIT_CODES = {
    0: "done",
    1: "the answer is no: logs differ, a run or an exhibit did not verify, spikes were lost to a failure,"
    " or nobody knows",
    2: "bad input: a config, a log or an argument, named with file and line where there is one",
    3: "no such cluster is running, or more than one and none was named",
    4: "the run failed: a neuron used up its restarts, or the conductor died",
    129: "stopped because the terminal was closed (SIGHUP), as by Ctrl-C",
    130: "stopped by Ctrl-C after the summary was printed",
    143: "stopped by SIGTERM, as by Ctrl-C",
}


LONGEST = 1000
"""Characters of a line for a person; what stands in an input may be longer."""


def one_line(text: str) -> str:
    """`text` as one line that a terminal shows as it is: an input's line ends and escapes are written out."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"


class NeurobusError(Exception):
    """Base of every error meant for a person. `str(error)` is the one line they see."""

    exit_code = 1

    def __init__(self, message: str = ""):
        super().__init__(one_line(message))


class InputError(NeurobusError):
    """Bad input: what is wrong and what would be right, with `file:line:` in front where known."""

    exit_code = 2

    def __init__(self, message: str, file: str | Path | None = None, line: int | None = None):
        self.message, self.file, self.line = message, file, line
        where = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
        super().__init__(where + message)


class NoClusterError(NeurobusError):
    """No running cluster, or several and none named."""

    exit_code = 3


class RunError(NeurobusError):
    """A run that began and could not be carried on."""

    exit_code = 4
