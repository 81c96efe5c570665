"""Random draws that come out the same on every machine.

PCG64's raw stream is fixed by numpy's policy; what is made of it here uses only operations that IEEE 754
rounds exactly (+ - * / sqrt), because exp and log differ in the last bit between processors.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from neurobus import units
from neurobus.config.schema import Distribution, Plain, Value
from neurobus.model import Array

Ints = npt.NDArray[np.int64]


class Stream:
    """The random numbers of one declaration: a function of the seed and its label alone."""

    def __init__(self, seed: int, label: str):
        self._bits = np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(label.encode())]))

    def uniforms(self, n: int) -> Array:
        """Shape (n,), in [0, 1)."""
        return (self._bits.random_raw(n) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def hits(self, n: int, probability: float) -> npt.NDArray[np.bool_]:
        """Shape (n,), each true with `probability`."""
        threshold = int(probability * 2.0**64)
        if threshold >= 2**64:
            return np.ones(n, bool)
        return self._bits.random_raw(n) < np.uint64(threshold)

    def normals(self, n: int) -> Array:
        """Shape (n,), standard normal."""
        return normal_quantile(self.uniforms(n) + 2.0**-54)

    def order(self, n: int) -> Ints:
        """A random permutation of n."""
        return np.argsort(self.uniforms(n), kind="stable")

    def below(self, limit: Ints) -> Ints:
        """One integer in [0, limit) for each element of `limit`."""
        return (self.uniforms(limit.size).reshape(limit.shape) * limit).astype(np.int64)


def sample(value: Value, n: int, unit: str, stream: Stream) -> Array:
    """Shape (n,), in `unit`: a constant n times, or n draws. Raises UnitError with what is wrong."""

    def number(written: Plain) -> float:
        return units.parse(written, unit)

    if not isinstance(value, Distribution):
        return np.full(n, number(value))
    draws = _draws(value, n, number, stream)
    lowest = -np.inf if value.min is None else number(value.min)
    highest = np.inf if value.max is None else number(value.max)
    if lowest > highest:
        raise units.UnitError(f"min {value.min} is above max {value.max}")
    return np.clip(draws, lowest, highest)


def _draws(d: Distribution, n: int, number: Callable[[Plain], float], stream: Stream) -> Array:
    given = [name for name in ("uniform", "normal", "lognormal", "choice") if getattr(d, name) is not None]
    if len(given) != 1:
        have = " and ".join(given) or "none"
        raise units.UnitError(f"a distribution is one of uniform, normal, lognormal, choice; here: {have}")
    if d.uniform is not None:
        low, high = map(number, d.uniform)
        if low > high:
            raise units.UnitError(f"uniform [{d.uniform[0]}, {d.uniform[1]}] has its ends swapped")
        return low + (high - low) * stream.uniforms(n)
    if d.normal is not None:
        mean, sd = map(number, d.normal)
        if sd < 0:
            raise units.UnitError(f"normal has the standard deviation {d.normal[1]}; it must be >= 0")
        return mean + sd * stream.normals(n)
    if d.lognormal is not None:
        median, sigma = number(d.lognormal[0]), d.lognormal[1]
        if not 0 <= sigma <= 10:
            raise units.UnitError(f"lognormal has sigma {sigma}; it must be from 0 to 10")
        return median * exp(sigma * stream.normals(n))
    assert d.choice is not None
    values = np.array([number(written) for written in d.choice])
    return values[stream.below(np.full(n, values.size))]


_A = (-3.969683028665376e01, 2.209460984245205e02, -2.759285104469687e02, 1.383577518672690e02,
      -3.066479806614716e01, 2.506628277459239e00)  # fmt: skip
_B = (-5.447609879822406e01, 1.615858368580409e02, -1.556989798598866e02, 6.680131188771972e01,
      -1.328068155288572e01, 1.0)  # fmt: skip
_C = (-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e00, -2.549732539343734e00,
      4.374664141464968e00, 2.938163982698783e00)  # fmt: skip
_D = (7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e00, 3.754408661907416e00, 1.0)
_TAIL = 0.02425


def normal_quantile(p: Array) -> Array:
    """Inverse of the standard normal distribution, 0 < p < 1; relative error below 1.2e-9 (P. J. Acklam)."""
    centre = np.clip(p, _TAIL, 1 - _TAIL) - 0.5
    square = centre * centre
    inside = np.polyval(_A, square) * centre / np.polyval(_B, square)
    q = np.sqrt(-2.0 * log(np.minimum(np.minimum(p, 1 - p), _TAIL)))
    outside = np.polyval(_C, q) / np.polyval(_D, q)
    result: Array = np.where(p < _TAIL, outside, np.where(p > 1 - _TAIL, -outside, inside))
    return result


def log(x: Array) -> Array:
    """Natural logarithm of x > 0: x = m 2^e, and ln m = 2 artanh((m - 1) / (m + 1))."""
    m, e = np.frexp(x)
    s = (m * np.sqrt(2.0) - 1) / (m * np.sqrt(2.0) + 1)
    series = np.polyval([1 / k for k in range(27, 0, -2)], s * s)
    result: Array = 2 * s * series + (e - 0.5) * 0.6931471805599453
    return result


def exp(x: Array) -> Array:
    """e^x: x = k ln 2 + r with |r| <= 0.35, and the Taylor series of e^r."""
    k = np.rint(x * 1.4426950408889634)
    r = (x - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10
    series = np.ones_like(r)
    for n in range(14, 0, -1):
        series = 1 + series * r / n
    result: Array = np.ldexp(series, k.astype(np.int64))
    return result
