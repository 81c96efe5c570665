"""Random draws, the same on every machine, each of the word that is its own (`neurobus.streams`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from neurobus import streams, units
from neurobus.config.schema import Distribution, Plain
from neurobus.exact import exp, normal_quantile
from neurobus.model import Array
from neurobus.streams import Use, Words

Ints = npt.NDArray[np.int64]
HALF_WORD = 2.0**-54
"""Added to a uniform number: then it is neither 0 nor 1."""


class Stream:
    """Words one after the other, of what is drawn as one: a graph, a pattern, a sample."""

    def __init__(self, key: int):
        self._key, self._used = key, 0

    def uniforms(self, n: int) -> Array:
        """Shape (n,), in [0, 1)."""
        self._used += n
        return streams.uniforms(self._key, np.arange(self._used - n, self._used))

    def hits(self, n: int, probability: float) -> npt.NDArray[np.bool_]:
        """Shape (n,), each true with `probability`."""
        return self.uniforms(n) < probability

    def order(self, n: int) -> Ints:
        """A random permutation of n."""
        return np.argsort(self.uniforms(n), kind="stable")

    def below(self, limit: Ints) -> Ints:
        """One integer in [0, limit) for each element of `limit`."""
        return (self.uniforms(limit.size).reshape(limit.shape) * limit).astype(np.int64)


@dataclass(frozen=True)
class Owners:
    """Things that draw numbers: each is thing `number` of neuron `owner`. `tags` (N,), the others (n,).

    `numbers` is asked for once something is drawn; None: each owner has one.
    """

    tags: Words
    owner: npt.NDArray[np.int32]
    numbers: Callable[[], Ints] | None = None

    @property
    def n(self) -> int:
        return self.owner.size

    @cached_property
    def _numbers(self) -> Ints:
        return np.zeros(self.n, np.int64) if self.numbers is None else self.numbers()

    def uniforms(self, seed: int, use: Use, label: str, attempt: int = 0) -> Array:
        """Shape (n,), in [0, 1): of each thing the number that is its own."""
        if self.n < self.tags.size:
            keys = streams.keys(seed, use, self.tags[self.owner], label)
        else:
            keys = streams.keys(seed, use, self.tags, label)[self.owner]
        return streams.uniforms(keys, self._numbers + (attempt << 32))


class Drawn(NamedTuple):
    """`values` (n,); how many draws lay below `min` and above `max`, and stand there."""

    values: Array
    below: int
    above: int


MOST_ATTEMPTS = 1000
"""How often a draw is made again before its bounds are said to be too narrow."""


def sample(value: Distribution, unit: str, uniforms: Callable[[int], Array]) -> Drawn:
    """One draw for each of `uniforms`, in `unit`. `uniforms(attempt)`: shape (n,), in [0, 1).

    Raises UnitError with what is wrong.
    """

    def number(written: Plain) -> float:
        return units.parse(written, unit)

    lowest = -np.inf if value.min is None else number(value.min)
    highest = np.inf if value.max is None else number(value.max)
    if lowest > highest:
        raise units.UnitError(f"min {value.min} is above max {value.max}")
    if value.redraw and value.min is None and value.max is None:
        raise units.UnitError("'redraw' goes with min or max")
    draws = _draws(value, number, uniforms(0))
    if not value.redraw:
        below, above = int(np.sum(draws < lowest)), int(np.sum(draws > highest))
        return Drawn(np.clip(draws, lowest, highest), below, above)
    outside = (draws < lowest) | (draws > highest)
    for attempt in range(1, MOST_ATTEMPTS):
        if not outside.any():
            return Drawn(draws, 0, 0)
        draws[outside] = _draws(value, number, uniforms(attempt)[outside])
        outside = (draws < lowest) | (draws > highest)
    raise units.UnitError(f"{MOST_ATTEMPTS} draws lay outside of min and max; they are too narrow")


def _draws(d: Distribution, number: Callable[[Plain], float], u: Array) -> Array:
    """A draw for each uniform number."""
    given = [name for name in ("uniform", "normal", "lognormal", "choice") if getattr(d, name) is not None]
    if len(given) != 1:
        have = " and ".join(given) or "none"
        raise units.UnitError(f"a distribution is one of uniform, normal, lognormal, choice; here: {have}")
    if d.uniform is not None:
        low, high = map(number, d.uniform)
        if low > high:
            raise units.UnitError(f"uniform [{d.uniform[0]}, {d.uniform[1]}] has its ends swapped")
        return low + (high - low) * u
    if d.normal is not None:
        mean, sd = map(number, d.normal)
        if sd < 0:
            raise units.UnitError(f"normal has the standard deviation {d.normal[1]}; it must be >= 0")
        return mean + sd * normal_quantile(u + HALF_WORD)
    if d.lognormal is not None:
        median, sigma = number(d.lognormal[0]), d.lognormal[1]
        if not 0 <= sigma <= 10:
            raise units.UnitError(f"lognormal has sigma {sigma}; it must be from 0 to 10")
        return median * exp(sigma * normal_quantile(u + HALF_WORD))
    assert d.choice is not None
    values = np.array([number(written) for written in d.choice])
    return values[(u * values.size).astype(np.int64)]
