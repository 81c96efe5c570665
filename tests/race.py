"""The race to the nearest in plain integers: the reference that `nodes.race` and the chip must equal.

One tick is 1/8 ms. Ticks of a slot count from the tick in which RESET acts (r = 0); the teacher acts at
r = 4, an input of level x at r = 8 + 8 (16 - x), LEARN at r = LEARN_AT. In every tick, in this order:

    1. spikes act: lateral ones of 8 ticks ago in the order of their senders' addresses, then inputs
    2. V := min(65535, V + (S >> 3))
    3. who has not fired, is not inhibited and has V >= min(65535, 12000 + (ΣW² >> 4)) fires

An input adds W to S and leaves its level in T. A lateral spike of a classmate inhibits who has not fired
yet; one of another class does unless the teacher has come. LEARN comes after step 1 of its tick, instead
of 2 and 3, and closes the slot: it updates W; a neuron that has never learnt claims the sample 8 · rank
ticks later unless a classmate did so before. Nothing else of a slot outlives its RESET.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

Ints = npt.NDArray[np.int64]

TICKS_PER_MS, TOP, DELAY = 8, 16, 8
START, LEARN_AT, SLOT = 8, 200, 256
THRESHOLD, ATTRACT, REPEL = 12000, 3, 4


@njit(cache=True)
def present(x, teacher, learn, W, kind, first_at, learn_at):  # type: ignore[no-untyped-def]
    """Show one sample. x (D,) levels; teacher class or -1; W (K, D) is updated; kind (K,) classes.

    Returns the reader that fired first, -1 for none; `first_at[0]` its tick."""
    K, D = W.shape
    V, S, foreign = np.zeros(K, np.int64), np.zeros(K, np.int64), np.zeros(K, np.int64)
    T = np.zeros((K, D), np.int64)
    fired = np.full(K, -1, np.int64)
    inhibited, mine = np.zeros(K, np.bool_), np.zeros(K, np.bool_)
    mate_fired, mate_earlier = np.zeros(K, np.bool_), np.zeros(K, np.bool_)
    threshold = np.zeros(K, np.int64)
    for k in range(K):
        threshold[k] = min(65535, THRESHOLD + ((W[k] * W[k]).sum() >> 4))
    first = -1
    for r in range(learn_at + 1):
        if r == 4 and teacher >= 0:
            for k in range(K):
                mine[k] = kind[k] == teacher
        for sender in range(K):
            if fired[sender] < 0 or fired[sender] + DELAY != r:
                continue
            for k in range(K):
                if k == sender:
                    continue
                if kind[k] == kind[sender]:
                    mate_fired[k] = True
                    if fired[k] < 0:
                        inhibited[k] = True
                        mate_earlier[k] = True
                    elif (fired[sender], sender) < (fired[k], k):
                        mate_earlier[k] = True
                else:
                    foreign[k] += 1
                    if fired[k] < 0 and not mine[k]:
                        inhibited[k] = True
        if r == learn_at:
            break
        for i in range(D):
            if x[i] > 0 and r == START + TICKS_PER_MS * (TOP - x[i]):
                for k in range(K):
                    S[k] += W[k, i]
                    T[k, i] = TOP - (r - START) // TICKS_PER_MS
        for k in range(K):
            V[k] = min(65535, V[k] + (S[k] >> 3))
            if fired[k] < 0 and not inhibited[k] and V[k] >= threshold[k]:
                fired[k] = r
                if first < 0:
                    first = k
                    first_at[0] = r
    if not learn:
        return first
    claimed = False
    for k in range(K):  # addresses ascend with rank, so the lowest rank comes first
        if not W[k].any():
            if mine[k] and (foreign[k] > 0 or not mate_fired[k]) and not claimed:
                claimed = True
                for i in range(D):
                    W[k, i] = min(127, 8 * T[k, i])
        elif fired[k] >= 0 and not mine[k]:
            for i in range(D):
                W[k, i] = min(127, max(0, W[k, i] - ((8 * T[k, i] - W[k, i]) >> REPEL)))
        elif fired[k] >= 0 and not mate_earlier[k] and foreign[k] > 0:
            for i in range(D):
                W[k, i] = min(127, max(0, W[k, i] + ((8 * T[k, i] - W[k, i]) >> ATTRACT)))
    return first


@njit(cache=True)
def show(levels, labels, shown, n_learnt, W, kind, first, at, learn_at):  # type: ignore[no-untyped-def]
    """Samples `shown` one after another, the first `n_learnt` with teacher and LEARN. Fills `first` and
    `at` (reader and tick of each answer)."""
    tick = np.zeros(1, np.int64)
    for n in range(len(shown)):
        x, learn = levels[shown[n]], n < n_learnt
        tick[0] = -1
        first[n] = present(x, labels[shown[n]] if learn else -1, learn, W, kind, tick, learn_at)
        at[n] = tick[0]


def run(levels: Ints, labels: Ints, shown: Ints, n_learnt: int, n_readers: int,
        classes: int = 10, learn_at: int = LEARN_AT) -> tuple[Ints, Ints, Ints]:  # fmt: skip
    """Weights (K, D) after a whole lesson, the reader that answered each slot, and its tick."""
    W = np.zeros((n_readers, levels.shape[1]), np.int64)
    first, at = np.empty(len(shown), np.int64), np.empty(len(shown), np.int64)
    kind = np.arange(n_readers) % classes
    show(levels.astype(np.int64), labels, shown, n_learnt, W, kind, first, at, learn_at)
    return W, first, at
