"""Short-term depression and facilitation (Tsodyks & Markram; NEST's `tsodyks_synapse`).

    dx/dt = z / tau_rec              x recovered, y active, z = 1 - x - y inactive: fractions of the resource
    dy/dt = -y / tau_psc
    du/dt = -u / tau_fac             u: utilisation; 0 at rest, U right after a first spike
    spike:  u += U (1 - u);  then u x of the resource goes from x to y, and w u x acts on the neuron

Tsodyks, Uziel & Markram 2000 (doi:10.1523/JNEUROSCI.20-01-j0003.2000), with tau_fac = 0 the depressing
synapse of Tsodyks & Markram 1997 (doi:10.1073/pnas.94.2.719). What acts decays in the neuron: give it a
synaptic time constant of tau_psc. Operations in the order of NEST 3.10.
"""

from __future__ import annotations

import math

from neurobus.model import Param, State, Synapse


class Tsodyks(Synapse):
    U = Param(0.5, low=0, high=1, doc="utilisation by a first spike")
    tau_psc = Param("3 ms", above=0, doc="decay of the active fraction (tau_in)")
    tau_rec = Param("800 ms", above=0, doc="recovery from depression")
    tau_fac = Param("0 ms", low=0, doc="decay of facilitation; 0: none")

    x = State(doc="recovered fraction, right after the last spike")
    y = State(doc="active fraction")
    u = State(doc="utilisation")
    t_pre = State("ms", doc="time of the last presynaptic spike")

    dendritic = True

    @staticmethod
    def prepare(p, dt_ms):
        return {name: p[name] for name in ("U", "tau_psc", "tau_rec", "tau_fac")}

    @staticmethod
    def initial(p, w):
        return {"x": 1.0 + 0.0 * w}

    @staticmethod
    def arrive(t, back, j, w, z, c, g, y):
        U, tau_psc, tau_rec, tau_fac = c[0], c[1], c[2], c[3]
        h = t - z[3, j]
        Puu = 0.0 if tau_fac == 0.0 else math.exp(-h / tau_fac)
        Pyy = math.exp(-h / tau_psc)
        Pzz = expm1(-h / tau_rec)
        if abs(tau_psc - tau_rec) < NEAR * tau_rec:
            Pxy = recovered(h / (0.5 * (tau_psc + tau_rec)))
        else:
            Pxy = (Pzz * tau_rec - (Pyy - 1.0) * tau_psc) / (tau_psc - tau_rec)
        Pxz = -Pzz
        inactive = 1.0 - z[0, j] - z[1, j]
        z[2, j] *= Puu
        z[0, j] += Pxy * z[1, j] + Pxz * inactive
        z[1, j] *= Pyy
        z[2, j] += U * (1.0 - z[2, j])
        acts = z[2, j] * z[0, j]
        z[0, j] -= acts
        z[1, j] += acts
        z[3, j] = t
        return acts * w[j]


NEAR = 1e-5
"""Of the relative distance of tau_psc and tau_rec: nearer, the difference quotient is the derivative in their
middle, to 1e-11."""


def recovered(u):
    """What came from y to x after u equal time constants: 1 - (1 + u) exp(-u)."""
    if u > 0.1:
        return 1.0 - (1.0 + u) * math.exp(-u)
    total, term, n = 0.0, 0.5 * u * u, 2.0
    while abs(term) > total * 1e-17:
        total += term
        term *= -u * n / ((n - 1.0) * (n + 1.0))
        n += 1.0
    return total


def expm1(x):
    """exp(x) - 1 by the series NEST's wheel was built with; libm's differs in the last bit."""
    if abs(x) > 0.6931471805599453:
        return math.exp(x) - 1.0
    total, term, n = x, x * x / 2.0, 2
    while abs(term) > abs(total) * 2.220446049250313e-16:
        total += term
        n += 1
        term *= x / n
    return total
