"""Functions with the same bits on every machine: made of what IEEE 754 rounds exactly (+ - * / sqrt) alone.

exp and log of the processor's library differ in the last bit between machines, and a network or a train of
spikes that is drawn again must be the same.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

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
    result: Array = np.polyval(_A, square) * centre / np.polyval(_B, square)
    tail = np.flatnonzero((p < _TAIL) | (p > 1 - _TAIL))
    some = p[tail]
    q = np.sqrt(-2.0 * log(np.minimum(some, 1 - some)))
    outside = np.polyval(_C, q) / np.polyval(_D, q)
    result[tail] = np.where(some < _TAIL, outside, -outside)
    return result


def log(x: Array) -> Array:
    """Natural logarithm of x > 0: x = m 2^e, and ln m = 2 artanh((m - 1) / (m + 1))."""
    m, e = np.frexp(x)
    s = (m * np.sqrt(2.0) - 1) / (m * np.sqrt(2.0) + 1)
    series = np.polyval([1 / k for k in range(27, 0, -2)], s * s)
    result: Array = 2 * s * series + (e - 0.5) * 0.6931471805599453
    return result


def log_of_rest(p: float) -> float:
    """ln(1 - p) for 0 <= p < 1, to the last bits for a small p too: -2 artanh(p / (2 - p))."""
    if p > 0.5:
        return float(log(np.array([1.0 - p]))[0])
    s = p / (2.0 - p)
    return float(-2 * s * np.polyval([1 / k for k in range(31, 0, -2)], s * s))


def exp(x: Array) -> Array:
    """e^x: x = k ln 2 + r with |r| <= 0.35, and the Taylor series of e^r."""
    k = np.rint(x * 1.4426950408889634)
    r = (x - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10
    series = np.ones_like(r)
    for n in range(14, 0, -1):
        series = 1 + series * r / n
    result: Array = np.ldexp(series, k.astype(np.int64))
    return result


MOST_A_STEP = 100.0
"""The largest mean that `poisson_table` is made for."""


@lru_cache(maxsize=1024)
def poisson_table(mean: float) -> Array:
    """P(N <= n) for n = 0, 1, … of a Poisson number N, up to where doubles tell it from 1, added up as
    kernels do: the number for u in [0, 1) is how many entries are <= u. Raises ValueError for a mean beyond 0
    to `MOST_A_STEP`."""
    if not 0.0 <= mean <= MOST_A_STEP:
        raise ValueError(f"{mean:g} spikes in a step, on average; from 0 to {MOST_A_STEP:g} can be drawn")
    p = float(exp(np.array([-mean]))[0])
    upto, n = [p], 0
    while p > 0.0 and (n < mean or p > 2.0**-60):
        n += 1
        p *= mean / n
        upto.append(upto[-1] + p)
    table = np.array(upto)
    table.setflags(write=False)
    return table
