"""What a launcher believes of reports. Whoever reaches the bus may speak as anybody, and says anything. Pure.

The table of verbs has checked their fields. What is returned here can be printed in one line and written as
JSON; everything else is `Malformed`.
"""

from __future__ import annotations

import json
from typing import Any

from neurobus.wire import bus as wire
from neurobus.wire import lease
from neurobus.words import some

MOST_TEXT = 600
MOST_TOLD = 10_000
"""Words of one kind that a run keeps and prints; those beyond are counted."""


def farewell(figures: dict[str, Any]) -> dict[str, Any]:
    """The last report of a program of the run, or of a guest."""
    if figures.get("notes"):
        figures = {**figures, "notes": list(map(line, figures["notes"]))}
    try:
        json.dumps(figures, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise wire.Malformed(f"not plain values: {error}") from error
    return figures


def line(value: str) -> str:
    """What is printed as part of a line: without line breaks and what moves a terminal."""
    return "".join(c for c in " ".join(value.split()) if c.isprintable())[:MOST_TEXT]


def named(name: str) -> str:
    """The name of a guest."""
    if not name.isprintable() or len(name) > MOST_TEXT:
        raise wire.Malformed("no name")
    return name


def epoch(value: int) -> int:
    if value >= wire.MOST_EPOCHS:
        raise wire.Malformed("an epoch that no run comes to")
    return value


def taken(told: lease.Ceded, dt_ns: int) -> str:
    """What is told of a neuron that a board took."""
    return f"is {line(told.board)} from {told.step * dt_ns * 1e-9:.3f} s on"


def returned(told: lease.Owner, dt_ns: int) -> str:
    """What is told of a neuron that its process took back."""
    if told.step is None or (told.weighed and told.off is None):
        raise wire.Malformed("it does not say when, or what it cost")
    cost = f"{told.late} spikes up to {told.waited_ms} ms late" if told.late else "no spike late"
    if told.weighed:
        cost += (
            f", {told.off} of its {told.weighed} weights not the same"
            if told.off
            else ", its weights the same"
        )
    at = f"{told.step * dt_ns * 1e-9:.3f} s"
    return f"came back from {line(told.board)} at {at} ({line(told.why)}): none lost, {cost}"


class Notebook:
    """Troubles, by what and whose, and how much else was told. What is beyond all measure is counted only."""

    def __init__(self) -> None:
        self._troubles: dict[str, list[str]] = {}
        self._untold = self._others = 0

    def trouble(self, name: str, what: str) -> bool:
        """Somebody has trouble. Whether a person has to be told now: each kind of trouble is told once."""
        if what not in self._troubles and len(self._troubles) >= MOST_TOLD:
            self._untold += 1
            return False
        whose = self._troubles.setdefault(what, [])
        if name not in whose:
            whose.append(name)
            return len(whose) == 1
        return False

    def one_more(self) -> bool:
        """Whether one more note of another kind may be kept."""
        self._others += 1
        self._untold += self._others > MOST_TOLD
        return self._others <= MOST_TOLD

    def has(self, name: str, what: str) -> bool:
        return name in self._troubles.get(what, ())

    def lines(self) -> list[str]:
        """A note for each kind of trouble."""
        found = [f"{some(whose)}: {what}" for what, whose in self._troubles.items()]
        return [*found, *([f"{self._untold} more notes were not kept"] if self._untold else [])]
