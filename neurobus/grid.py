"""Times as steps of dt: the one place where a time becomes steps. Pure.

Text is exact decimals until it is whole nanoseconds (`neurobus.units.to_ns`); a parameter of a model is a
float64 in ms, and so is dt there. Both become whole nanoseconds first and are integers from then on. No
quotient of floats is ever rounded: 0.55 / 0.01 is 55.00000000000001, and its ceiling 56.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

import numpy as np
import numpy.typing as npt

EXACT_NS = float(1 << 50)
"""Below it the nearest whole number to a product ms * 1e6 is the one that was written."""
FARTHEST_NS = 1 << 61

Ints = npt.NDArray[np.int64]


@lru_cache(maxsize=1024)
def _written_ns(ms: float) -> int:
    """Nearest whole ns of the shortest decimal that is this float64."""
    if abs(ms) * 1e6 >= FARTHEST_NS:
        return FARTHEST_NS if ms > 0 else -FARTHEST_NS
    return round(Decimal(repr(ms)).scaleb(6))


def whole_ns(ms: npt.ArrayLike) -> Ints:
    """The nearest whole nanoseconds of times in ms, any shape. Exact for what was written as whole ns in
    at most 15 digits. What lies beyond 2^61 ns (73 years) is 2^61 ns."""
    ms = np.asarray(ms, np.float64)
    rough = ms * 1e6
    far = ~(np.abs(rough) < EXACT_NS)
    ns = np.array(np.rint(np.where(far, 0.0, rough)), np.int64)
    if far.any():
        ns[far] = [_written_ns(value) for value in ms[far].tolist()]
    return ns


def steps_up(ms: npt.ArrayLike, dt_ms: float) -> Ints:
    """The first step that is not before each of these times (ms): off the grid they are rounded up, as NEST
    does."""
    return np.asarray(-(-whole_ns(ms) // _dt_ns(dt_ms)))


def nearest_step(ms: npt.ArrayLike, dt_ms: float) -> Ints:
    """The step nearest to each of these times (ms), the later of two that are as near."""
    dt_ns = _dt_ns(dt_ms)
    return np.asarray((2 * whole_ns(ms) + dt_ns) // (2 * dt_ns))


def off_grid_ms(ms: npt.ArrayLike, dt_ms: float) -> npt.NDArray[np.float64]:
    """By how much `steps_up` lengthens each of these times, ms; 0 for those on the grid."""
    return np.asarray((-whole_ns(ms) % _dt_ns(dt_ms)) * 1e-6)


def _dt_ns(dt_ms: float) -> int:
    return round(dt_ms * 1e6)
