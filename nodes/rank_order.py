"""Rank-order decoder: the earlier an input, the more it counts (Thorpe & Gautrais 1998).

    a spike through a synapse of weight w:   V := V + m w,  then  m := m mod
    V >= V_th:  spike, then deaf until the volley is over
    t_reset without a spike of any input ends the volley:   V := 0,  m := 1

so that V = sum of mod^rank w over the inputs in the order of their arrival. m is the sensitivity that
feed-forward shunting inhibition takes down. It fires at most once a volley (Delorme & Thorpe 2001). Spikes
that act in the same step share their rank.
"""

from __future__ import annotations

import numpy as np

from neurobus.grid import steps_up
from neurobus.model import Model, Param, State


class RankOrder(Model):
    mod = Param(
        0.9, above=0, high=1, doc="what each spike leaves of the sensitivity; 1: order does not count"
    )
    V_th = Param("10 mV", above=0, doc="response at which it fires")
    t_reset = Param("20 ms", above=0, steps=True, doc="silence that ends a volley")

    V = State("mV", doc="response so far")
    m = State(doc="sensitivity to the next input")
    n = State(doc="inputs in this step")
    left = State(doc="steps of silence until the volley ends")

    receptors = ("input",)
    weight_unit = "mV"

    @staticmethod
    def initial(p):
        return {"m": np.ones_like(p["mod"])}

    @staticmethod
    def prepare(p, dt_ms):
        return {"mod": p["mod"], "V_th": p["V_th"], "t_reset": steps_up(p["t_reset"], dt_ms)}

    @staticmethod
    def arrive(k, i, receptor, j, w, z, s, c, x):
        x[receptor, i] += s[1, i] * w[j]
        s[2, i] += 1.0

    @staticmethod
    def step(k, s, c, x, I, key, fired, at, receptor, w, z):  # type: ignore[override]
        V, m, n, left, mod, V_th, t_reset = s[0], s[1], s[2], s[3], c[0], c[1], c[2]
        spikes = 0
        for i in range(V.size):
            V[i] += x[0, i]
            if n[i] > 0.0:
                m[i] *= mod[i] ** n[i]
                n[i] = 0.0
                left[i] = t_reset[i]
            elif left[i] > 0.0:
                left[i] -= 1.0
                if left[i] == 0.0:
                    V[i] = 0.0
                    m[i] = 1.0
            fired[i] = V[i] >= V_th[i]
            if fired[i]:
                V[i] = 0.0
                m[i] = 0.0
                left[i] = t_reset[i]
                spikes += 1
        return spikes


if __name__ == "__main__":
    from neurobus.cluster.join import main

    main(__spec__.name)
