"""Leaky integrate-and-fire neuron, alpha-shaped synaptic currents (NEST's `iaf_psc_alpha`).

    C_m dV/dt = -C_m V / tau_m + I_ex + I_in + I_e + I                V relative to E_L
    I(t) = w e t / tau_syn exp(-t / tau_syn)       after a spike of weight w: it peaks with w, tau_syn later

A synapse with w >= 0 adds to I_ex, one with w < 0 to I_in. V >= V_th - E_L: spike, V := V_reset - E_L, held
for t_ref. Exact integration on the grid (Rotter & Diesmann 1999, doi:10.1007/s004220050570); the order of
operations is that of NEST 3.10.
"""

from __future__ import annotations

import math

import numpy as np

from neurobus.grid import steps_up
from neurobus.model import Param, State
from nodes.lif import FAR, Lif, each, expm1


class LifAlpha(Lif):
    tau_syn_ex = Param("2 ms", above=0, doc="time to the peak of the excitatory current")
    tau_syn_in = Param("2 ms", above=0, doc="time to the peak of the inhibitory current")

    dI_ex = State(doc="pA/ms: what drives I_ex")
    dI_in = State(doc="pA/ms: what drives I_in")

    @staticmethod
    def prepare(p, dt_ms):
        h, C, tau_m = dt_ms, p["C_m"], p["tau_m"]
        e, i = propagators(p["tau_syn_ex"], tau_m, C, h), propagators(p["tau_syn_in"], tau_m, C, h)
        shrink = each(expm1, -h / tau_m)
        P11e, P11i = each(math.exp, -h / p["tau_syn_ex"]), each(math.exp, -h / p["tau_syn_in"])
        return {
            "shrink": shrink,
            "P31e": e[0],
            "P32e": e[1],
            "P31i": i[0],
            "P32i": i[1],
            "P11e": P11e,
            "P11i": P11i,
            "P21e": h * P11e,
            "P21i": h * P11i,
            "P30": -tau_m / C * shrink,
            "first_e": math.e / p["tau_syn_ex"],
            "first_i": math.e / p["tau_syn_in"],
            "I_e": p["I_e"],
            "V_th": p["V_th"] - p["E_L"],
            "V_reset": p["V_reset"] - p["E_L"],
            "t_ref": steps_up(p["t_ref"], h),
        }

    @staticmethod
    def step(k, s, c, x, I, key, fired):
        V, ie, ii, r, die, dii = s[0], s[1], s[2], s[3], s[4], s[5]
        shrink, P31e, P32e, P31i, P32i = c[0], c[1], c[2], c[3], c[4]
        P11e, P11i, P21e, P21i, P30, first_e, first_i = c[5], c[6], c[7], c[8], c[9], c[10], c[11]
        I_e, V_th, V_reset, t_ref = c[12], c[13], c[14], c[15]
        n = 0
        for i in range(V.size):
            v = (P30[i] * (I[i] + I_e[i]) + P31e[i] * die[i] + P32e[i] * ie[i] + P31i[i] * dii[i]
                 + P32i[i] * ii[i] + shrink[i] * V[i] + V[i])  # fmt: skip
            v = v if r[i] == 0.0 else V[i]
            left = max(r[i] - 1.0, 0.0)
            ie[i] = P21e[i] * die[i] + P11e[i] * ie[i]
            die[i] = die[i] * P11e[i] + first_e[i] * x[0, i]
            ii[i] = P21i[i] * dii[i] + P11i[i] * ii[i]
            dii[i] = dii[i] * P11i[i] + first_i[i] * x[1, i]
            spike = v >= V_th[i]
            V[i] = V_reset[i] if spike else v
            r[i] = t_ref[i] if spike else left
            fired[i] = spike
            n += spike
        return n


NEAR = 1e-7
"""Of x = h (1 / tau_syn - 1 / tau_m): below it beta (exp(x) - 1) - h, with beta = h / x, has only nine
digits left, and NEST takes the value at x = 0; here it is a series, exact to the last digits."""


def propagators(tau_syn, tau_m, C, h):
    """(P31, P32): how dI and I of now move V within one step of h ms (NEST's order of operations)."""

    def one(ts, tm, c):
        if ts == tm:
            fall = math.exp(-h * (1 / tm))
            return 0.5 * h * h / c * fall, h / c * fall
        x, beta, fall = h * ((tm - ts) / (ts * tm)), ts * tm / (tm - ts), math.exp(-h * (1 / ts))
        if x > FAR:
            risen = math.exp(-h / tm) - fall
            return beta / c * (beta * risen - h * fall), beta / c * risen
        rise = expm1(x)
        if abs(x) < NEAR:
            return h * h / c * fall * (0.5 + x / 6.0 + x * x / 24.0), beta / c * fall * rise
        return beta / c * fall * (beta * rise - h), beta / c * fall * rise

    return np.array([one(*values) for values in zip(tau_syn, tau_m, C, strict=True)]).T


if __name__ == "__main__":
    from neurobus.cluster.join import main

    main(__spec__.name)
