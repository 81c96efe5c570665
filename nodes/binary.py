"""Stochastic binary neuron whose synapses tire (Little 1974; Johnson, Marro & Torres 2008, arXiv:0805.1309).

    s := 1 with probability 1 / (1 + exp(-2 beta (I + h_0))), else 0        on average every tau
    o = s (1 + Phi z): what others hear, by graded synapses       z: how tired the synapses of this axon are
    tau_z dz/dt = s - z                 -1 <= Phi <= 0: at -1 a neuron long active is not heard any more
    s = 1 after an update:  spike

I = sum_j w_j o_j is without unit; 1 pA from an electrode is 1, a spike of weight w adds w to the field of one
update. Where tau is the time step all neurons are updated in parallel (Little's dynamics).
"""

from __future__ import annotations

import math

import numpy as np

from neurobus.model import Model, Param, State
from nodes.noise import uniform


class Binary(Model):
    beta = Param(2.0, above=0, doc="inverse temperature: large is nearly deterministic")
    h_0 = Param(0.0, doc="field that is always there")
    tau = Param("1 ms", above=0, doc="mean time between updates; no less than a time step")
    Phi = Param(0.0, low=-1, high=0, doc="what full fatigue adds to a synapse's strength 1")
    tau_z = Param("20 ms", above=0, doc="time constant of fatigue and recovery")
    s_0 = Param(0.0, low=0, high=1, doc="probability to be active at the start")
    delta = Param(1e-3, low=0, doc="how far o moves before others are told")

    o = State(doc="output")
    s = State(doc="0 or 1")
    z = State(doc="fatigue of its synapses, 0 to 1")
    begun = State(doc="0 until the first update")

    potential = "o"
    weight_unit = ""
    current_unit = ""
    potential_delta = "delta"
    stochastic = True

    @staticmethod
    def prepare(p, dt_ms):
        chance = np.minimum(dt_ms / p["tau"], 1.0)
        return {"beta": p["beta"], "h_0": p["h_0"], "chance": chance, "Phi": p["Phi"],
                "decay": np.exp(-dt_ms / p["tau_z"]), "s_0": p["s_0"]}  # fmt: skip

    @staticmethod
    def step(k, s, c, x, I, key, fired):
        o, active, z, begun = s[0], s[1], s[2], s[3]
        n = 0
        for i in range(o.size):
            beta, h_0, chance, Phi, decay = c[0, i], c[1, i], c[2, i], c[3, i], c[4, i]
            fired[i] = 0
            if begun[i] == 0.0:
                begun[i] = 1.0
                active[i] = 1.0 if uniform(key[i], k, 2) < c[5, i] else 0.0
            elif uniform(key[i], k, 0) < chance:
                field = I[i] + h_0 + x[0, i]
                active[i] = (
                    1.0 if uniform(key[i], k, 1) < 1.0 / (1.0 + math.exp(-2.0 * beta * field)) else 0.0
                )
                fired[i] = active[i] == 1.0
                n += fired[i]
            z[i] = active[i] + (z[i] - active[i]) * decay
            o[i] = active[i] * (1.0 + Phi * z[i])
        return n


if __name__ == "__main__":
    from neurobus.cluster.join import main

    main(__spec__.name)
