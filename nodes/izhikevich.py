"""Simple model of spiking neurons (Izhikevich 2003, doi:10.1109/TNN.2003.820440).

    dv/dt = 0.04 v² + 5 v + 140 - u + I          v in mV, t in ms
    du/dt = a (b v - u)
    v >= 30 mV:  spike, v := c, u := u + d       a synapse of weight w (mV) moves v by w at once

1 pA of current counts as the paper's dimensionless I = 1.

The paper's program is a map: at steps of 1 ms, two half steps of Euler for v, then one for u; what arrives is
part of I in both half steps. `published = 1` does just that per time step (a weight w as a current w / dt for
one step); with run.dt = "1 ms" it is the paper's very arithmetic, but spikes move with the step. The default
integrates the equations themselves, by adaptive Runge–Kutta–Fehlberg steps (error `tol`), spike and reset
where v passes 30 mV, several times in one time step if it comes to that.
"""

from __future__ import annotations

import numpy as np

from neurobus.model import MOST_PER_STEP, Model, Param, State
from nodes.rkf45 import rkf45


class Izhikevich(Model):
    a = Param(0.02, above=0, doc="rate of recovery, per ms")
    b = Param(0.2, doc="how recovery follows v")
    c = Param("-65 mV", high=29, doc="v after a spike")
    d = Param(8.0, doc="recovery that a spike adds")
    V_m = Param("-65 mV", high=29, doc="v at the start; u starts at b v")
    I_e = Param("0 pA", doc="constant I")
    published = Param(0, low=0, high=1, doc="1: the paper's two half steps of Euler, 0: integrate")
    tol = Param("1e-5 mV", above=0, high=1e-2, doc="error that an integration step may make")
    V_peak = Param(
        "30 mV", low=30, high=30, doc="where a spike is cut, and what electrical synapses see of it"
    )

    V = State("mV", doc="v, the membrane potential")
    u = State("mV", doc="recovery")
    h = State("ms", doc="integration step to try next")

    receptors = ("input",)
    weight_unit = "mV"
    peak = "V_peak"
    several = True

    @staticmethod
    def initial(p):
        return {"V": p["V_m"], "u": p["b"] * p["V_m"], "h": np.full(p["V_m"].shape, 0.01)}

    @staticmethod
    def prepare(p, dt_ms):
        names = ("a", "b", "c", "d", "I_e", "published", "tol")
        return {name: p[name] for name in names} | {"dt": np.full(p["a"].shape, dt_ms)}

    @staticmethod
    def step(k, s, c, x, I, key, fired):
        V, U, h, n = s[0], s[1], s[2], 0
        for i in range(V.size):
            reset, d, published, tol, dt = c[2, i], c[3, i], c[5, i], c[6, i], c[7, i]
            v, u = V[i], U[i]
            spikes = 0
            if published > 0.5:
                current = c[4, i] + I[i] + x[0, i] / dt
                for _ in range(2):
                    v += dt * 0.5 * (0.04 * v * v + 5.0 * v + 140.0 - u + current)
                u += dt * c[0, i] * (c[1, i] * v - u)
            else:
                y, t = (v, u), 0.0
                while t < dt and spikes <= MOST_PER_STEP:
                    y, t, h[i] = evolve(y, t, dt, h[i], tol, 0.0, c, i, I[i], False)
                    if y[0] >= 30.0:
                        # Back to where v was 30, along the slope half way: the step went beyond by some mV.
                        dv, du = derivatives((0.5 * (30.0 + y[0]), y[1]), c, i, I[i], False)
                        past = (y[0] - 30.0) / dv
                        y, t, spikes = (reset, y[1] - past * du + d), t - past, spikes + 1
                v, u = y[0] + x[0, i], y[1]
            if v >= 30.0:
                spikes += 1
                v, u = reset, u + d
            V[i], U[i] = v, u
            fired[i] = spikes
            n += spikes
        return n


def derivatives(y, c, i, I, held):
    v, u = y
    return 0.04 * v * v + 5.0 * v + 140.0 - u + c[4, i] + I, c[0, i] * (c[1, i] * v - u)


evolve = rkf45(derivatives, 2)

if __name__ == "__main__":
    from neurobus.cluster.join import main

    main(__spec__.name)
