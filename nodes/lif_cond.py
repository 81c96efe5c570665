"""Leaky integrate-and-fire neuron, exponential synaptic conductances (NEST's `iaf_cond_exp`).

    C_m dV/dt = -g_L (V - E_L) - g_ex (V - E_ex) - g_in (V - E_in) + I_e + I
    dg_ex/dt = -g_ex / tau_syn_ex       a synapse with weight w >= 0 adds w to g_ex
    dg_in/dt = -g_in / tau_syn_in       one with w < 0 adds |w| to g_in
    V >= V_th:  spike, V := V_reset, held for t_ref

Integrated by adaptive Runge–Kutta–Fehlberg steps within a time step (tolerance 1e-3 mV, nS), threshold and
reset on the grid, both as NEST 3.10 does, so that spikes agree one by one.
"""

from __future__ import annotations

import numpy as np

from neurobus.grid import steps_up
from neurobus.model import Model, Param, State
from nodes.rkf45 import rkf45


class LifCond(Model):
    C_m = Param("250 pF", above=0, doc="membrane capacitance")
    g_L = Param("16.6667 nS", above=0, doc="leak conductance")
    E_L = Param("-70 mV", doc="resting potential")
    E_ex = Param("0 mV", doc="excitatory reversal potential")
    E_in = Param("-85 mV", doc="inhibitory reversal potential")
    tau_syn_ex = Param("0.2 ms", above=0, doc="decay of the excitatory conductance")
    tau_syn_in = Param("2 ms", above=0, doc="decay of the inhibitory conductance")
    V_th = Param("-55 mV", doc="spike threshold")
    V_reset = Param("-60 mV", doc="potential after a spike")
    t_ref = Param("2 ms", low=0, steps=True, doc="refractory period")
    V_m = Param("-70 mV", doc="potential at the start")
    V_peak = Param("0 mV", doc="what electrical synapses see of a spike")
    I_e = Param("0 pA", doc="constant input current")

    V = State("mV", doc="membrane potential")
    g_ex = State("nS", doc="excitatory conductance")
    g_in = State("nS", doc="inhibitory conductance")
    r = State(doc="steps of the refractory period left")
    h = State("ms", doc="integration step to try next")

    receptors = ("ex", "in")
    weight_unit = "nS"
    peak = "V_peak"

    @staticmethod
    def check(p):
        return "V_reset must lie below V_th" if np.any(p["V_reset"] >= p["V_th"]) else None

    @staticmethod
    def initial(p):
        return {"V": p["V_m"]}

    @staticmethod
    def prepare(p, dt_ms):
        names = ("C_m", "g_L", "E_L", "E_ex", "E_in", "tau_syn_ex", "tau_syn_in", "I_e", "V_th", "V_reset")
        steps = {"t_ref": steps_up(p["t_ref"], dt_ms), "dt": np.full(p["C_m"].shape, dt_ms)}
        return {name: p[name] for name in names} | steps

    @staticmethod
    def step(k, s, c, x, I, key, fired):
        r, h, n = s[3], s[4], 0
        for i in range(r.size):
            V_th, V_reset, t_ref, dt = c[8, i], c[9, i], c[10, i], c[11, i]
            y, t = (s[0, i], s[1, i], s[2, i]), 0.0
            while t < dt:
                y, t, h[i] = evolve(y, t, dt, h[i], 1e-3, 0.0, c, i, I[i], r[i] > 0.0)
            s[1, i], s[2, i] = y[1] + x[0, i], y[2] - x[1, i]
            spike = r[i] == 0.0 and y[0] >= V_th
            s[0, i] = V_reset if spike or r[i] > 0.0 else y[0]
            r[i] = t_ref if spike else max(r[i] - 1.0, 0.0)
            fired[i] = spike
            n += spike
        return n


def derivatives(y, c, i, I, held):
    C_m, g_L, E_L, E_ex, E_in = c[0, i], c[1, i], c[2, i], c[3, i], c[4, i]
    V, g_ex, g_in = y
    V = c[9, i] if held else min(V, c[8, i])
    I_ex, I_in, I_L = g_ex * (V - E_ex), g_in * (V - E_in), g_L * (V - E_L)
    dV = 0.0 if held else (-I_L + I + c[7, i] - I_ex - I_in) / C_m
    return dV, -g_ex / c[5, i], -g_in / c[6, i]


evolve = rkf45(derivatives, 3)

if __name__ == "__main__":
    from neurobus.cluster.join import main

    main(__spec__.name)
