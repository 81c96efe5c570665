"""Rate unit of generalised Lotka–Volterra networks (Rabinovich et al. 2008, PLoS Comput Biol 4:e1000072).

    tau dx/dt = x (alpha - rho x + I) + noise     I = -sum_j rho_j x_j, by graded synapses of weight -rho_j
    x rises through theta:  spike, for those who listen to spikes

x has no unit, nor have alpha, rho and weights; 1 pA from an electrode is I = 1, a spike of weight w moves
x by w. Noise is additive, sigma² per tau, and reflected at 0. In a step, with I held, the equation is solved
exactly (it is the logistic equation), then noise is added.
"""

from __future__ import annotations

import math

import numpy as np

from neurobus.model import Model, Param, State
from nodes.noise import normal


class LotkaVolterra(Model):
    tau = Param("10 ms", above=0, doc="unit of time")
    alpha = Param(1.0, doc="growth rate of a small x, per tau")
    rho = Param(1.0, above=0, doc="inhibition by itself; alone x settles at alpha / rho")
    sigma = Param(1e-4, low=0, doc="noise, per square root of tau")
    x_0 = Param(0.01, low=0, doc="x at the start")
    theta = Param(0.5, above=0, doc="where a rising x tells so by a spike")
    delta = Param(1e-3, low=0, doc="how far x moves before others are told")

    x = State(doc="activity")
    above = State(doc="1 while x is above theta")

    potential = "x"
    weight_unit = ""
    current_unit = ""
    potential_delta = "delta"
    stochastic = True

    @staticmethod
    def initial(p):
        return {"x": p["x_0"], "above": (p["x_0"] >= p["theta"]).astype(float)}

    @staticmethod
    def prepare(p, dt_ms):
        h = dt_ms / p["tau"]
        noise = p["sigma"] * np.sqrt(h)
        return {"h": h, "alpha": p["alpha"], "rho": p["rho"], "noise": noise, "theta": p["theta"]}

    @staticmethod
    def step(k, s, c, x, I, key, fired):
        X, above = s[0], s[1]
        n = 0
        for i in range(X.size):
            h, alpha, rho, noise, theta = c[0, i], c[1, i], c[2, i], c[3, i], c[4, i]
            g = alpha + I[i]
            grown = math.exp(min(g * h, 700.0))
            capacity = math.expm1(min(g * h, 700.0)) / g if g != 0.0 else h
            v = X[i] * grown / (1.0 + rho * X[i] * capacity) + x[0, i]
            if noise > 0.0:
                v += noise * normal(key[i], k, 0)
            X[i] = abs(v)
            spike = X[i] >= theta and above[i] == 0.0
            above[i] = 1.0 if X[i] >= theta else 0.0
            fired[i] = spike
            n += spike
        return n


if __name__ == "__main__":
    from neurobus.cluster.join import main

    main(__spec__.name)
