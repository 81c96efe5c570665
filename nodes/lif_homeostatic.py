"""Leaky integrate-and-fire neuron with a homeostatic threshold: `nodes.lif`, and

    d theta/dt = -eta target      theta += eta at a spike         it fires at V >= V_th + theta

so that theta rests only where the rate is `target`, whatever the input (intrinsic plasticity, Lazar, Pipa &
Triesch 2009, doi:10.3389/neuro.10.023.2009; there in steps of time, T += eta (spike - target)). theta is
kept from theta_min up, or a neuron without input would become ever more excitable.
"""

from __future__ import annotations

from neurobus.model import Param, State
from nodes.lif import Lif


class LifHomeostatic(Lif):
    eta = Param("0.1 mV", low=0, doc="rise of the threshold by a spike")
    target = Param("5 Hz", low=0, doc="rate at which the threshold rests")
    theta_min = Param("-10 mV", doc="lowest theta; must leave the threshold above V_reset")

    theta = State("mV", doc="how far the threshold is from V_th")

    @staticmethod
    def check(p):
        if (p["V_reset"] >= p["V_th"] + p["theta_min"]).any():
            return "V_reset must lie below V_th + theta_min"
        return None

    @staticmethod
    def prepare(p, dt_ms):
        return {
            **Lif.prepare(p, dt_ms),
            "eta": p["eta"],
            "fall": p["eta"] * p["target"] * dt_ms * 1e-3,
            "theta_min": p["theta_min"],
        }

    @staticmethod
    def step(k, s, c, x, I, key, fired):
        V, ie, ii, r, theta = s[0], s[1], s[2], s[3], s[4]
        P22, P21e, P21i, P11e, P11i = c[0], c[1], c[2], c[3], c[4]
        P20, I_e, V_th, V_reset, t_ref = c[5], c[6], c[7], c[8], c[9]
        eta, fall, theta_min = c[10], c[11], c[12]
        n = 0
        for i in range(V.size):
            v = V[i] * P22[i] + ie[i] * P21e[i] + ii[i] * P21i[i] + (I_e[i] + I[i]) * P20[i]
            v = v if r[i] == 0.0 else V[i]
            left = max(r[i] - 1.0, 0.0)
            ie[i] = ie[i] * P11e[i] + x[0, i]
            ii[i] = ii[i] * P11i[i] + x[1, i]
            spike = v >= V_th[i] + theta[i]
            theta[i] = max(theta[i] - fall[i], theta_min[i])
            V[i] = V_reset[i] if spike else v
            r[i] = t_ref[i] if spike else left
            theta[i] += eta[i] * spike
            fired[i] = spike
            n += spike
        return n


if __name__ == "__main__":
    from neurobus.cluster.join import main

    main(__spec__.name)
