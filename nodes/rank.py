"""Rank-order code: inputs fire one after the other, the largest first (Thorpe & Gautrais 1998).

    t = rank · interval            rank 0 is the largest value of the sample; equal values share their rank
    rank >= most, x <= threshold   no spike

Only the order of the values counts: scaling a sample, or bending it by any rising function, changes no spike.
"""

from __future__ import annotations

import numpy as np

from neurobus.model import Encoder, Param


class Rank(Encoder):
    interval = Param("1 ms", above=0, doc="from one rank to the next")
    most = Param(1e9, low=1, doc="how many ranks fire")
    threshold = Param(0.0, doc="values up to this one are silent")

    @staticmethod
    def encode(x, p):
        t_ms = np.empty(x.shape)
        for n, sample in enumerate(x):
            _, place = np.unique(-sample, return_inverse=True)
            t_ms[n] = np.where(place < p["most"], place * p["interval"], np.inf)
        return np.where(x > p["threshold"], t_ms, np.inf)


if __name__ == "__main__":
    from neurobus.cluster.join import main

    main(__spec__.name)
