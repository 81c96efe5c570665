"""The squid's giant axon at 6.3 °C (Hodgkin & Huxley 1952, doi:10.1113/jphysiol.1952.sp004764).

    C dV/dt = -g_Na m³ h (V - E_Na) - g_K n⁴ (V - E_K) - g_L (V - E_L) + I_ex + I_in + I
    dx/dt = alpha_x(V) (1 - x) - beta_x(V) x        x = m, h, n
    a synapse of weight w adds the current w (t / tau) exp(1 - t / tau): I_ex for w >= 0, I_in for w < 0

A membrane of 1e-4 cm²: 100 pF is the paper's 1 µF/cm², 1000 nS its 10 mS/cm², 100 pA its
1 µA/cm².
Rest is at -65 mV, where the paper has 0. A spike is the maximum of V above 0 mV, at most one every t_ref;
nothing is reset.

Integrated by adaptive Runge–Kutta–Fehlberg steps no longer than the time step (tolerance 1e-3), as in NEST
3.10's `hh_psc_alpha`, which has E_L = -54.402 mV (the paper: 10.6 mV above rest); I has I_e in it.
"""

from __future__ import annotations

import math

import numpy as np

from neurobus.grid import steps_up
from neurobus.model import Model, Param, State
from nodes.rkf45 import rkf45


class HodgkinHuxley(Model):
    C = Param("100 pF", above=0, doc="membrane capacitance")
    g_Na = Param("12000 nS", low=0, doc="greatest sodium conductance")
    g_K = Param("3600 nS", low=0, doc="greatest potassium conductance")
    g_L = Param("30 nS", low=0, doc="leak conductance")
    E_Na = Param("50 mV", doc="sodium reversal potential")
    E_K = Param("-77 mV", doc="potassium reversal potential")
    E_L = Param("-54.4 mV", doc="leak reversal potential")
    tau_syn_ex = Param("0.2 ms", above=0, doc="rise of the excitatory current")
    tau_syn_in = Param("2 ms", above=0, doc="rise of the inhibitory current")
    t_ref = Param("2 ms", low=0, steps=True, doc="least time between two spikes")
    I_e = Param("0 pA", doc="constant input current")
    V_m = Param("-65 mV", doc="potential at the start; m, h, n start at their steady state there")

    V = State("mV", doc="membrane potential")
    m = State(doc="sodium activation")
    h = State(doc="sodium inactivation")
    n = State(doc="potassium activation")
    dI_ex = State("pA", doc="excitatory current: its rise, per ms")
    I_ex = State("pA", doc="excitatory current")
    dI_in = State("pA", doc="inhibitory current: its rise, per ms")
    I_in = State("pA", doc="inhibitory current")
    r = State(doc="steps left in which no spike is told")
    try_next = State("ms", doc="integration step to try next")

    receptors = ("ex", "in")
    weight_unit = "pA"

    @staticmethod
    def initial(p):
        alpha_m, beta_m, alpha_h, beta_h, alpha_n, beta_n = np.array([rates(V) for V in p["V_m"]]).T
        m, h, n = alpha_m / (alpha_m + beta_m), alpha_h / (alpha_h + beta_h), alpha_n / (alpha_n + beta_n)
        return {"V": p["V_m"], "m": m, "h": h, "n": n}

    @staticmethod
    def prepare(p, dt_ms):
        names = ("C", "g_Na", "g_K", "g_L", "E_Na", "E_K", "E_L", "tau_syn_ex", "tau_syn_in", "I_e")
        steps = {"t_ref": steps_up(p["t_ref"], dt_ms), "dt": np.full(p["C"].shape, dt_ms)}
        return {name: p[name] for name in names} | steps

    @staticmethod
    def step(k, s, c, x, I, key, fired):
        r, count = s[8], 0
        for i in range(r.size):
            t_ref, dt, try_next = c[10, i], c[11, i], s[9, i]
            y, t = (s[0, i], s[1, i], s[2, i], s[3, i], s[4, i], s[5, i], s[6, i], s[7, i]), 0.0
            while t < dt:
                y, t, try_next = evolve(y, t, dt, try_next, 1e-3, 0.0, c, i, I[i], False)
            spike = r[i] == 0.0 and y[0] >= 0.0 and s[0, i] > y[0]
            r[i] = t_ref if spike else max(r[i] - 1.0, 0.0)
            s[0, i], s[1, i], s[2, i], s[3, i], s[9, i] = y[0], y[1], y[2], y[3], try_next
            s[4, i], s[5, i] = y[4] + x[0, i] * (math.e / c[7, i]), y[5]
            s[6, i], s[7, i] = y[6] + x[1, i] * (math.e / c[8, i]), y[7]
            fired[i] = spike
            count += spike
        return count


def linoid(x, rate):
    """rate x / (1 - exp(-x / 10)), which is 10 rate at x = 0."""
    return 10.0 * rate if abs(x) < 1e-7 else rate * x / (1.0 - math.exp(-x / 10.0))


def rates(V):
    """alpha and beta (1/ms) of m, h, n at V; beyond ±150 mV as there, so that no exponential overflows."""
    V = min(max(V, -150.0), 150.0)
    return (linoid(V + 40.0, 0.1), 4.0 * math.exp(-(V + 65.0) / 18.0),
            0.07 * math.exp(-(V + 65.0) / 20.0), 1.0 / (1.0 + math.exp(-(V + 35.0) / 10.0)),
            linoid(V + 55.0, 0.01), 0.125 * math.exp(-(V + 65.0) / 80.0))  # fmt: skip


def derivatives(y, c, i, I, held):
    C, g_Na, g_K, g_L, E_Na, E_K, E_L = c[0, i], c[1, i], c[2, i], c[3, i], c[4, i], c[5, i], c[6, i]
    V, m, h, n, dI_ex, I_ex, dI_in, I_in = y
    alpha_m, beta_m, alpha_h, beta_h, alpha_n, beta_n = rates(V)
    I_Na, I_K, I_L = g_Na * m * m * m * h * (V - E_Na), g_K * n * n * n * n * (V - E_K), g_L * (V - E_L)
    return (
        (-(I_Na + I_K + I_L) + I + c[9, i] + I_ex + I_in) / C,
        alpha_m * (1 - m) - beta_m * m,
        alpha_h * (1 - h) - beta_h * h,
        alpha_n * (1 - n) - beta_n * n,
        -dI_ex / c[7, i],
        dI_ex - I_ex / c[7, i],
        -dI_in / c[8, i],
        dI_in - I_in / c[8, i],
    )


evolve = rkf45(derivatives, 8)

if __name__ == "__main__":
    from neurobus.cluster.join import main

    main(__spec__.name)
