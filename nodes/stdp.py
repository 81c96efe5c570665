"""Pair STDP, additive to multiplicative (NEST's `stdp_synapse`).

    dK_plus/dt = -K_plus / tau_plus           K_plus += 1 at a presynaptic spike
    dK_minus/dt = -K_minus / tau_minus        K_minus += 1 at a postsynaptic spike (one trace per neuron)
    post:  w / W_max += lambda (1 - w / W_max)^mu_plus K_plus            at most W_max
    pre:   w / W_max -= alpha lambda (w / W_max)^mu_minus K_minus        at least 0

All pairs count. mu = 0 is additive (Song, Miller & Abbott 2000, doi:10.1038/78829: there A+ = lambda and
A-/A+ = alpha), mu = 1 multiplicative (van Rossum, Bi & Turrigiano 2000), between them Guetig et al. 2003
(doi:10.1523/JNEUROSCI.23-09-03697.2003). The delay is dendritic; the operations are in the order of NEST
3.10, so that weights agree bit for bit.
"""

from __future__ import annotations

import math

import numpy as np

from neurobus.model import Param, State, Synapse, Trace


class Stdp(Synapse):
    tau_plus = Param("20 ms", above=0, doc="time constant of potentiation")
    tau_minus = Param("20 ms", above=0, doc="time constant of depression")
    lambda_ = Param(0.01, low=0, doc="step of potentiation, a fraction of W_max")
    alpha = Param(1.0, low=0, doc="depression by potentiation")
    mu_plus = Param(1.0, low=0, doc="how potentiation falls with the weight; 0: not at all")
    mu_minus = Param(1.0, low=0, doc="how depression rises with the weight; 0: not at all")
    W_max = Param(100.0, weight=True, doc="largest weight; negative for an inhibitory synapse")

    K_plus = State(doc="presynaptic trace, at the last spike")
    t_pre = State("ms", doc="time of the last presynaptic spike")
    K_minus = Trace(doc="postsynaptic trace, at the last spike")
    t_post = Trace("ms", doc="time of the last postsynaptic spike")

    dendritic = True

    @staticmethod
    def check_weights(p, w):
        if np.any(p["W_max"] * w < 0) or np.any(p["W_max"] == 0):
            return "W_max must not be 0 and have the sign of the weights"
        return None

    @staticmethod
    def prepare(p, dt_ms):
        names = ("tau_plus", "tau_minus", "lambda_", "alpha", "mu_plus", "mu_minus", "W_max")
        return {name: 1 / p[name] if name == "tau_minus" else p[name] for name in names}

    @staticmethod
    def fire(t, c, g):
        g[0] = g[0] * math.exp((g[1] - t) * c[1]) + 1.0
        g[1] = t

    @staticmethod
    def post(t, j, w, z, c, g, y):
        w[j] = potentiated(w[j], z[0, j] * math.exp((z[1, j] - t) / c[0]), c)

    @staticmethod
    def arrive(t, back, j, w, z, c, g, y):
        w[j] = depressed(w[j], y[0] * math.exp((y[1] - back) * c[1]), c)
        z[0, j] = z[0, j] * math.exp((z[1, j] - t) / c[0]) + 1.0
        z[1, j] = t
        return w[j]


def potentiated(w, K_plus, c):
    """The weight after a postsynaptic spike; c as `Stdp.prepare` has it."""
    x = w / c[6]
    x = x + (c[2] * (1.0 - x) ** c[4] * K_plus)
    return x * c[6] if x < 1.0 else c[6]


def depressed(w, K_minus, c):
    """The weight after a presynaptic spike."""
    x = w / c[6]
    x = x - (c[3] * c[2] * x ** c[5] * K_minus)
    return x * c[6] if x > 0.0 else 0.0
