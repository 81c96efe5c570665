"""Random numbers for models that need noise: the same whoever asks, in whatever order.

A number is a hash of the neuron's `key`, the update k and n, which of them it is in that update; `uniform`
and `normal` have words of their own. Only operations that IEEE 754 rounds exactly, so all machines agree.
"""

from __future__ import annotations

import numpy as np

from neurobus.streams import COUNTER, S11, mixed

NUMBER = np.uint64(0x8CB92BA72F3D8DD7)
S16, LOW = np.uint64(16), np.uint64(0xFFFF)
NORMALS = 1 << 32
"""The first word of those that `normal` draws; `uniform` stays below."""


def bits(key, k, n):
    """64 random bits."""
    return mixed((key ^ (np.uint64(k) * COUNTER)) + np.uint64(n) * NUMBER)


def uniform(key, k, n):
    """A number in [0, 1), 0 <= n < 2^32."""
    return np.float64(bits(key, k, n) >> S11) * (1.0 / 9007199254740992.0)


def normal(key, k, n):
    """A standard normal number, as the sum of twelve uniform ones less 6: none beyond ±6."""
    total = 0.0
    for m in range(3):
        x = bits(key, k, NORMALS + 3 * n + m)
        for _ in range(4):
            total += np.float64(x & LOW)
            x = x >> S16
    return (total + 6.0) / 65536.0 - 6.0
