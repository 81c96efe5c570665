"""A measured figure, and how the two sides of a comparison take turns."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

RUNS = 5


@dataclass(frozen=True)
class Figure:
    """One row of the table. `against`: the peer's value in the same unit, `ratio`: value / against.

    `met` is None where nothing was asked for, or nobody is there to compare with. `more` holds spreads
    and whatever else explains the value.
    """

    id: str
    value: float | None
    unit: str
    goal: str
    met: bool | None
    peer: str = ""
    against: float | None = None
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        return None if self.value is None or not self.against else self.value / self.against

    def row(self) -> dict[str, Any]:
        return {
            "id": self.id, "value": _short(self.value), "unit": self.unit, "against": _short(self.against),
            "ratio": _short(self.ratio), "goal": self.goal, "met": self.met, "peer": self.peer, **self.more,
        }  # fmt: skip


def in_turn(*sides: Callable[[], Any], runs: int = RUNS) -> list[list[Any]]:
    """Results of each side, run A B A B … so that what the machine does meanwhile hits both."""
    results: list[list[Any]] = [[] for _ in sides]
    for _ in range(runs):
        for side, found in zip(sides, results, strict=True):
            found.append(side())
    return results


def compared(id: str, unit: str, ours: Sequence[float], peer: str, theirs: Sequence[float],
             at_most: float | None = None, at_least: float | None = None, **more: Any) -> Figure:  # fmt: skip
    """Medians side by side, held to `at_most` or `at_least` times the peer's."""
    value, against = statistics.median(ours), statistics.median(theirs)
    ratio = value / against
    met = (at_most is None or ratio <= at_most) and (at_least is None or ratio >= at_least)
    goal = f"≤ {at_most:g} ×" if at_most is not None else f"≥ {at_least:g} ×"
    more = {"spread": spread(ours), "against_spread": spread(theirs), **more}
    return Figure(id, value, unit, goal, met, peer, against, more)


def spread(values: Sequence[float]) -> list[float | None]:
    return [_short(min(values)), _short(max(values))]


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
