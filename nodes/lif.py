"""Leaky integrate-and-fire neuron, exponential synaptic currents (NEST's `iaf_psc_exp`).

    C_m dV/dt = -C_m V / tau_m + I_ex + I_in + I_e + I        V relative to E_L
    dI_ex/dt = -I_ex / tau_syn_ex       a synapse with weight w >= 0 adds w to I_ex
    dI_in/dt = -I_in / tau_syn_in       one with w < 0 adds w to I_in
    V >= V_th - E_L:  spike, V := V_reset - E_L, held for t_ref

Exact integration on the grid (Rotter & Diesmann 1999, doi:10.1007/s004220050570); the order of
operations is that of NEST 3.10, so that spikes agree one by one.
"""

from __future__ import annotations

import math

import numpy as np

from neurobus.grid import steps_up
from neurobus.model import Model, Param, State


class Lif(Model):
    C_m = Param("250 pF", above=0, doc="membrane capacitance")
    tau_m = Param("10 ms", above=0, doc="membrane time constant")
    tau_syn_ex = Param("2 ms", above=0, doc="decay of the excitatory current")
    tau_syn_in = Param("2 ms", above=0, doc="decay of the inhibitory current")
    t_ref = Param("2 ms", low=0, steps=True, doc="refractory period")
    E_L = Param("-70 mV", doc="resting potential")
    V_reset = Param("-70 mV", doc="potential after a spike")
    V_th = Param("-55 mV", doc="spike threshold")
    V_m = Param("-70 mV", doc="potential at the start")
    V_peak = Param("0 mV", doc="what electrical synapses see of a spike")
    I_e = Param("0 pA", doc="constant input current")

    V = State("mV", doc="membrane potential relative to E_L")
    I_ex = State("pA", doc="excitatory synaptic current")
    I_in = State("pA", doc="inhibitory synaptic current")
    r = State(doc="steps of the refractory period left")

    receptors = ("ex", "in")
    weight_unit = "pA"
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
        h, C, tau_m = dt_ms, p["C_m"], p["tau_m"]
        P22 = each(math.exp, -h / tau_m)
        P20 = tau_m / C * (1.0 - P22)
        return {
            "P22": P22,
            "P21e": propagator(p["tau_syn_ex"], tau_m, C, h),
            "P21i": propagator(p["tau_syn_in"], tau_m, C, h),
            "P11e": each(math.exp, -h / p["tau_syn_ex"]),
            "P11i": each(math.exp, -h / p["tau_syn_in"]),
            "P20": P20,
            "I_e": p["I_e"],
            "V_th": p["V_th"] - p["E_L"],
            "V_reset": p["V_reset"] - p["E_L"],
            "t_ref": steps_up(p["t_ref"], h),
        }

    @staticmethod
    def step(k, s, c, x, I, key, fired):
        V, ie, ii, r = s[0], s[1], s[2], s[3]
        P22, P21e, P21i, P11e, P11i = c[0], c[1], c[2], c[3], c[4]
        P20, I_e, V_th, V_reset, t_ref = c[5], c[6], c[7], c[8], c[9]
        n = 0
        for i in range(V.size):
            v = V[i] * P22[i] + ie[i] * P21e[i] + ii[i] * P21i[i] + (I_e[i] + I[i]) * P20[i]
            v = v if r[i] == 0.0 else V[i]
            left = max(r[i] - 1.0, 0.0)
            ie[i] = ie[i] * P11e[i] + x[0, i]
            ii[i] = ii[i] * P11i[i] + x[1, i]
            spike = v >= V_th[i]
            V[i] = V_reset[i] if spike else v
            r[i] = t_ref[i] if spike else left
            fired[i] = spike
            n += spike
        return n


def each(function, values):
    """libm's scalar function, element by element: numpy's vectorised exp differs in the last bit."""
    return np.array([function(value) for value in np.ravel(values)])


FAR = 700.0
"""Of h (1 / tau_syn - 1 / tau_m): its exponential is beyond a float64, and no difference cancels any more."""


def expm1(x):
    """exp(x) - 1 by the series NEST's wheel was built with; libm's is 1 ulp off in a tenth of cases."""
    if abs(x) > math.log(2.0):
        return math.exp(x) - 1.0
    total, term, n = x, x * x / 2.0, 2
    while abs(term) > abs(total) * np.finfo(float).eps:
        total += term
        n += 1
        term *= x / n
    return total


def propagator(tau_syn, tau_m, C, h):
    """P21: how a synaptic current of now moves V within one step of h ms (NEST's order of operations)."""

    def one(ts, tm, c):
        if ts == tm:
            return h * (1 / c) * math.exp(-h * (1 / tm))
        x, beta = h * ((tm - ts) / (ts * tm)), ts * tm / (tm - ts)
        if x > FAR:
            return beta / c * (math.exp(-h / tm) - math.exp(-h / ts))
        return beta / c * math.exp(-h * (1 / ts)) * expm1(x)

    return np.array([one(*values) for values in zip(tau_syn, tau_m, C, strict=True)])


if __name__ == "__main__":
    from neurobus.cluster.join import main

    main(__spec__.name)
