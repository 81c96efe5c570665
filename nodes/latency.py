"""Latency code: the larger the value, the earlier its one spike (Thorpe 1990; Hopfield 1995).

    t = window (1 - x / full)      x >= full fires at once
    x <= threshold                 no spike

With full = 16 and window = 16 ms, a pixel x of 1 … 16 fires after (16 - x) ms, and 0 never.
"""

from __future__ import annotations

import numpy as np

from neurobus.model import Encoder, Param


class Latency(Encoder):
    full = Param(1.0, above=0, doc="value that fires at the very beginning of its sample")
    window = Param("20 ms", above=0, doc="time that the values from full down to 0 are spread over")
    threshold = Param(0.0, low=0, doc="values up to this one are silent")

    @staticmethod
    def encode(x, p):
        t_ms = p["window"] * (1.0 - np.minimum(x / p["full"], 1.0))
        return np.where(x > p["threshold"], t_ms, np.inf)


if __name__ == "__main__":
    from neurobus.cluster.join import main

    main(__spec__.name)
