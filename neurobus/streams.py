"""Random words by counter: one table of uses, one hash, the same numbers whoever asks in whatever order.

A word is a hash of (seed, use, label, owner, number). `Use` lists all uses there are, and nothing random
comes from elsewhere; so no two share a word. The owner is the neuron that the number acts on, named by its
group and its place in it (`tags`): whoever builds only some neurons draws for them what the whole network
would have drawn, and a further group or projection changes nothing.

Splitmix64 (Steele, Lea, Flood 2014) mixes. Its arithmetic is that of 64-bit words, so all machines agree, and
`mixed` is what numpy and compiled kernels both run.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from neurobus.versions import STREAMS

Words = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]


class Use(IntEnum):
    """What random words are for. A number is never given to another use."""

    OWNER = (
        0  # label: group. What stands for a neuron in the keys of the other uses; no word is drawn from it
    )
    PAIRS = 1  # label: projection. Owner: the neuron a synapse ends on
    NEARBY = 2  # likewise: whether a candidate of rule `distance` is near enough
    STRUCTURE = 3  # label: projection, whose graph is drawn as one (small_world, scale_free)
    WEIGHT = 4  # label: projection. Owner: the neuron a synapse ends on. So are the next four
    DELAY = 5
    SYNAPSE = 6  # label: projection and parameter
    CONDUCTANCE = 7
    REVERSAL = 8
    PARAMETER = 9  # label: parameter. Owner: the neuron or source
    PLACE = 10  # owner: the neuron or source
    PATTERN = 11  # label: group and number of the pattern, which is drawn as one
    SHUFFLE = 12  # label: the number that `shuffle` gives; number of the pass
    SOURCE = 13  # owner: the source. When it fires
    BACKGROUND = 14  # owner: the neuron. What arrives in each update
    NOISE = 15  # owner: the neuron. Its model's own
    SAMPLE = 16  # label: a measure of `describe`


OF_THE_RUN = frozenset({Use.SHUFFLE, Use.SOURCE, Use.BACKGROUND, Use.NOISE})
"""What is drawn while a network runs; all else makes the network."""


def drawn_otherwise(version: int, drew: Collection[Use]) -> str | None:
    """A word on something drawn with that version of the streams, where it cannot be drawn again."""
    if version == STREAMS or not drew:
        return None
    what = "noise was" if set(drew) <= OF_THE_RUN else "network was"
    by = f"by version {version} of the random streams, and this is version {STREAMS}"
    return f"its {what} drawn otherwise: {by}"


STEP, MIX_1, MIX_2 = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
)
COUNTER = np.uint64(0xD1B54A32D192ED03)
S11, S27, S30, S31 = np.uint64(11), np.uint64(27), np.uint64(30), np.uint64(31)
TO_UNIT = 2.0**-53


def mixed(x: Any) -> Any:
    """splitmix64 of a word or of an array of them; compiled into kernels as it stands."""
    x = x + STEP
    x = (x ^ (x >> S30)) * MIX_1
    x = (x ^ (x >> S27)) * MIX_2
    return x ^ (x >> S31)


def key(seed: int, use: Use, label: str = "") -> int:
    """The 64-bit key of the words of one use and label; of the seed 128 bits count."""
    data = label.encode()
    # The length goes first: so no label's parts are the beginning of another's.
    parts = [seed, seed >> 64, int(use), len(data)]
    parts += [int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8)]
    made = np.uint64(0)
    with np.errstate(over="ignore"):
        for part in parts:
            made = mixed(made ^ np.uint64(part & 0xFFFFFFFFFFFFFFFF))
    return int(made)


def tags(group: str, places: npt.NDArray[Any]) -> Words:
    """What stands for neurons as owners: their group's id and their places in it. A neuron alone is place 0
    of a group of its own name. Same shape as `places`."""
    return words(key(0, Use.OWNER, group), places)


def keys(seed: int, use: Use, tag: Words, label: str = "") -> Words:
    """The key of each owner, (N,): to be given to `words`, or to a kernel."""
    with np.errstate(over="ignore"):
        return np.asarray(mixed(np.uint64(key(seed, use, label)) ^ tag))


_BLOCK = 1 << 15
"""Words made at a time: what mixing passes over twelve times stays in the cache."""


def words(key: int | Words, counters: npt.NDArray[Any]) -> Words:
    """One random word per counter, of one key or of one for each; shape of `key` and `counters` broadcast."""
    of, at = np.broadcast_arrays(np.asarray(key, np.uint64), counters)
    made = np.empty(at.shape, np.uint64)
    if made.ndim != 1:
        made.reshape(-1)[:] = words(
            np.ascontiguousarray(of).reshape(-1), np.ascontiguousarray(at).reshape(-1)
        )
        return made
    with np.errstate(over="ignore"):
        for first in range(0, made.size, _BLOCK):
            part = slice(first, first + _BLOCK)
            x = at[part].astype(np.uint64)
            made[part] = mixed(of[part] ^ (x * COUNTER))
    return made


def uniforms(key: int | Words, counters: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Random numbers in [0, 1), as `words`."""
    made: npt.NDArray[np.float64] = (words(key, counters) >> S11).astype(np.float64)
    made *= TO_UNIT
    return made
