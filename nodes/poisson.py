"""Poisson source: in every step of h it fires N times, N drawn from the Poisson distribution of mean rate h.

Several spikes of one step are equal. Each step's number is a function of (seed, source, step), so a stretch
of time can be asked for in any pieces and gives the same spikes. All neurons that listen to a source hear the
same train; a train for each is a source with as many members, joined one_to_one.
"""

from __future__ import annotations

import numpy as np

from neurobus.exact import poisson_table
from neurobus.grid import steps_up
from neurobus.model import Param, Source
from neurobus.streams import uniforms


class Poisson(Source):
    stochastic = True
    rate = Param("10 Hz", low=0, doc="mean rate; at most 100 spikes in a step")
    start = Param("0 ms", low=0, steps=True, doc="silent before")
    stop = Param("1e12 ms", low=0, steps=True, doc="silent from then on")

    @staticmethod
    def stamps(p, key, dt_ns, k0, k1):
        first = max(k0 + 1, int(steps_up(p["start"], dt_ns / 1e6)), 1)
        last = min(k1, int(steps_up(p["stop"], dt_ns / 1e6)) - 1)
        if last < first:
            return np.empty(0, np.int64)
        steps = np.arange(first, last + 1, dtype=np.int64)
        upto = poisson_table(p["rate"] * dt_ns * 1e-9)
        return np.repeat(steps, np.searchsorted(upto, uniforms(key, steps), side="right"))


if __name__ == "__main__":
    from neurobus.cluster.join import main

    main(__spec__.name)
