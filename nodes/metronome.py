"""Metronome: one spike every `period`, the first at `start`, none from `stop` on."""

from __future__ import annotations

import numpy as np

from neurobus.model import Param, Source


class Metronome(Source):
    period = Param("100 ms", above=0, doc="time between spikes")
    start = Param("0 ms", low=0, doc="time of the first spike")
    stop = Param("1e12 ms", low=0, doc="silent from then on")

    @staticmethod
    def stamps(p, key, dt_ns, k0, k1):
        steps_per_ms = 1e6 / dt_ns
        period, start = (max(1, round(p["period"] * steps_per_ms)), max(1, round(p["start"] * steps_per_ms)))
        last = int(min(k1, np.ceil(p["stop"] * steps_per_ms) - 1))
        n = max(0, -((start - k0 - 1) // period))
        return np.arange(start + n * period, last + 1, period, dtype=np.int64)


if __name__ == "__main__":
    from neurobus.cluster.join import main

    main(__spec__.name)
