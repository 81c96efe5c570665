"""Exponential integrate-and-fire (Fourcaud-Trocmé et al. 2003, doi:10.1523/JNEUROSCI.23-37-11628.2003).

    C dV/dt = -g_L (V - V_L) + g_L Delta_T exp((V - V_T) / Delta_T) - g_ex (V - E_ex) - g_in (V - E_in) + I
    dg/dt = -g / tau_syn        a synapse with weight w >= 0 adds w to g_ex, one with w < 0 adds |w| to g_in
    V >= V_peak:  spike, V := V_r, held for t_ref

The defaults are the paper's fit to a Wang–Buzsáki neuron (tau_m = C / g_L = 10 ms). Integrated by adaptive
Runge–Kutta–Fehlberg steps (error `tol` in value and slope), spike and reset at the end of such a step; I has
I_e in it. AdEx with a = b = 0 is the same neuron. A time step longer than t_ref may have several spikes.
"""

from __future__ import annotations

import math

import numpy as np

from neurobus.model import MOST_PER_STEP, Model, Param, State
from nodes.rkf45 import rkf45


class Eif(Model):
    C = Param("100 pF", above=0, doc="membrane capacitance")
    g_L = Param("10 nS", above=0, doc="leak conductance")
    V_L = Param("-65 mV", doc="reversal potential of the leak")
    V_T = Param("-59.9 mV", doc="threshold of a slow current ramp")
    Delta_T = Param("3.48 mV", above=0, doc="spike slope factor")
    V_r = Param("-68 mV", doc="potential after a spike")
    V_peak = Param("20 mV", doc="where a spike is cut, and what electrical synapses see of it")
    t_ref = Param("1.7 ms", low=0, doc="refractory period")
    E_ex = Param("0 mV", doc="excitatory reversal potential")
    E_in = Param("-85 mV", doc="inhibitory reversal potential")
    tau_syn_ex = Param("2 ms", above=0, doc="decay of the excitatory conductance")
    tau_syn_in = Param("5 ms", above=0, doc="decay of the inhibitory conductance")
    I_e = Param("0 pA", doc="constant input current")
    V_m = Param("-65 mV", doc="potential at the start")
    tol = Param(1e-6, above=0, high=1e-2, doc="error that an integration step may make")

    V = State("mV", doc="membrane potential")
    g_ex = State("nS", doc="excitatory conductance")
    g_in = State("nS", doc="inhibitory conductance")
    r = State("ms", doc="what is left of the refractory period")
    h = State("ms", doc="integration step to try next")

    receptors = ("ex", "in")
    weight_unit = "nS"
    peak = "V_peak"
    several = True

    @staticmethod
    def check(p):
        if np.any(p["V_r"] >= p["V_peak"]):
            return "V_r must lie below V_peak"
        if np.any(p["V_peak"] < p["V_T"]):
            return "V_peak must not lie below V_T"
        if np.any(p["V_peak"] - p["V_T"] >= 600 * p["Delta_T"]):
            return "exp((V_peak - V_T) / Delta_T) is beyond all numbers; lower V_peak or raise Delta_T"
        return None

    @staticmethod
    def initial(p):
        return {"V": p["V_m"], "h": np.full(p["V_m"].shape, 0.01)}

    @staticmethod
    def prepare(p, dt_ms):
        names = ("C", "g_L", "V_L", "V_T", "Delta_T", "E_ex", "E_in", "tau_syn_ex", "tau_syn_in",
                 "I_e", "V_peak", "V_r", "tol", "t_ref")  # fmt: skip
        return {name: p[name] for name in names} | {"dt": np.full(p["C"].shape, dt_ms)}

    @staticmethod
    def step(k, s, c, x, I, key, fired):
        r, h, n = s[3], s[4], 0
        for i in range(r.size):
            V_peak, V_r, tol, t_ref, dt = c[10, i], c[11, i], c[12, i], c[13, i], c[14, i]
            y, t, free, spikes = (s[0, i], s[1, i], s[2, i]), 0.0, r[i], 0
            while t < dt and spikes <= MOST_PER_STEP:
                held = t < free
                y, t, h[i] = evolve(y, t, min(dt, free) if held else dt, h[i], tol, tol, c, i, I[i], held)
                if not held and y[0] >= V_peak:
                    spikes += 1
                    y, free = (V_r, y[1], y[2]), t + t_ref
            r[i] = max(free - dt, 0.0)
            s[0, i], s[1, i], s[2, i] = y[0], y[1] + x[0, i], y[2] - x[1, i]
            fired[i] = spikes
            n += spikes
        return n


def derivatives(y, c, i, I, held):
    C, g_L, V_L, V_T, Delta_T, E_ex, E_in = c[0, i], c[1, i], c[2, i], c[3, i], c[4, i], c[5, i], c[6, i]
    V, g_ex, g_in = y
    V = c[11, i] if held else min(V, c[10, i])
    I_spike = g_L * Delta_T * math.exp((V - V_T) / Delta_T)
    I_syn = g_ex * (V - E_ex) + g_in * (V - E_in)
    dV = 0.0 if held else (-g_L * (V - V_L) + I_spike - I_syn + c[9, i] + I) / C
    return dV, -g_ex / c[7, i], -g_in / c[8, i]


evolve = rkf45(derivatives, 3)

if __name__ == "__main__":
    from neurobus.cluster.join import main

    main(__spec__.name)
