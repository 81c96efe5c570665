"""Pair STDP with synaptic scaling (van Rossum, Bi & Turrigiano 2000, doi:10.1523/JNEUROSCI.20-23-08812.2000).

    tau_a da/dt = -a + spikes of the neuron            a: its rate, as it senses it
    dw/dt = beta w (a_goal - a)                        all its synapses, by the same factor

beside the STDP of `nodes.stdp`; lambda_ = 0 leaves scaling alone. A neuron that fires too much weakens its
inputs and keeps their ratios (Turrigiano et al. 1998, doi:10.1038/36103). The equations are solved exactly
from spike to spike: L, the logarithm of the factor, is the neuron's; a synapse knows how much it had of it.
"""

from __future__ import annotations

import math

from neurobus.model import Param, State, Trace
from nodes.stdp import Stdp, depressed, potentiated


class StdpScaled(Stdp):
    tau_a = Param("100000 ms", above=0, doc="time constant of the sensed rate")
    a_goal = Param("10 Hz", low=0, doc="rate at which nothing is scaled")
    beta = Param("1 mHz", low=0, doc="rate of scaling, for each Hz off the goal")

    L_done = State(doc="logarithm of the scaling that the weight has had")
    a = Trace("Hz", doc="sensed rate, right after the last spike")
    L = Trace(doc="logarithm of the scaling, at the last spike")

    @staticmethod
    def prepare(p, dt_ms):
        return {
            **Stdp.prepare(p, dt_ms),
            "tau_a": p["tau_a"],
            "a_goal": p["a_goal"],
            "beta_per_ms": p["beta"] * 1e-6,
        }

    @staticmethod
    def fire(t, c, g):
        g[3] = factor(t, c, g)
        g[2] = g[2] * math.exp((g[1] - t) / c[7]) + 1e3 / c[7]
        g[0] = g[0] * math.exp((g[1] - t) * c[1]) + 1.0
        g[1] = t

    @staticmethod
    def post(t, j, w, z, c, g, y):
        scale(y[3], j, w, z, c)
        w[j] = potentiated(w[j], z[0, j] * math.exp((z[1, j] - t) / c[0]), c)

    @staticmethod
    def arrive(t, back, j, w, z, c, g, y):
        scale(factor(back, c, y), j, w, z, c)
        w[j] = depressed(w[j], y[0] * math.exp((y[1] - back) * c[1]), c)
        z[0, j] = z[0, j] * math.exp((z[1, j] - t) / c[0]) + 1.0
        z[1, j] = t
        return w[j]

    @staticmethod
    def until(t, back, j, w, z, c, g, y):
        scale(factor(back, c, y), j, w, z, c)


def factor(t, c, g):
    """L at time t, no spike since the traces g were taken."""
    gone = t - g[1]
    return g[3] + c[9] * (c[8] * gone - g[2] * c[7] * (1.0 - math.exp(-gone / c[7])))


def scale(L, j, w, z, c):
    """Bring the weight of synapse j to what the neuron's factor asks."""
    new = w[j] * math.exp(L - z[2, j])
    w[j] = new if abs(new) < abs(c[6]) else c[6]
    z[2, j] = L
