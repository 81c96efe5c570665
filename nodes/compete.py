"""Competitive learning without a teacher: graded STDP, winner-take-all, and recruitment of neurons.

    S := S + W_j, T_j := top - (t - start) / level      an input spike at synapse j, t ticks after RESET
    V := min(65535, V + (S >> 3));  V >= V_th + (Σ W² >> 4):  spike, once       as in nodes/race.py

A lateral spike inhibits who has not fired, so the nearest wins. LEARN, at the end of a sample:

    winner        W := W + (8 T - W) / 2^n    graded STDP: an input gains the more, the earlier it came before
                  the end, and one that came late or never loses (Masquelier & Thorpe 2007, with a grade);
                  n grows from `young` to `old` with the number of samples won
    never learnt  claims a sample that nobody has recognised within `patience`: W := min(127, 8 T), and a
                  spike. It is the turn of him whose elders have all claimed (as in ART, Grossberg 1976)

RESET opens a slot, LEARN closes it. All is integers, W in 0 … 127, so that a chip could do it.
"""

from __future__ import annotations

import numpy as np

from neurobus.grid import steps_up
from neurobus.model import Model, Param, State, SynapseState

INPUT, ELDER, YOUNGER, LEARN, RESET = range(5)


class Compete(Model):
    V_th = Param(12000, low=1, high=65535, doc="threshold of a neuron with W = 0, in units of V")
    young = Param(2, low=0, high=15, doc="first shift of learning")
    old = Param(4, low=0, high=15, doc="last shift of learning")
    patience = Param("17.5 ms", above=0, steps=True, doc="from RESET: later is not recognised")
    top = Param(16, low=1, high=255, doc="level of the input that comes first")
    level = Param("1 ms", above=0, steps=True, doc="time between two levels")
    start = Param("1 ms", above=0, steps=True, doc="from RESET to the first input")
    delay = Param("1 ms", above=0, steps=True, doc="delay of lateral synapses, known to all")

    V = State(doc="potential, 0 … 65535")
    S = State(doc="sum of the weights that have arrived")
    began = State(doc="update in which RESET acted, -1 while closed")
    fired = State(doc="ticks from RESET to the spike of this slot, -1 for none")
    inhibited = State(doc="1: out of this race")
    earlier = State(doc="1: another fired before")
    heard = State(doc="ticks from RESET to the first spike of another, -1 for none")
    order = State(doc="0, or the broadcast that came in this tick: RESET or LEARN")
    threshold = State(doc="V_th and half the squared length of the weights")
    virgin = State(doc="1: never learnt, all weights are 0")
    wins = State(doc="samples won")
    claims = State(doc="elders that have claimed a sample")
    rank = State(doc="neurons with a lower address")
    closed = State(doc="update in which LEARN acted")

    T = SynapseState(doc="level of the input, from the time of its spike")

    receptors = ("input", "elder", "younger", "learn", "reset")
    by_sign = False
    weight_unit = ""

    @staticmethod
    def check(p):
        return "young must not be more than old" if np.any(p["young"] > p["old"]) else None

    @staticmethod
    def initial(p):
        none = np.full(len(p["V_th"]), -1.0)
        return {"began": none, "fired": none, "heard": none, "virgin": -none, "threshold": p["V_th"]}

    @staticmethod
    def prepare(p, dt_ms):
        ticks = {name: steps_up(p[name], dt_ms) for name in ("level", "start", "delay", "patience")}
        return {name: p[name] for name in ("V_th", "young", "old", "top")} | ticks

    @staticmethod
    def arrive(k, i, receptor, j, w, z, s, c, x):
        S, began, fired, inhibited, earlier, heard = s[1], s[2], s[3], s[4], s[5], s[6]
        order, claims, closed = s[7], s[11], s[13]
        top, level, start, delay = c[3], c[4], c[5], c[6]
        if receptor == RESET:
            order[i] = RESET
            began[i] = k
        if began[i] < 0:
            if receptor == ELDER and k - closed[i] >= c[6, i]:
                claims[i] += 1  # a spike of after LEARN is a claim
            return
        t = k - began[i]
        if receptor == INPUT:
            S[i] += w[j]
            z[0, j] = max(0.0, min(top[i], top[i] - np.floor((t - start[i]) / level[i])))
        elif receptor == LEARN:
            order[i] = LEARN
        elif receptor == ELDER or receptor == YOUNGER:  # noqa: SIM109
            if heard[i] < 0:
                heard[i] = t - delay[i]
            if fired[i] < 0:
                inhibited[i] = 1
                earlier[i] = 1
            elif t - delay[i] < fired[i] or (receptor == ELDER and t - delay[i] == fired[i]):
                earlier[i] = 1

    @staticmethod
    def step(k, s, c, x, I, key, fired, at, receptor, w, z):  # type: ignore[override]
        V, S, began, fired_at, inhibited, earlier, heard = s[0], s[1], s[2], s[3], s[4], s[5], s[6]
        order, threshold, virgin, wins, claims, rank = s[7], s[8], s[9], s[10], s[11], s[12]
        closed = s[13]
        V_th, young, old, patience = c[0], c[1], c[2], c[7]
        T = z[0]
        n = 0
        for i in range(V.size):
            fired[i] = 0
            learnt = False
            if order[i] == RESET:
                V[i] = S[i] = inhibited[i] = earlier[i] = rank[i] = 0
                fired_at[i] = heard[i] = -1
                for j in range(at[i], at[i + 1]):
                    T[j] = 0
                    if receptor[j] == ELDER:
                        rank[i] += 1
                learnt = True
            elif order[i] == LEARN:
                began[i] = -1
                closed[i] = k
                if virgin[i] == 1:
                    if claims[i] == rank[i] and (heard[i] < 0 or heard[i] >= patience[i]):
                        for j in range(at[i], at[i + 1]):
                            if receptor[j] == INPUT:
                                w[j] = min(127.0, 8 * T[j])
                        learnt = True
                        fired[i] = 1
                        n += 1
                elif fired_at[i] >= 0 and earlier[i] == 0:
                    wins[i] += 1
                    shift = np.int64(young[i])
                    more = np.int64(wins[i]) >> shift
                    while more > 0 and shift < old[i]:
                        shift += 1
                        more >>= 1
                    half = (np.int64(1) << shift) >> 1
                    for j in range(at[i], at[i + 1]):
                        if receptor[j] == INPUT:
                            by = (8 * np.int64(T[j]) - np.int64(w[j]) + half) >> shift
                            w[j] = min(127, max(0, np.int64(w[j]) + by))
                    learnt = True
            if learnt:
                square = np.int64(0)
                for j in range(at[i], at[i + 1]):
                    if receptor[j] == INPUT:
                        square += np.int64(w[j]) * np.int64(w[j])
                virgin[i] = square == 0
                threshold[i] = min(65535, np.int64(V_th[i]) + (square >> 4))
            order[i] = 0
            if began[i] >= 0 and virgin[i] == 0 and fired_at[i] < 0 and inhibited[i] == 0:
                V[i] = min(65535, np.int64(V[i]) + (np.int64(S[i]) >> 3))
                if V[i] >= threshold[i]:
                    fired_at[i] = k - began[i]
                    fired[i] = 1
                    n += 1
        return n


if __name__ == "__main__":
    from neurobus.cluster.join import main

    main(__spec__.name)
