"""Which neuron connects to which, by rule: arrays of presynaptic and postsynaptic indices. Pure.

Every rule takes the two populations (distinct indices each) and returns pairs (pre, post).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neurobus.network.draw import Ints, Stream

Int32s = npt.NDArray[np.int32]
Pairs = tuple[Int32s, Int32s]

_BLOCK = 1 << 24
"""Pairs tried at a time by `fixed_probability`: 128 MB of random bits."""


def all_to_all(pre: Int32s, post: Int32s, allow_self: bool) -> Pairs:
    """Every pair."""
    pairs = np.repeat(pre, post.size), np.tile(post, pre.size)
    if allow_self:
        return pairs
    other = pairs[0] != pairs[1]
    return pairs[0][other], pairs[1][other]


def fixed_probability(
    pre: Int32s, post: Int32s, probability: float, allow_self: bool, stream: Stream
) -> Pairs:
    """Every pair with the same probability."""
    rows = max(1, _BLOCK // max(post.size, 1))
    found_pre, found_post = [pre[:0]], [post[:0]]
    for first in range(0, pre.size, rows):
        some = pre[first : first + rows]
        hits = np.flatnonzero(stream.hits(some.size * post.size, probability))
        found_pre.append(some[hits // post.size])
        found_post.append(post[hits % post.size])
    pairs = np.concatenate(found_pre), np.concatenate(found_post)
    if allow_self:
        return pairs
    other = pairs[0] != pairs[1]
    return pairs[0][other], pairs[1][other]


def fixed_indegree(pre: Int32s, post: Int32s, indegree: int, allow_self: bool, stream: Stream) -> Pairs:
    """`indegree` different presynaptic neurons for each postsynaptic one.

    `indegree` must not exceed the population, less the neuron itself where that is excluded.
    """
    # Without itself, a neuron that stands at place p draws from one fewer and skips over p.
    own = np.full(post.size, pre.size, np.int64)
    if not allow_self:
        place = dict(zip(pre.tolist(), range(pre.size), strict=True))
        own = np.array([place.get(i, pre.size) for i in post.tolist()], np.int64)
    choices = pre.size - (own < pre.size)
    picked = (_distinct if 2 * indegree <= pre.size else _most)(choices, indegree, stream)
    picked += picked >= own[:, None]
    return pre[picked.ravel()], np.repeat(post, indegree)


def _distinct(choices: Ints, k: int, stream: Stream) -> Ints:
    """k different integers in [0, choices[i]) for each i, ascending: shape (len(choices), k).

    Drawn with repeats, then repeats drawn again. No number is favoured over another, so all sets of k
    are equally likely.
    """
    limit = np.repeat(choices[:, None], k, axis=1)
    picked = np.sort(stream.below(limit), axis=1)
    todo = np.arange(choices.size)
    while todo.size:
        some = picked[todo]
        again = np.zeros(some.shape, bool)
        again[:, 1:] = some[:, 1:] == some[:, :-1]
        rows = again.any(axis=1)
        todo, some, again = todo[rows], some[rows], again[rows]
        some[again] = stream.below(limit[todo][again])
        picked[todo] = np.sort(some, axis=1)
    return picked


def _most(choices: Ints, k: int, stream: Stream) -> Ints:
    """As `_distinct`, for k beyond half of the choices: draws those to leave out."""
    widest = int(choices.max(initial=0))
    keep = np.arange(widest) < choices[:, None]
    for left_out in np.unique(choices - k):
        rows = np.flatnonzero(choices - k == left_out)
        keep[rows[:, None], _distinct(choices[rows], int(left_out), stream)] = False
    return np.nonzero(keep)[1].reshape(choices.size, k)
