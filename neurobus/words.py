"""Figures in sentences: one way to count things, to separate thousands, to name some of many."""

from __future__ import annotations

from collections.abc import Sequence


def number(value: float, form: str = ",") -> str:
    """A number as a person reads it, thousands separated by commas everywhere."""
    return format(value, form)


def counted(n: int, noun: str, plural: str | None = None) -> str:
    """`1 neuron`, `2 neurons`, `1,234 processes`: the plural in s or es, or the one given."""
    if n == 1:
        return f"1 {noun}"
    return f"{number(n)} {plural or noun + ('es' if noun.endswith(('s', 'x', 'ch')) else 's')}"


def some(names: Sequence[str], most: int = 5) -> str:
    """The first of many names, with what says that there are more."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
