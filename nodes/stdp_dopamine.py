"""Reward-modulated STDP: eligibility and dopamine (Izhikevich 2007, doi:10.1093/cercor/bhl152).

    dc/dt = -c / tau_c     c += A_plus K_plus at a postsynaptic, c -= A_minus K_minus at a presynaptic spike
    dD/dt = -D / tau_D     D += value of a spike on receptor "dopamine"
    dw/dt = c (D + D_tonic)                              0 <= w <= W_max

K_plus and K_minus are the traces of pair STDP. A spike pairing leaves the eligibility c; only dopamine, a
spike stream like any other with synapses of `receptor = "dopamine"`, turns it into a change of w. Rates D are
per second. Between events the equations are solved exactly. Delays are axonal: all is at the time when it
reaches the neuron.
"""

from __future__ import annotations

import math

import numpy as np

from neurobus.model import Param, State, Synapse, Trace


class StdpDopamine(Synapse):
    tau_plus = Param("20 ms", above=0, doc="time constant of potentiation")
    tau_minus = Param("20 ms", above=0, doc="time constant of depression")
    A_plus = Param(0.1, weight=True, doc="eligibility from a pair pre-post at once")
    A_minus = Param(0.15, weight=True, doc="eligibility lost to a pair post-pre at once")
    tau_c = Param("1000 ms", above=0, doc="time constant of eligibility")
    tau_D = Param("200 ms", above=0, doc="time constant of dopamine")
    D_tonic = Param("0 Hz", doc="dopamine that is always there")
    W_max = Param(100.0, weight=True, above=0, doc="largest weight")

    K_plus = State(doc="presynaptic trace, at the last spike")
    t_pre = State("ms", doc="time of the last presynaptic spike")
    c = State(doc="eligibility, in the unit of the weight")
    t_c = State("ms", doc="time that c and w are of")
    K_minus = Trace(doc="postsynaptic trace, at the last spike")
    t_post = Trace("ms", doc="time of the last postsynaptic spike")
    D = Trace("Hz", doc="dopamine at its last spike")
    t_D = Trace("ms", doc="time of the last spike of dopamine")

    modulators = ("dopamine",)

    @staticmethod
    def check_weights(p, w):
        return "weights must not be negative" if np.any(w < 0) else None

    @staticmethod
    def prepare(p, dt_ms):
        return {
            "tau_plus": p["tau_plus"],
            "tau_minus": p["tau_minus"],
            "A_plus": p["A_plus"],
            "A_minus": p["A_minus"],
            "tau_c": p["tau_c"],
            "tau_D": p["tau_D"],
            "D_tonic_per_ms": p["D_tonic"] * 1e-3,
            "W_max": p["W_max"],
        }

    @staticmethod
    def fire(t, c, g):
        g[0] = g[0] * math.exp((g[1] - t) / c[1]) + 1.0
        g[1] = t

    @staticmethod
    def post(t, j, w, z, c, g, y):
        learn(t, j, w, z, c, g)
        z[2, j] += c[2] * z[0, j] * math.exp((z[1, j] - t) / c[0])

    @staticmethod
    def arrive(t, back, j, w, z, c, g, y):
        learn(t, j, w, z, c, g)
        z[2, j] -= c[3] * y[0] * math.exp((y[1] - t) / c[1])
        z[0, j] = z[0, j] * math.exp((z[1, j] - t) / c[0]) + 1.0
        z[1, j] = t
        return w[j]

    @staticmethod
    def modulate(m, value, t, j0, j1, w, z, c, g):
        for j in range(j0, j1):
            learn(t, j, w, z, c, g)
        g[2] = g[2] * math.exp((g[3] - t) / c[5]) + value
        g[3] = t

    @staticmethod
    def until(t, back, j, w, z, c, g, y):
        learn(t, j, w, z, c, g)


def learn(t, j, w, z, c, g):
    """Bring w and c of synapse j to time t; no dopamine came since they were brought to theirs."""
    gone = t - z[3, j]
    left = math.exp(-gone / c[4])
    both = 1.0 / (1.0 / c[4] + 1.0 / c[5])
    D_per_ms = 1e-3 * g[2] * math.exp((g[3] - z[3, j]) / c[5])
    moved = c[6] * c[4] * (1.0 - left) + D_per_ms * both * (1.0 - math.exp(-gone / both))
    w[j] = min(max(w[j] + z[2, j] * moved, 0.0), c[7])
    z[2, j] *= left
    z[3, j] = t
