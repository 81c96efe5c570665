"""Why something ended, where code decides by it. The value is what a person reads, and what is sent."""

from __future__ import annotations

from enum import Enum


class Reason(Enum):
    RUN_ENDED = "the run has ended"
    """Every board gives its neuron back then; that is worth no note."""
    NO_BOARD = "no board answers; does it run our firmware, at this baud?"
    """A board that was ours once may be slow to come back."""

    @classmethod
    def of(cls, text: str) -> Reason | None:
        """The reason in a message; None for a sentence that decides nothing."""
        return cls(text) if text in cls._value2member_map_ else None
