"""A source that fires at the times given in the config, or read back from a log."""

from __future__ import annotations

import numpy as np

from neurobus.model import Source


class Spikes(Source):
    @staticmethod
    def stamps(p, key, dt_ns, k0, k1):
        lo, hi = np.searchsorted(p["times"], (k0, k1), side="right")
        return p["times"][lo:hi]


if __name__ == "__main__":
    from neurobus.cluster.join import main

    main(__spec__.name)
