"""The chip on a board: a leaky integrate-and-fire neuron in integers, with pair STDP of its own.

    C_m dV/dt = -C_m V / tau_m + I_ex - I_in + I_e     V relative to E_L
    tau_syn_ex dI_ex/dt = -I_ex, tau_syn_in dI_in/dt = -I_in     a synapse of weight w adds |w| by its sign
    V >= V_th - E_L:  spike, V := V_reset - E_L, held for t_ref

    at a synapse `plastic`, nearest neighbours (Morrison et al. 2008, doi:10.1007/s00422-008-0233-1):
    a spike arrives, the neuron fired Δ ago:   w := max(w - A_minus exp(-Δ / tau_minus), 0), then it acts
    the neuron fires, a spike arrived Δ ago:   w := min(w + A_plus exp(-Δ / tau_plus), w_max)

This is `firmware/avr/chip_lif.c`, bit for bit: the functions below have its operations in its order, on whole
numbers. Constants and states are named as in the image that the board is given (`LIF_PARAMS`, `LIF_STATE`).

    V          2^-16 mV, up to ±64 mV; multiplications see its upper 16
    I_ex, I_in 24 bits without sign, in u / 256, u = I_max / 32768; multiplications see the upper 16
    weights    16 bits, in u: rounded to it when first used; pokes likewise, up to ±2 I_max, where sums end
    Δ          in units of 2^shift steps (≤ 1/20 of the shorter time constant); forgotten after 128
"""

from __future__ import annotations

import math

import numpy as np

from neurobus.grid import steps_up
from neurobus.model import Grain, Model, Param, State, SynapseState
from nodes.lif import propagator

FORGOTTEN = 128
"""Units of trace time after which a spike has no trace."""
V_MOST = 0x3FFFFF
I_MOST = 0xFFFFFF
B_MOST, C_MOST = 0x7FFFF, 14335
"""Bounds of b, c_ex and c_in: V_MOST + B_MOST + I_MOST / 256 * C_MOST / 256 fits 24 bits with its sign."""
POWERS = (255, 244, 234, 224, 214, 205, 197, 188, 180, 173, 165, 158, 152, 145, 139, 133)
"""round(255 * 2^(-i/16))"""
U16 = 0xFFFF


def trace(age, k):
    """255 * 2^(-age k / 4096): a trace that was set `age` units ago."""
    e = age * k
    halvings = e >> 12
    return POWERS[(e >> 8) & 15] >> halvings if halvings < 8 else 0


def depressed(w, age, A_minus, k_minus):
    """A plastic weight when a spike arrives, `age` units after the neuron's last."""
    return max(w - ((A_minus * trace(age, k_minus)) >> 8), 0)


def potentiated(w, age, A_plus, k_plus, w_max):
    """A plastic weight when the neuron fires, `age` units after the synapse's last spike."""
    return w if w >= w_max else min(w + ((A_plus * trace(age, k_plus)) >> 8), w_max)


def current(I, d, x):
    """A synaptic current after one step: what is left of it, and the weights x that arrived."""
    seen = I >> 8
    left = I - ((seen * d) >> 8) - 1 if seen else 0
    x = min(x, U16)
    return left + (x << 8) if x + (left >> 8) <= U16 else I_MOST


def membrane(V, I_ex, I_in, b, d_m, c_ex, c_in):
    """V after one step outside the refractory period."""
    leak = ((V >> 8) * d_m) >> 8
    V = V + b - leak + (((I_ex >> 8) * c_ex) >> 8) - (((I_in >> 8) * c_in) >> 8)
    return max(-V_MOST, min(V, V_MOST))


