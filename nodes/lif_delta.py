"""Leaky integrate-and-fire neuron, delta synapses (NEST's `iaf_psc_delta`).

    C_m dV/dt = -C_m V / tau_m + I_e + I          V relative to E_L
    a synapse of weight w (mV) moves V by w at once; during t_ref inputs are lost
    V >= V_th - E_L:  spike, V := V_reset - E_L, held for t_ref

Exact integration on the grid (Rotter & Diesmann 1999, doi:10.1007/s004220050570), operations in the
order of NEST 3.10.
"""

from __future__ import annotations

import math

import numpy as np

from neurobus.grid import steps_up
from neurobus.model import Model, Param, State


class LifDelta(Model):
    C_m = Param("250 pF", above=0, doc="membrane capacitance")
    tau_m = Param("10 ms", above=0, doc="membrane time constant")
    t_ref = Param("2 ms", low=0, steps=True, doc="refractory period")
    E_L = Param("-70 mV", doc="resting potential")
    V_reset = Param("-70 mV", doc="potential after a spike")
    V_th = Param("-55 mV", doc="spike threshold")
    V_m = Param("-70 mV", doc="potential at the start")
    V_peak = Param("0 mV", doc="what electrical synapses see of a spike")
    I_e = Param("0 pA", doc="constant input current")

    V = State("mV", doc="membrane potential relative to E_L")
    r = State(doc="steps of the refractory period left")

    receptors = ("input",)
    weight_unit = "mV"
    potential_zero = "E_L"
    peak = "V_peak"

    @staticmethod
    def check(p):
        return "V_reset must lie below V_th" if np.any(p["V_reset"] >= p["V_th"]) else None

    @staticmethod
    def initial(p):
        return {"V": p["V_m"] - p["E_L"]}

    @staticmethod
    def prepare(p, dt_ms):
        P33 = np.array([math.exp(-dt_ms / tau) for tau in p["tau_m"]])
        return {
            "P33": P33,
            "P30": 1 / p["C_m"] * (1 - P33) * p["tau_m"],
            "I_e": p["I_e"],
            "V_th": p["V_th"] - p["E_L"],
            "V_reset": p["V_reset"] - p["E_L"],
            "t_ref": steps_up(p["t_ref"], dt_ms),
        }

    @staticmethod
    def step(k, s, c, x, I, key, fired):
        V, r, w = s[0], s[1], x[0]
        P33, P30, I_e, V_th, V_reset, t_ref = c[0], c[1], c[2], c[3], c[4], c[5]
        n = 0
        for i in range(V.size):
            v = P30[i] * (I[i] + I_e[i]) + P33[i] * V[i] + w[i]
            v = v if r[i] == 0.0 else V[i]
            left = max(r[i] - 1.0, 0.0)
            spike = v >= V_th[i]
            V[i] = V_reset[i] if spike else v
            r[i] = t_ref[i] if spike else left
            fired[i] = spike
            n += spike
        return n


if __name__ == "__main__":
    from neurobus.cluster.join import main

    main(__spec__.name)
