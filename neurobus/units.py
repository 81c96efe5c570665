"""Physical quantities written as text: `"20 ms"`, `"-70 mV"`, `"250 pA"`.

Arithmetic is decimal until the last step, so `"0.1 ms"` is exactly 100 000 ns.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

_PREFIX = {"f": -15, "p": -12, "n": -9, "u": -6, "µ": -6, "μ": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9}
_BASE = {"s": "time", "V": "voltage", "A": "current", "F": "capacitance", "S": "conductance",
         "Ohm": "resistance", "Hz": "rate", "m/s": "velocity", "m": "length"}  # fmt: skip
_QUANTITY = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([A-Za-zµμ]*(?:/s)?)\s*")


FARTHEST = 400
"""Powers of ten; a float has 308."""
LONGEST_NS = 1 << 62
LARGEST = 1e15
"""Of any quantity in the unit of its model: products of a few of them are still finite numbers."""


class UnitError(ValueError):
    """Text that is not a quantity, or one of another dimension. Says what would be right."""


def _unit(name: str) -> tuple[str, int]:
    """Dimension and power of ten of a unit name; `""` is a plain number."""
    if name == "":
        return "a plain number", 0
    for base, dimension in _BASE.items():
        if name.endswith(base) and name[: -len(base)] in _PREFIX:
            return dimension, _PREFIX[name[: -len(base)]]
    raise UnitError(f"unknown unit '{name}'; known: {', '.join(_BASE)} with prefixes f p n u m k M G")


def split(text: str) -> tuple[Decimal, str]:
    """`"20 ms"` → `(Decimal("20"), "ms")`. Raises `UnitError`."""
    found = _QUANTITY.fullmatch(text)
    if not found:
        raise UnitError(f"'{text}' is not a quantity; write a number and a unit, such as \"20 ms\"")
    try:
        number = Decimal(found[1])
    except InvalidOperation as error:  # pragma: no cover - the pattern admits only decimals
        raise UnitError(f"'{text}' is not a number") from error
    if number and abs(number.adjusted()) > FARTHEST:
        raise UnitError(f"'{text}' is beyond every number that is reckoned with here")
    _unit(found[2])
    return number, found[2]


def _scaled(value: object, unit: str, usual: str = "") -> Decimal:
    """`value` in `unit`; `usual` is the unit that people would write such a thing in, for suggestions."""
    dimension, power = _unit(unit)
    usual = usual or unit
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UnitError(
            f'{value!r} is not a quantity; write it as text, such as "1 {usual}"'.replace(' "', ' "')
        )
    if not isinstance(value, str):
        if unit == "":
            return Decimal(repr(value))
        raise UnitError(f'{value!r} has no unit; write "{value} {usual}"')
    number, given = split(value)
    have, given_power = _unit(given)
    if have != dimension:
        wanted = f'{dimension}, such as "{number} {usual}"' if unit else "a plain number"
        raise UnitError(f"'{value}' is {have if given else 'a plain number'}; this must be {wanted}")
    return number.scaleb(given_power - power)


def parse(value: object, unit: str, usual: str = "") -> float:
    """The quantity `value` as a float in `unit` (`""`: a plain number). Raises `UnitError`, which suggests
    `usual` where a unit is missing."""
    result = float(_scaled(value, unit, usual))
    if result != result or result in (float("inf"), float("-inf")):
        raise UnitError(f"{value!r} is not a finite number")
    if abs(result) > LARGEST:
        raise UnitError(
            f"{value!r} is beyond every number that is reckoned with here, {LARGEST:g} {unit}".rstrip()
        )
    return result


def to_ns(value: object, usual: str = "ms") -> int:
    """A time as whole nanoseconds. Raises `UnitError` when it is none; `usual` as in `parse`."""
    ns = _scaled(value, "ns", usual)
    if ns != ns.to_integral_value():
        raise UnitError(f"'{value}' is not a whole number of nanoseconds")
    if abs(ns) >= LONGEST_NS:
        raise UnitError(f"'{value}' is longer than the longest time, 146 years")
    return int(ns)
