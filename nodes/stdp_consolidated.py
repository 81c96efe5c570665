"""Pair STDP with a slow, hidden component of the weight (Benna & Fusi 2016, doi:10.1038/nn.4401).

    tau_fast dw/dt = s - w           w: the weight that acts; STDP moves it, as in `nodes.stdp`
    tau_slow ds/dt = w - s           s: the slow component, which nothing else moves

Their chain of beakers with two of them: what STDP writes into w leaks into s as long as it lasts, and is
written back from there. What lasted for tau_slow outlives noise that overwrites w for less. The sum
tau_fast w + tau_slow s changes by STDP alone. Between spikes the equations are solved exactly.
"""

from __future__ import annotations

import math

import numpy as np

from neurobus.model import Param, State
from nodes.stdp import Stdp, depressed, potentiated


class StdpConsolidated(Stdp):
    tau_fast = Param("10000 ms", above=0, doc="time constant with which w falls back to s")
    tau_slow = Param("200000 ms", above=0, doc="time constant with which s follows w")

    s = State(doc="slow component, in the unit of the weight")
    t_now = State("ms", doc="time that w and s are of")

    @staticmethod
    def prepare(p, dt_ms):
        return {**Stdp.prepare(p, dt_ms), "tau_fast": p["tau_fast"], "tau_slow": p["tau_slow"]}

    @staticmethod
    def initial(p, w):
        return {"s": np.array(w)}

    @staticmethod
    def post(t, j, w, z, c, g, y):
        relax(t, j, w, z, c)
        w[j] = potentiated(w[j], z[0, j] * math.exp((z[1, j] - t) / c[0]), c)

    @staticmethod
    def arrive(t, back, j, w, z, c, g, y):
        relax(t, j, w, z, c)
        w[j] = depressed(w[j], y[0] * math.exp((y[1] - back) * c[1]), c)
        z[0, j] = z[0, j] * math.exp((z[1, j] - t) / c[0]) + 1.0
        z[1, j] = t
        return w[j]

    @staticmethod
    def until(t, back, j, w, z, c, g, y):
        relax(t, j, w, z, c)


def relax(t, j, w, z, c):
    """Bring w and s of synapse j to time t."""
    tau_fast, tau_slow = c[7], c[8]
    total = tau_fast * w[j] + tau_slow * z[2, j]
    apart = (w[j] - z[2, j]) * math.exp((z[3, j] - t) * (1.0 / tau_fast + 1.0 / tau_slow))
    z[2, j] = (total - tau_fast * apart) / (tau_fast + tau_slow)
    w[j] = z[2, j] + apart
    z[3, j] = t
