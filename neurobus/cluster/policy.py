"""When to restart a dead neuron: a budget per neuron, and a pause that doubles. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0


@dataclass
class RestartPolicy:
    """`budget`: restarts each process may have in one run."""

    budget: int
    used: dict[str, int] = field(default_factory=dict)

    def died(self, name: str) -> float | None:
        """Seconds to wait before the restart, or None when the budget is spent."""
        n = self.used.get(name, 0)
        if n >= self.budget:
            return None
        self.used[name] = n + 1
        return float(min(FIRST_PAUSE_S * 2**n, LONGEST_PAUSE_S))

    @property
    def total(self) -> int:
        return sum(self.used.values())
