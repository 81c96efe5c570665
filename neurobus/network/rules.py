"""Which neuron connects to which, by rule: arrays of presynaptic and postsynaptic indices. Pure.

Every rule takes the two populations (distinct indices each) and returns pairs (pre, post), each once. What is
random about a neuron's inputs is drawn from a key of its own, `keys` (post,): so any part of `post` gets the
inputs that it has in the whole. Structures of one group are drawn as one, from a `Stream`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from neurobus.exact import exp, log, log_of_rest
from neurobus.model import Array
from neurobus.network.draw import HALF_WORD, Ints, Stream
from neurobus.streams import Words, uniforms

Int32s = npt.NDArray[np.int32]
Pairs = tuple[Int32s, Int32s]
NamedParts = TypeVar("NamedParts", bound=Any)

_BLOCK = 1 << 14
"""Numbers drawn at a time: what is computed of them stays in the cache."""


def all_to_all(pre: Int32s, post: Int32s, allow_self: bool) -> Pairs:
    """Every pair."""
    return _without_self(np.repeat(pre, post.size), np.tile(post, pre.size), allow_self)


def by_class(pre: Int32s, post: Int32s, classes: int, rule: str, allow_self: bool) -> Pairs:
    """Pairs of one class (`same_class`), of those only with the presynaptic member before the other
    (`same_class_lower`) or after it (`same_class_higher`), or of two classes (`other_class`). Member n has
    class n modulo `classes`."""
    i, j = np.repeat(np.arange(pre.size), post.size), np.tile(np.arange(post.size), pre.size)
    same = i % classes == j % classes
    chosen = {"same_class": same, "same_class_lower": same & (i < j), "same_class_higher": same & (i > j),
              "other_class": ~same}  # fmt: skip
    return _without_self(pre[i[chosen[rule]]], post[j[chosen[rule]]], allow_self)


def fixed_probability(pre: Int32s, post: Int32s, probability: float, allow_self: bool, keys: Words) -> Pairs:
    """Every pair with the same probability."""
    row, place = _hits(pre.size, probability, keys)
    return _without_self(pre[place], post[row], allow_self)


def by_chance(
    pre: Int32s, post: Int32s, most: float, chance: Callable[[Int32s, Int32s], Array], allow_self: bool,
    keys: Words, near: Words,
) -> Pairs:  # fmt: skip
    """Every pair with its own probability, `chance` (of pairs), which nowhere exceeds `most`: candidates with
    that probability, of which `chance` / `most` stay. `near`: keys of the second, as `keys` of the first."""
    row, place = _hits(pre.size, most, keys)
    stays = np.empty(row.size, bool)
    for first in range(0, row.size, _BLOCK):
        part = slice(first, first + _BLOCK)
        some, at = row[part], place[part]
        stays[part] = uniforms(near[some], at) * most < chance(pre[at], post[some])
    return _without_self(pre[place[stays]], post[row[stays]], allow_self)


def _without_self(pre: Int32s, post: Int32s, allow_self: bool) -> Pairs:
    if allow_self:
        return pre, post
    other = pre != post
    return pre[other], post[other]


def _hits(n: int, probability: float, keys: Words) -> tuple[Ints, Ints]:
    """For each key which of 0 … n - 1 are hit, each with `probability`: (number of key, place), ascending.

    Number i of a key says how many places to skip before hit i, which has a geometric distribution: so what
    it costs is in proportion to the hits.
    """
    if probability <= 0.0 or not n or not keys.size:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    if probability >= 1.0:
        return np.repeat(np.arange(keys.size), n), np.tile(np.arange(n), keys.size)
    mean = n * probability
    at_once = int(mean + 4 * np.sqrt(mean * (1 - probability))) + 4
    per_log = 1.0 / log_of_rest(probability)
    found: list[tuple[Ints, Ints]] = []
    rows = max(1, _BLOCK // at_once)
    for first in range(0, keys.size, rows):
        todo = np.arange(first, min(first + rows, keys.size))
        last = np.full(todo.size, -1.0)
        used = 0
        while todo.size:
            u = uniforms(keys[todo][:, None], np.arange(used, used + at_once))
            skipped = np.floor(log(u + HALF_WORD) * per_log)
            # Whole numbers below 2^53, or far beyond n.
            place = np.cumsum(skipped + 1.0, axis=1) + last[:, None]
            row, column = np.nonzero(place < n)
            found.append((todo[row], place[row, column].astype(np.int64)))
            more = place[:, -1] < n
            todo, last, used = todo[more], place[more, -1], used + at_once
    hit, place = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return hit, place


def fixed_indegree(pre: Int32s, post: Int32s, indegree: int, allow_self: bool, keys: Words) -> Pairs:
    """`indegree` different presynaptic neurons for each postsynaptic one.

    `indegree` must not exceed the population, less the neuron itself where that is excluded.
    """
    # Without itself, a neuron that stands at place p draws from one fewer and skips over p.
    own = np.full(post.size, pre.size, np.int64)
    if not allow_self:
        place = dict(zip(pre.tolist(), range(pre.size), strict=True))
        own = np.array([place.get(i, pre.size) for i in post.tolist()], np.int64)
    choices = pre.size - (own < pre.size)
    picked = (_distinct if 2 * indegree <= pre.size else _most)(choices, indegree, keys)
    picked += picked >= own[:, None]
    return pre[picked.ravel()], np.repeat(post, indegree)


def _distinct(choices: Ints, k: int, keys: Words) -> Ints:
    """k different integers in [0, choices[i]) for each i, ascending: shape (len(choices), k).

    Numbers 0 … k - 1 of each key are drawn with repeats, then repeats drawn again from the numbers that
    follow. No integer is favoured over another, so all sets of k are equally likely.
    """
    picked = np.sort((uniforms(keys[:, None], np.arange(k)) * choices[:, None]).astype(np.int64), axis=1)
    todo, used = np.arange(choices.size), np.full(choices.size, k, np.int64)
    while todo.size:
        some = picked[todo]
        again = np.zeros(some.shape, bool)
        again[:, 1:] = some[:, 1:] == some[:, :-1]
        rows = again.any(axis=1)
        todo, some, again = todo[rows], some[rows], again[rows]
        row, _ = np.nonzero(again)
        nth = np.arange(row.size) - np.searchsorted(row, row)
        drawn = uniforms(keys[todo[row]], used[todo[row]] + nth)
        some[again] = (drawn * choices[todo[row]]).astype(np.int64)
        used[todo] += again.sum(axis=1)
        picked[todo] = np.sort(some, axis=1)
    return picked


def _most(choices: Ints, k: int, keys: Words) -> Ints:
    """As `_distinct`, for k beyond half of the choices: draws those to leave out."""
    widest = int(choices.max(initial=0))
    keep = np.arange(widest) < choices[:, None]
    for left_out in np.unique(choices - k):
        rows = np.flatnonzero(choices - k == left_out)
        keep[rows[:, None], _distinct(choices[rows], int(left_out), keys[rows])] = False
    return np.nonzero(keep)[1].reshape(choices.size, k)


def layered(
    pre: Int32s, post: Int32s, sizes: list[int], place: Ints, probability: float, keys: Words
) -> Pairs:
    """Each layer of the group `pre` to the next, every pair with `probability`: a synfire chain (Abeles
    1991). `post`: some of the group; `place` (post,) the places of these in it.
    """
    edges = np.cumsum([0, *sizes])
    layers = [pre[a:b] for a, b in pairwise(edges.tolist())]
    found = [(pre[:0], pre[:0])]
    for number, before in enumerate(layers[:-1], 1):
        mine = (place >= edges[number]) & (place < edges[number + 1])
        found.append(fixed_probability(before, post[mine], probability, True, keys[mine]))
    a, b = zip(*found, strict=True)
    return np.concatenate(a), np.concatenate(b)


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


def by_ends(pre: Int32s, post: Int32s) -> Ints | None:
    """The order by (pre, post), stable; None: they have it. By digits of 16 bits, for which numpy has a radix
    sort."""
    pairs = pre.astype(np.int64) << 32 | post
    if not np.any(pairs[1:] < pairs[:-1]):
        return None
    order = np.arange(pre.size)
    by_post = not np.any(post[1:] < post[:-1])
    for ends in (pre,) if by_post else (post, pre):
        for shift in range(0, int(ends.max()).bit_length(), 16):
            digit = (ends >> shift).astype(np.uint16)
            order = order[np.argsort(digit[order], kind="stable")]
    return order


def ordered(parts: NamedParts, order: Ints | None) -> NamedParts:
    """The arrays of a named tuple in that order; those with one value stay."""
    if order is None:
        return parts
    made: NamedParts = parts._make(part if np.all(part == part[0]) else part[order] for part in parts)
    return made
