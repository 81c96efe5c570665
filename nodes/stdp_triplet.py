"""Triplet STDP (Pfister & Gerstner 2006, doi:10.1523/JNEUROSCI.1425-06.2006; NEST's `stdp_triplet_synapse`).

    dr1/dt = -r1 / tau_plus     dr2/dt = -r2 / tau_x        each += 1 at a presynaptic spike
    do1/dt = -o1 / tau_minus    do2/dt = -o2 / tau_y        each += 1 at a postsynaptic spike
    post:  w += r1 (A2_plus + A3_plus o2)        o2 just before the spike; at most W_max
    pre:   w -= o1 (A2_minus + A3_minus r2)      r2 just before the spike; at least 0

All spikes interact. The defaults are the paper's full model of visual cortex, its amplitudes in the unit of
the weight; the minimal model has A2_plus = A3_minus = 0. The delay is dendritic; operations in the order of
NEST 3.10.
"""

from __future__ import annotations

import math

import numpy as np

from neurobus.model import Param, State, Synapse, Trace


class StdpTriplet(Synapse):
    tau_plus = Param("16.8 ms", above=0, doc="time constant of r1")
    tau_x = Param("101 ms", above=0, doc="time constant of r2")
    tau_minus = Param("33.7 ms", above=0, doc="time constant of o1")
    tau_y = Param("125 ms", above=0, doc="time constant of o2")
    A2_plus = Param(5e-10, weight=True, doc="potentiation by pairs")
    A3_plus = Param(6.2e-3, weight=True, doc="potentiation by triplets post-pre-post")
    A2_minus = Param(7e-3, weight=True, doc="depression by pairs")
    A3_minus = Param(2.3e-4, weight=True, doc="depression by triplets pre-post-pre")
    W_max = Param(100.0, weight=True, above=0, doc="largest weight")

    r1 = State(doc="fast presynaptic trace, at the last spike")
    r2 = State(doc="slow presynaptic trace, at the last spike")
    t_pre = State("ms", doc="time of the last presynaptic spike")
    o1 = Trace(doc="fast postsynaptic trace, at the last spike")
    o2 = Trace(doc="slow postsynaptic trace, at the last spike")
    t_post = Trace("ms", doc="time of the last postsynaptic spike")

    dendritic = True

    @staticmethod
    def check_weights(p, w):
        return "weights must not be negative" if np.any(w < 0) else None

    @staticmethod
    def prepare(p, dt_ms):
        return {**p, "tau_minus": 1 / p["tau_minus"], "tau_y": 1 / p["tau_y"]}

    @staticmethod
    def fire(t, c, g):
        g[0] = g[0] * math.exp((g[2] - t) * c[2]) + 1.0
        g[1] = g[1] * math.exp((g[2] - t) * c[3]) + 1.0
        g[2] = t

    @staticmethod
    def post(t, j, w, z, c, g, y):
        new = w[j] + z[0, j] * math.exp((z[2, j] - t) / c[0]) * (c[4] + c[5] * (y[1] - 1.0))
        w[j] = new if new < c[8] else c[8]

    @staticmethod
    def arrive(t, back, j, w, z, c, g, y):
        z[1, j] *= math.exp((z[2, j] - t) / c[1])
        new = w[j] - y[0] * math.exp((y[2] - back) * c[2]) * (c[6] + c[7] * z[1, j])
        w[j] = new if new > 0.0 else 0.0
        z[1, j] += 1.0
        z[0, j] = z[0, j] * math.exp((z[2, j] - t) / c[0]) + 1.0
        z[2, j] = t
        return w[j]
