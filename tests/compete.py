"""Competitive learning in plain integers: what `nodes.compete` must equal. Ticks as in tests/race.py."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from tests.race import DELAY, LEARN_AT, START, TICKS_PER_MS, TOP

Ints = npt.NDArray[np.int64]
THRESHOLD, YOUNG, OLD, PATIENCE = 12000, 2, 4, 140


@njit(cache=True)
def present(x, learn, W, wins, learn_at):  # type: ignore[no-untyped-def]
    """Show one sample. x (D,) levels; W (K, D), wins (K,) are updated. Returns who fired first, or -1."""
    K, D = W.shape
    V, S = np.zeros(K, np.int64), np.zeros(K, np.int64)
    fired, heard = np.full(K, -1, np.int64), np.full(K, -1, np.int64)
    inhibited, earlier = np.zeros(K, np.bool_), np.zeros(K, np.bool_)
    threshold, virgin = np.zeros(K, np.int64), np.zeros(K, np.bool_)
    for k in range(K):
        square = (W[k] * W[k]).sum()
        threshold[k], virgin[k] = min(65535, THRESHOLD + (square >> 4)), square == 0
    first = -1
    for r in range(learn_at + 1):
        for sender in range(K):
            if fired[sender] < 0 or fired[sender] + DELAY != r:
                continue
            for k in range(K):
                if k == sender:
                    continue
                if heard[k] < 0:
                    heard[k] = r - DELAY
                if fired[k] < 0:
                    inhibited[k] = True
                    earlier[k] = True
                elif (fired[sender], sender) < (fired[k], k):
                    earlier[k] = True
        if r == learn_at:
            break
        for i in range(D):
            if x[i] > 0 and r == START + TICKS_PER_MS * (TOP - x[i]):
                for k in range(K):
                    S[k] += W[k, i]
        for k in range(K):
            if fired[k] < 0 and not inhibited[k] and not virgin[k]:
                V[k] = min(65535, V[k] + (S[k] >> 3))
                if V[k] >= threshold[k]:
                    fired[k] = r
                    if first < 0:
                        first = k
    if not learn:
        return first
    claimed = False
    for k in range(K):
        if virgin[k]:
            if not claimed:  # it is the turn of this one, whether it takes it or not
                claimed = True
                if heard[k] < 0 or heard[k] >= PATIENCE:
                    for i in range(D):
                        W[k, i] = min(127, 8 * x[i])
        elif fired[k] >= 0 and not earlier[k]:
            wins[k] += 1
            shift, more = YOUNG, wins[k] >> YOUNG
            while more > 0 and shift < OLD:
                shift += 1
                more >>= 1
            for i in range(D):
                W[k, i] = min(127, max(0, W[k, i] + ((8 * x[i] - W[k, i] + ((1 << shift) >> 1)) >> shift)))
    return first


@njit(cache=True)
def show(levels, shown, n_learnt, W, first, learn_at):  # type: ignore[no-untyped-def]
    """Samples `shown` one after another, the first `n_learnt` with LEARN. Fills `first`, who answered."""
    wins = np.zeros(len(W), np.int64)
    for n in range(len(shown)):
        first[n] = present(levels[shown[n]], n < n_learnt, W, wins, learn_at)


def run(levels: Ints, shown: Ints, n_learnt: int, n_readers: int,
        learn_at: int = LEARN_AT) -> tuple[Ints, Ints]:  # fmt: skip
    """Weights (K, D) after a whole lesson, and the reader that answered each slot."""
    W, first = np.zeros((n_readers, levels.shape[1]), np.int64), np.empty(len(shown), np.int64)
    show(levels.astype(np.int64), shown, n_learnt, W, first, learn_at)
    return W, first
