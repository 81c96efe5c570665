"""What a launcher believes of reports. Whoever reaches the bus may speak as anybody, and says anything. Pure.

What is returned here can be summed, printed in one line and written as JSON. Everything else is `Malformed`.
"""

from __future__ import annotations

import json
import math
from typing import Any

from neurobus.bounds import LONGEST_RUN
from neurobus.cluster.summary import FIGURES, Summary, total
from neurobus.wire import bus as wire

MOST_TEXT = 600
MOST_TOLD = 10_000
"""Words of one kind that a run keeps and prints; those beyond are counted."""


def summable(name: str, final: dict[str, Any]) -> dict[str, Any]:
    """The final report of a process, which can go into the summary."""
    wire.integer(final, "step")
    for key in {key for keys in FIGURES.values() for key in keys}:
        if wire.integer(final, key) < 0:
            raise wire.Malformed(f"{key} is negative")
    counts = final.get("counts", [])
    if not isinstance(counts, list) or not all(type(n) is int and 0 <= n < wire.MOST_NS for n in counts):
        raise wire.Malformed("counts are no counts")
    _number(final, "cpu_s")
    if not isinstance(final.get("gaps", {}), dict):
        raise wire.Malformed("gaps are by stream")
    try:
        total(Summary(), {name: final}, [name], None)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise wire.Malformed("not a final report") from error
    return _plain(final)


def farewell(data: dict[str, Any]) -> dict[str, Any]:
    """The final report of a program of the run, or of a guest."""
    if "lost" in data:
        wire.integer(data, "lost")
    if not isinstance(data.get("path"), (str, type(None))):
        raise wire.Malformed("path is text")
    notes = data.get("notes", [])
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise wire.Malformed("notes are lines")
    boards = data.get("boards")
    if boards is not None and not (isinstance(boards, list) and all(isinstance(row, dict) for row in boards)):
        raise wire.Malformed("boards are rows")
    return _plain({**data, "notes": list(map(_line, notes))} if notes else data)


def text(data: dict[str, Any], key: str) -> str:
    """What is printed as part of a line: without line breaks and what moves a terminal."""
    value = data.get(key)
    if not isinstance(value, str):
        raise wire.Malformed(f"{key} is no text")
    return _line(value)


def _line(value: str) -> str:
    return "".join(c for c in " ".join(value.split()) if c.isprintable())[:MOST_TEXT]


def named(name: str) -> str:
    """The name of a guest."""
    if not name.isprintable() or len(name) > MOST_TEXT:
        raise wire.Malformed("no name")
    return name


def epoch(data: dict[str, Any]) -> int:
    found = wire.integer(data, "epoch")
    if not 0 <= found < wire.MOST_EPOCHS:
        raise wire.Malformed("an epoch that no run comes to")
    return found


def hands(verb: str, data: dict[str, Any], dt_ns: int) -> str:
    """What is told of a neuron that a board took (`ceded`), or that its process took back."""
    step = wire.integer(data, "step")
    if not 0 <= step <= LONGEST_RUN:
        raise wire.Malformed("a step outside the run")
    board, at = text(data, "board"), f"{step * dt_ns * 1e-9:.3f} s"
    if verb == "ceded":
        return f"is {board} from {at} on"
    late = wire.integer(data, "late")
    cost = f"{late} spikes up to {_number(data, 'waited_ms')} ms late" if late else "no spike late"
    if data.get("weighed"):
        off, weighed = wire.integer(data, "off"), wire.integer(data, "weighed")
        cost += f", {off} of its {weighed} weights not the same" if off else ", its weights the same"
    return f"came back from {board} at {at} ({text(data, 'why')}): none lost, {cost}"


def _number(data: dict[str, Any], key: str) -> float:
    value: Any = data.get(key)
    if type(value) not in (int, float) or not math.isfinite(value) or abs(value) >= 1e18:
        raise wire.Malformed(f"{key} is no number")
    return float(value) if type(value) is float else value


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(data, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise wire.Malformed(f"not plain values: {error}") from error
    return data