class Chip(Model):
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
    I_max = Param("8192 pA", above=0, doc="above the largest weight; the largest current is twice that")
    w_max = Param("1000 pA", low=0, doc="largest weight of a plastic synapse")
    A_plus = Param("10 pA", low=0, doc="largest gain of a weight at a spike of the neuron")
    A_minus = Param("10.5 pA", low=0, doc="largest loss of a weight at a spike that arrives")
    tau_plus = Param("20 ms", above=0, doc="how long a spike that arrived is remembered")
    tau_minus = Param("20 ms", above=0, doc="how long a spike of the neuron is remembered")
    poke = Param("4000 pA", doc="weight of a press of the board's button")

    V = State("mV", doc="membrane potential relative to E_L")
    I_ex = State(doc="excitatory current, u / 256")
    I_in = State(doc="magnitude of the inhibitory current, u / 256")
    r = State(doc="steps of the refractory period left")
    post = State(doc="unit of trace time of the last spike, + 1; 0 for none")

    pre = SynapseState(doc="unit of trace time of the last spike that arrived, + 1; 0 for none")

    receptors = ("ex", "in", "plastic")
    weight_unit = "pA"
    potential_zero = "E_L"
    peak = "V_peak"

    @staticmethod
    def check(p):
        if np.any(p["V_reset"] >= p["V_th"]):
            return "V_reset must lie below V_th"
        for name in ("V_th", "V_reset", "V_m"):
            if np.any(np.abs(p[name] - p["E_L"]) >= 64.0):
                return f"{name} must lie within 64 mV of E_L, the range of the chip's membrane"
        for name in ("w_max", "A_plus", "A_minus", "poke"):
            if np.any(np.abs(p[name]) > p["I_max"] * (32767 / 32768)):
                return f"{name} must be below I_max, the chip's largest weight"
        return None

    @staticmethod
    def initial(p):
        return {"V": np.rint((p["V_m"] - p["E_L"]) * 65536.0) / 65536.0}

    @staticmethod
    def prepare(p, dt_ms):
        h, C, tau_m, u = dt_ms, p["C_m"], p["tau_m"], p["I_max"] / 32768.0
        P20 = tau_m / C * -np.expm1(-h / tau_m)
        shorter = np.minimum(p["tau_plus"], p["tau_minus"])
        shift = np.clip(np.floor(np.log2(np.maximum(shorter / (20.0 * h), 1.0))), 0, 7)
        unit = h * 2.0**shift
        n = {
            "d_m": -np.expm1(-h / tau_m) * 65536.0,
            "d_ex": -np.expm1(-h / p["tau_syn_ex"]) * 65536.0,
            "d_in": -np.expm1(-h / p["tau_syn_in"]) * 65536.0,
            "c_ex": propagator(p["tau_syn_ex"], tau_m, C, h) * u * 2.0**24,
            "c_in": propagator(p["tau_syn_in"], tau_m, C, h) * u * 2.0**24,
            "b": P20 * p["I_e"] * 65536.0,
            "V_th": (p["V_th"] - p["E_L"]) * 65536.0,
            "V_reset": (p["V_reset"] - p["E_L"]) * 65536.0,
            "t_ref": steps_up(p["t_ref"], h),
            "w_max": p["w_max"] / u,
            "A_plus": p["A_plus"] / u,
            "A_minus": p["A_minus"] / u,
            "k_plus": unit / (p["tau_plus"] * math.log(2.0)) * 4096.0,
            "k_minus": unit / (p["tau_minus"] * math.log(2.0)) * 4096.0,
            "shift": shift,
            "poke": p["poke"] / u,
            "bar": np.clip(2.0**31 / np.maximum((p["V_th"] - p["E_L"]) * 65536.0, 1.0), 0, U16),
        }
        n = {name: np.rint(values) for name, values in n.items()}
        for name, least, most, right in RANGES:
            off = ~((n[name] >= least) & (n[name] <= most))
            if off.any():
                raise ValueError(f"the chip cannot hold these parameters at dt = {h:g} ms: {right}")
        return {**n, "u": u, "b_per_pA": P20 * 65536.0}

    @staticmethod
    def adopt(name, p, dt_ms, w):
        """Parameters of the chip that takes over neurons of the model `name`, with weights w (pA) on them,
        and by how much what it holds is off at most. Raises ValueError where it cannot."""
        if name != "nodes.lif":
            raise ValueError(f"a board runs nodes.chip or takes over a nodes.lif, not a {name}")
        n = len(p["C_m"])
        q = {param: p.get(param, np.full(n, of.value)) for param, of in Chip.params().items()}
        q["I_max"] = np.maximum(q["I_max"], np.abs(w).max(initial=0.0) * (32768 / 32767))
        c, h = Chip.prepare(q, dt_ms), dt_ms
        u = c["u"].max()
        taus = (("tau_m", "d_m"), ("tau_syn_ex", "d_ex"), ("tau_syn_in", "d_in"))
        off = [np.abs(-h / np.log1p(-c[d] / 65536.0) / p[tau] - 1.0).max() for tau, d in taus]
        errors = {
            "a weight, pA": float(np.abs(np.rint(w / u) * u - w).max(initial=0.0)),
            "a time constant, %": float(100.0 * max(off)),
            "I_e, pA": float(np.abs(c["b"] / c["b_per_pA"] - p["I_e"]).max()),
        }
        return q, errors

    @staticmethod
    def adopted(p, state):
        """Such a neuron's state as the chip's: state by name, (K,) each, to (states, K); and by how much what
        is beyond the chip's range is off at most."""
        per_pA = 256.0 * 32768.0 / p["I_max"]
        exact = {"V": state["V"] * 65536.0, "I_ex": state["I_ex"] * per_pA, "I_in": -state["I_in"] * per_pA}
        ends = {"V": (-V_MOST, V_MOST), "I_ex": (0, I_MOST), "I_in": (0, I_MOST)}
        held = {name: np.clip(np.rint(value), *ends[name]) for name, value in exact.items()}
        units = {"V": 65536.0, "I_ex": per_pA, "I_in": per_pA}
        off = {name: float(np.abs((held[name] - exact[name]) / units[name]).max()) for name in exact}
        of = {
            "V": "V at the hand-over, mV",
            "I_ex": "I_ex at the hand-over, pA",
            "I_in": "I_in at the hand-over, pA",
        }
        errors = {
            of[name]: error for name, error in off.items() if np.any(np.abs(held[name] - exact[name]) > 0.51)
        }
        V = held["V"] / 65536.0
        return np.array([V, held["I_ex"], held["I_in"], state["r"], np.zeros_like(V)]), errors

    @staticmethod
    def grain(p):
        return Grain(p["I_max"] / 32768.0, 32767, U16)

    @staticmethod
    def current_range(p, dt_ms):
        c = Chip.prepare(p, dt_ms)
        return (-B_MOST - c["b"]) / c["b_per_pA"], (B_MOST - c["b"]) / c["b_per_pA"]

    @staticmethod
    def check_weights(p, w, receptor):
        return [
            (
                (receptor == 0) & (w < 0),
                "at receptor 'ex' it is >= 0; leave the receptor out, the sign tells",
            ),
            (
                (receptor == 1) & (w > 0),
                "at receptor 'in' it is <= 0; leave the receptor out, the sign tells",
            ),
            ((receptor == 2) & (w < 0), "a plastic synapse excites: its weight is >= 0"),
        ]

    @staticmethod
    def arrive(k, i, receptor, j, w, z, s, c, x):
        A_minus, k_minus, shift, u = int(c[11, i]), int(c[13, i]), int(c[14, i]), c[17, i]
        n = int(np.rint(w[j] / u))
        n = max(-32767, min(n, 32767))
        if receptor == 2:
            now, post = (k >> shift) + 1, int(s[4, i])
            n = max(n, 0)
            if post > 0 and now - post < FORGOTTEN:
                n = depressed(n, now - post, A_minus, k_minus)
            z[0, j] = now
        w[j] = n * u
        if n >= 0:
            x[0, i] += n * u
        else:
            x[1, i] += n * u

    @staticmethod
    def step(k, s, c, x, I, key, fired, at, receptor, w, z):  # type: ignore[override]
        count = 0
        for i in range(s.shape[1]):
            d_m, d_ex, d_in, c_ex, c_in = int(c[0, i]), int(c[1, i]), int(c[2, i]), int(c[3, i]), int(c[4, i])
            V, I_ex, I_in, r = int(s[0, i] * 65536.0), int(s[1, i]), int(s[2, i]), int(s[3, i])
            b, u = int(c[5, i]), c[17, i]
            if I[i] != 0.0:
                b = int(max(-B_MOST, min(b + np.rint(I[i] * c[18, i]), B_MOST)))
            if r == 0:
                V = membrane(V, I_ex, I_in, b, d_m, c_ex, c_in)
            else:
                r -= 1
            I_ex = current(I_ex, d_ex, int(np.rint(x[0, i] / u)))
            I_in = current(I_in, d_in, int(np.rint(-x[1, i] / u)))
            fired[i] = c[6, i] <= V
            if fired[i]:
                count += 1
                V, r = int(c[7, i]), int(c[8, i])
                now = (k >> int(c[14, i])) + 1
                s[4, i] = now
                w_max, A_plus, k_plus = int(c[9, i]), int(c[10, i]), int(c[12, i])
                if A_plus > 0:
                    for j in range(at[i], at[i + 1]):
                        if receptor[j] == 2 and z[0, j] > 0.0 and now - z[0, j] < FORGOTTEN:
                            n = int(np.rint(w[j] / u))
                            w[j] = potentiated(n, now - int(z[0, j]), A_plus, k_plus, w_max) * u
            s[0, i], s[1, i], s[2, i], s[3, i] = V / 65536.0, I_ex, I_in, r
        return count


