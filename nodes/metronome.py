"""Metronome: one spike every `period`, the first at `start`, none from `stop` on."""

from __future__ import annotations

import numpy as np

from neurobus.grid import steps_up
from neurobus.model import Param, Source


class Metronome(Source):
    period = Param("100 ms", above=0, steps=True, doc="time between spikes")
    start = Param("0 ms", low=0, steps=True, doc="time of the first spike; 0: the first step")
    stop = Param("1e12 ms", low=0, steps=True, doc="silent from then on")

    @staticmethod
    def stamps(p, key, dt_ns, k0, k1):
        period, start, stop = steps_up([p["period"], p["start"], p["stop"]], dt_ns / 1e6).tolist()
        start, last = max(1, start), min(k1, stop - 1)
        n = max(0, -((start - k0 - 1) // period))
        return np.arange(start + n * period, last + 1, period, dtype=np.int64)


if __name__ == "__main__":
    from neurobus.cluster.join import main

    main(__spec__.name)
