"""Adaptive exponential integrate-and-fire (Brette & Gerstner 2005, doi:10.1152/jn.00686.2005).

    C dV/dt = -g_L (V - E_L) + g_L Delta_T exp((V - V_T) / Delta_T) - w + I
              - g_ex (V - E_ex) - g_in (V - E_in)
    tau_w dw/dt = a (V - E_L) - w
    dg/dt = -g / tau_syn        a synapse with weight w >= 0 adds w to g_ex, one with w < 0 adds |w| to g_in
    V >= V_peak:  spike, V := V_r, w := w + b, held for t_ref

Integrated by adaptive Runge–Kutta–Fehlberg steps (error `tol` in value and slope); spike and reset take place
at the end of such a step, not of the time step, as in NEST 3.10's `aeif_cond_exp`, and I has I_e in it. So
there may be several spikes in one time step, where t_ref is 0.
"""

from __future__ import annotations

import math

import numpy as np

from neurobus.grid import steps_up
from neurobus.model import MOST_PER_STEP, Model, Param, State
from nodes.rkf45 import rkf45


class AdEx(Model):
    C = Param("281 pF", above=0, doc="membrane capacitance")
    g_L = Param("30 nS", above=0, doc="leak conductance")
    E_L = Param("-70.6 mV", doc="resting potential")
    V_T = Param("-50.4 mV", doc="threshold of a slow current ramp")
    Delta_T = Param("2 mV", above=0, doc="sharpness of the threshold")
    a = Param("4 nS", doc="adaptation to the potential")
    tau_w = Param("144 ms", above=0, doc="time constant of adaptation")
    b = Param("80.5 pA", doc="adaptation to a spike")
    V_r = Param("-60 mV", doc="potential after a spike")
    V_peak = Param("0 mV", doc="where a spike is cut, and what electrical synapses see of it")
    t_ref = Param("0 ms", low=0, steps=True, doc="refractory period")
    E_ex = Param("0 mV", doc="excitatory reversal potential")
    E_in = Param("-85 mV", doc="inhibitory reversal potential")
    tau_syn_ex = Param("0.2 ms", above=0, doc="decay of the excitatory conductance")
    tau_syn_in = Param("2 ms", above=0, doc="decay of the inhibitory conductance")
    I_e = Param("0 pA", doc="constant input current")
    V_m = Param("-70.6 mV", doc="potential at the start")
    w_0 = Param("0 pA", doc="adaptation current at the start")
    tol = Param(1e-6, above=0, high=1e-2, doc="error that an integration step may make")

    V = State("mV", doc="membrane potential")
    g_ex = State("nS", doc="excitatory conductance")
    g_in = State("nS", doc="inhibitory conductance")
    w = State("pA", doc="adaptation current")
    r = State(doc="steps of the refractory period left")
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
        return {"V": p["V_m"], "w": p["w_0"], "h": np.full(p["V_m"].shape, 0.01)}

    @staticmethod
    def prepare(p, dt_ms):
        names = ("C", "g_L", "E_L", "V_T", "Delta_T", "a", "tau_w", "E_ex", "E_in",
                 "tau_syn_ex", "tau_syn_in", "I_e", "V_peak", "V_r", "b", "tol")  # fmt: skip
        steps = {"t_ref": steps_up(p["t_ref"], dt_ms), "dt": np.full(p["C"].shape, dt_ms)}
        return {name: p[name] for name in names} | steps

    @staticmethod
    def step(k, s, c, x, I, key, fired):
        r, h, n = s[4], s[5], 0
        for i in range(r.size):
            V_peak, V_r, b, tol, t_ref, dt = c[12, i], c[13, i], c[14, i], c[15, i], c[16, i], c[17, i]
            y, t, spikes = (s[0, i], s[1, i], s[2, i], s[3, i]), 0.0, 0
            while t < dt and spikes <= MOST_PER_STEP:
                y, t, h[i] = evolve(y, t, dt, h[i], tol, tol, c, i, I[i], r[i] > 0.0)
                if r[i] > 0.0:
                    y = (V_r, y[1], y[2], y[3])
                elif y[0] >= V_peak:
                    spikes += 1
                    y = (V_r, y[1], y[2], y[3] + b)
                    r[i] = t_ref + 1.0 if t_ref > 0.0 else 0.0
            r[i] = max(r[i] - 1.0, 0.0)
            s[0, i], s[1, i], s[2, i], s[3, i] = y[0], y[1] + x[0, i], y[2] - x[1, i], y[3]
            fired[i] = spikes
            n += spikes
        return n


def derivatives(y, c, i, I, held):
    C, g_L, E_L, V_T, Delta_T = c[0, i], c[1, i], c[2, i], c[3, i], c[4, i]
    a, tau_w, E_ex, E_in = c[5, i], c[6, i], c[7, i], c[8, i]
    V, g_ex, g_in, w = y
    V = c[13, i] if held else min(V, c[12, i])
    I_ex, I_in = g_ex * (V - E_ex), g_in * (V - E_in)
    I_spike = g_L * Delta_T * math.exp((V - V_T) / Delta_T)
    dV = 0.0 if held else (-g_L * (V - E_L) + I_spike - I_ex - I_in - w + c[11, i] + I) / C
    return dV, -g_ex / c[9, i], -g_in / c[10, i], (a * (V - E_L) - w) / tau_w


evolve = rkf45(derivatives, 4)

if __name__ == "__main__":
    from neurobus.cluster.join import main

    main(__spec__.name)
