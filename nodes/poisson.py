"""Poisson source: in every step of h it fires with probability 1 - exp(-rate h).

Each step's random number is a hash of (seed, id, step), so a stretch of time can be asked for in any
pieces and gives the same spikes.
"""

from __future__ import annotations

import numpy as np

from neurobus.model import Param, Source, uniforms


class Poisson(Source):
    rate = Param("10 Hz", low=0, doc="mean rate")
    start = Param("0 ms", low=0, doc="silent before")
    stop = Param("1e12 ms", low=0, doc="silent from then on")

    @staticmethod
    def stamps(p, key, dt_ns, k0, k1):
        steps_per_ms = 1e6 / dt_ns
        first = max(k0 + 1, int(np.ceil(p["start"] * steps_per_ms)), 1)
        last = min(k1, np.ceil(p["stop"] * steps_per_ms) - 1)
        if last < first:
            return np.empty(0, np.int64)
        steps = np.arange(first, int(last) + 1, dtype=np.int64)
        return steps[uniforms(key, steps) < -np.expm1(-p["rate"] * dt_ns * 1e-9)]


if __name__ == "__main__":
    from neurobus.cluster.join import main

    main(__spec__.name)
