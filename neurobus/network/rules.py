"""Which neuron connects to which, by rule: arrays of presynaptic and postsynaptic indices. Pure.

Every rule takes the two populations (distinct indices each) and returns pairs (pre, post).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from neurobus.model import Array
from neurobus.network.draw import Ints, Stream, exp, log

Int32s = npt.NDArray[np.int32]
Pairs = tuple[Int32s, Int32s]

_BLOCK = 1 << 23
"""Pairs tried at a time: 64 MB of random bits."""


def all_to_all(pre: Int32s, post: Int32s, allow_self: bool) -> Pairs:
    """Every pair."""
    pairs = np.repeat(pre, post.size), np.tile(post, pre.size)
    if allow_self:
        return pairs
    other = pairs[0] != pairs[1]
    return pairs[0][other], pairs[1][other]


def by_class(pre: Int32s, post: Int32s, classes: int, rule: str, allow_self: bool) -> Pairs:
    """Pairs of one class (`same_class`), of those only with the presynaptic member before (`elders`) or after
    (`youngers`) the other, or of two classes (`other_class`). Member n has class n modulo `classes`."""
    i, j = np.repeat(np.arange(pre.size), post.size), np.tile(np.arange(post.size), pre.size)
    same = i % classes == j % classes
    chosen = {"same_class": same, "elders": same & (i < j), "youngers": same & (i > j), "other_class": ~same}
    pairs = pre[i[chosen[rule]]], post[j[chosen[rule]]]
    if allow_self:
        return pairs
    other = pairs[0] != pairs[1]
    return pairs[0][other], pairs[1][other]


def fixed_probability(
    pre: Int32s, post: Int32s, probability: float, allow_self: bool, stream: Stream
) -> Pairs:
    """Every pair with the same probability."""
    return _tried(pre, post, lambda some: stream.hits(some.size * post.size, probability), allow_self)


def by_chance(
    pre: Int32s, post: Int32s, most: float, chance: Callable[[Int32s, Int32s], Array], allow_self: bool,
    stream: Stream,
) -> Pairs:  # fmt: skip
    """Every pair with its own probability, `chance` (of pairs), which nowhere exceeds `most`."""

    def hits(some: Int32s) -> npt.NDArray[np.bool_]:
        draws = stream.uniforms(some.size * post.size)
        likely = np.flatnonzero(draws < most)
        taken = draws[likely] < chance(some[likely // post.size], post[likely % post.size])
        found = np.zeros(draws.size, bool)
        found[likely[taken]] = True
        return found

    return _tried(pre, post, hits, allow_self)


def _tried(
    pre: Int32s, post: Int32s, hits: Callable[[Int32s], npt.NDArray[np.bool_]], allow_self: bool
) -> Pairs:
    """The pairs that `hits` takes, asked for some of `pre` at a time with all of `post`."""
    rows = max(1, _BLOCK // max(post.size, 1))
    found_pre, found_post = [pre[:0]], [post[:0]]
    for first in range(0, pre.size, rows):
        some = pre[first : first + rows]
        taken = np.flatnonzero(hits(some))
        found_pre.append(some[taken // post.size])
        found_post.append(post[taken % post.size])
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


# -- structures within one group; members stand in the order of the group --------------------------------


def small_world(members: Int32s, neighbours: int, rewire: float, directed: bool, stream: Stream) -> Pairs:
    """A ring, everybody joined to the nearest `neighbours`, some edges moved (Watts & Strogatz 1998).

    An edge is moved with probability `rewire`; it keeps its first end, the other is drawn from all that are
    not joined to it by then. Moved edges are drawn together, not one by one round the ring as in the paper.
    Directed: each neuron's own synapses are moved; else an edge is two synapses. `neighbours` is even and
    below half the group.
    """
    n, half = members.size, neighbours // 2
    steps = np.arange(1, half + 1)
    steps = np.concatenate([steps, -steps]) if directed else steps
    a = np.repeat(np.arange(n, dtype=np.int64), steps.size)
    b = (a + np.tile(steps, n)) % n
    moved = stream.hits(a.size, rewire)
    have = np.sort(_code(a[~moved], b[~moved], n, directed))
    a, b = np.concatenate([a[~moved], a[moved]]), b[~moved]
    todo = a[b.size :]
    while todo.size:
        drawn = stream.below(np.full(todo.size, n))
        code = _code(todo, drawn, n, directed)
        fresh = _fresh(code, have) & (drawn != todo)
        a = np.concatenate([a[: b.size], todo[fresh], todo[~fresh]])
        b = np.concatenate([b, drawn[fresh]])
        have = np.sort(np.concatenate([have, code[fresh]]))
        todo = todo[~fresh]
    return _both_ways(members, a, b, directed)


def scale_free(members: Int32s, exponent: float, degree: float, directed: bool, stream: Stream) -> Pairs:
    """Degrees that fall as k^-exponent, with the mean `degree` (static model: Goh, Kahng & Kim 2001).

    Neuron of rank i has the weight i^-a, a = 1 / (exponent - 1); both ends of each edge are drawn by weight,
    pairs that exist already are drawn again. Ranks are dealt at random: directed, once for the outgoing and
    once for the incoming synapses, which so are not correlated; else once, and an edge is two synapses.
    `degree` counts outgoing (and so incoming) synapses. Needs exponent > 2 and degree < n / 2.
    """
    n = members.size
    weight = exp(-log(np.arange(1.0, n + 1.0)) / (exponent - 1.0))
    upto = np.cumsum(weight)
    out, into = stream.order(n), stream.order(n)
    into = into if directed else out
    need = round(n * degree) if directed else round(n * degree / 2)
    a = b = have = np.empty(0, np.int64)
    while a.size < need:
        draws = stream.uniforms(2 * (need - a.size)) * upto[-1]
        ranks = np.minimum(np.searchsorted(upto, draws, side="right"), n - 1)
        pre, post = out[ranks[::2]], into[ranks[1::2]]
        code = _code(pre, post, n, directed)
        fresh = _fresh(code, have) & (pre != post)
        a, b = np.concatenate([a, pre[fresh]]), np.concatenate([b, post[fresh]])
        have = np.sort(np.concatenate([have, code[fresh]]))
    return _both_ways(members, a, b, directed)


def layered(members: Int32s, sizes: list[int], probability: float, stream: Stream) -> Pairs:
    """Each layer of the group to the next, every pair with `probability`: a synfire chain (Abeles 1991)."""
    edges = np.cumsum([0, *sizes])
    layers = [members[first:last] for first, last in pairwise(edges.tolist())]
    found = [fixed_probability(a, b, probability, True, stream) for a, b in pairwise(layers)]
    pre, post = zip(*found, strict=True)
    return np.concatenate(pre), np.concatenate(post)


def _code(a: Ints, b: Ints, n: int, directed: bool) -> Ints:
    """One number per pair; without direction the same for both."""
    return a * n + b if directed else np.minimum(a, b) * n + np.maximum(a, b)


def _fresh(code: Ints, have: Ints) -> npt.NDArray[np.bool_]:
    """Which codes are not in `have` (sorted), each the first time it comes."""
    fresh = np.zeros(code.size, bool)
    fresh[np.unique(code, return_index=True)[1]] = True
    at = np.searchsorted(have, code)
    known = at < have.size
    fresh[known] &= have[at[known]] != code[known]
    return fresh


def _both_ways(members: Int32s, a: Ints, b: Ints, directed: bool) -> Pairs:
    if directed:
        return members[a], members[b]
    return members[np.concatenate([a, b])], members[np.concatenate([b, a])]


def covariance(pre: npt.NDArray[np.bool_], post: npt.NDArray[np.bool_], pairs: Pairs) -> Array:
    """What the patterns say of each pair: the sum over patterns of (x - a)(y - a) / (a (1 - a)).

    a is the share of neurons that are active; a = 1/2 gives +1 and -1 (Hopfield 1982), others Tsodyks &
    Feigel'man 1988. `pre`, `post`: shape (patterns, neurons); `pairs` index their columns.
    """
    total = np.zeros(pairs[0].size)
    for x, y in zip(pre, post, strict=True):
        a, b = x.mean(), y.mean()
        total += (x[pairs[0]] - a) * (y[pairs[1]] - b) / np.sqrt(a * (1 - a) * b * (1 - b))
    return total