RANGES = (
    ("d_m", 1, U16, "tau_m must lie between dt / 11 and 65536 dt"),
    ("d_ex", 1, U16, "tau_syn_ex must lie between dt / 11 and 65536 dt"),
    ("d_in", 1, U16, "tau_syn_in must lie between dt / 11 and 65536 dt"),
    ("c_ex", 0, C_MOST, "I_max must be below 28 mV C_m / dt"),
    ("c_in", 0, C_MOST, "I_max must be below 28 mV C_m / dt"),
    ("b", -B_MOST, B_MOST, "I_e must be below 8 mV C_m / dt"),
    ("V_th", -V_MOST, V_MOST, "V_th must lie within 64 mV of E_L"),
    ("V_reset", -V_MOST, V_MOST, "V_reset must lie within 64 mV of E_L"),
    ("t_ref", 0, U16, "t_ref must be at most 65535 dt"),
    ("w_max", 0, 0x7FFF, "w_max must be below I_max"),
    ("A_plus", 0, U16, "A_plus must be below I_max"),
    ("A_minus", 0, U16, "A_minus must be below I_max"),
    ("k_plus", 0, U16, "tau_plus must not be so short against dt"),
    ("k_minus", 0, U16, "tau_minus must not be so short against dt"),
    ("shift", 0, 7, "tau_plus and tau_minus must be shorter"),
    ("poke", -0x7FFF, 0x7FFF, "poke must be below I_max"),
    ("bar", 0, U16, ""),
)
"""Of the constants: name, least, most, and what would be right."""


if __name__ == "__main__":
    from neurobus.cluster.join import main

    main(__spec__.name)
