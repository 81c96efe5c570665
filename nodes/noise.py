"""Counter-based random numbers for models that need noise: the same whoever asks, in whatever order.

A number is a hash of the neuron's stream `key`, the update k and n, the how manieth it is in that update
(splitmix64: Steele, Lea, Flood 2014). Only operations that IEEE 754 rounds exactly, so all machines agree.
"""

from __future__ import annotations

import numpy as np

STEP, MIX_1, MIX_2 = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
)
COUNTER, NUMBER = np.uint64(0xD1B54A32D192ED03), np.uint64(0x8CB92BA72F3D8DD7)
S11, S16, S27, S30, S31 = np.uint64(11), np.uint64(16), np.uint64(27), np.uint64(30), np.uint64(31)
LOW = np.uint64(0xFFFF)


def bits(key, k, n):
    """64 random bits."""
    x = (key ^ (np.uint64(k) * COUNTER)) + np.uint64(n) * NUMBER + STEP
    x = (x ^ (x >> S30)) * MIX_1
    x = (x ^ (x >> S27)) * MIX_2
    return x ^ (x >> S31)


def uniform(key, k, n):
    """A number in [0, 1)."""
    return np.float64(bits(key, k, n) >> S11) * (1.0 / 9007199254740992.0)


def normal(key, k, n):
    """A standard normal number, as the sum of twelve uniform ones less 6: none beyond ±6. Uses n to n + 2."""
    total = 0.0
    for m in range(3):
        x = bits(key, k, n + m)
        for _ in range(4):
            total += np.float64(x & LOW)
            x = x >> S16
    return (total + 6.0) / 65536.0 - 6.0
