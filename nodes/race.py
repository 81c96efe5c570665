"""Race to the nearest: a classifier of neurons that learn alone, in the integers of an 8-bit chip.

    S := S + W_j, T_j := top - (t - start) / level      an input spike at synapse j, t ticks after RESET
    V := min(65535, V + (S >> shift))                   a tick: a ramp whose slope is what has arrived
    V >= V_th + (Σ W² >> shift + 1):  spike, once       so the neuron whose W is nearest to T is the first

With W = 8 T the threshold is V_th + |W|²/16 and V tends to W·T: the first to cross has the smallest
|W - 8T|². Lateral spikes inhibit who has not fired; one whose teacher has come heeds its classmates only.

LEARN   fired, not mine:                                                 W := W - ((8 T - W) >> repel)
        fired, mine, no classmate earlier, a spike of another class:     W := W + ((8 T - W) >> attract)
        never learnt, mine, a spike of another class or of no classmate: the lowest rank claims the sample,
        W := min(127, 8 T): a spike `delay` · rank after LEARN, unless a classmate's claim comes before

RESET clears all but W and opens a slot; LEARN closes it. W stays in 0 … 127. Events of a tick: first what
arrives (pokes charge V by their sum), then LEARN or V, then the spike. RESET, teacher, inputs and LEARN come
in ticks of their own.
(The margin of the race is the lateral delay: competitive learning after Kohonen's LVQ 2.1, 1990.)
"""

from __future__ import annotations

import numpy as np

from neurobus.grid import steps_up
from neurobus.model import Grain, Model, Param, State, SynapseState

INPUT, ELDER, YOUNGER, FOREIGN, TEACH, LEARN, RESET = range(7)
LONGEST = 65534  # ticks since RESET that a chip can count


class Race(Model):
    V_th = Param(12000, low=1, high=65535, doc="threshold of a neuron with W = 0, in units of V")
    shift = Param(3, low=0, high=16, doc="V grows by S >> shift a tick: 3 where a level is 8 ticks")
    attract = Param(3, low=0, high=15, doc="learning towards a sample: >> attract")
    repel = Param(4, low=0, high=15, doc="learning away from one: >> repel")
    top = Param(16, low=1, high=255, doc="level of the input that comes first")
    level = Param("1 ms", above=0, steps=True, doc="time between two levels")
    start = Param("1 ms", above=0, steps=True, doc="from RESET to the first input")
    delay = Param("1 ms", above=0, steps=True, doc="delay of lateral synapses, known to all")

    V = State(doc="potential, 0 … 65535")
    S = State(doc="sum of the weights that have arrived")
    began = State(doc="update in which RESET acted, -1 while closed")
    fired = State(doc="ticks from RESET to the spike of this slot, -1 for none")
    inhibited = State(doc="1: out of this race")
    mine = State(doc="1: the teacher of the own class has come")
    mate = State(doc="1: a classmate has fired")
    earlier = State(doc="1: a classmate fired before")
    foreign = State(doc="1: another class has fired")
    order = State(doc="0, or the broadcast that came in this tick: RESET or LEARN")
    claim = State(doc="ticks until a claim, -1 for none")
    threshold = State(doc="V_th and half the squared length of the weights")
    virgin = State(doc="1: never learnt, all weights are 0")
    rank = State(doc="classmates with a lower address")
    closed = State(doc="update in which LEARN acted")

    T = SynapseState(doc="level of the input, from the time of its spike")

    receptors = ("input", "elder", "younger", "foreign", "teach", "learn", "reset")
    by_sign = False
    weight_unit = ""

    @staticmethod
    def initial(p):
        none = np.full(len(p["V_th"]), -1.0)
        return {"began": none, "fired": none, "claim": none, "virgin": -none, "threshold": p["V_th"]}

    @staticmethod
    def prepare(p, dt_ms):
        ticks = {name: steps_up(p[name], dt_ms) for name in ("level", "start", "delay")}
        return {name: p[name] for name in ("V_th", "shift", "attract", "repel", "top")} | ticks

    @staticmethod
    def grain(p):
        return Grain(np.ones(len(p["V_th"])), 1 << 24, 65535)

    @staticmethod
    def check_weights(p, w, receptor):
        off = (receptor == INPUT) & ((w != np.rint(w)) | (w < 0) | (w > 127))
        return [(off, "weights of inputs are whole numbers from 0 to 127")]

    @staticmethod
    def arrive(k, i, receptor, j, w, z, s, c, x):
        S, began, fired, inhibited, mine, mate = s[1], s[2], s[3], s[4], s[5], s[6]
        earlier, foreign, order, claim, closed = s[7], s[8], s[9], s[10], s[14]
        top, level, start, delay = c[4], c[5], c[6], c[7]
        if receptor == RESET:
            order[i] = RESET
            began[i] = k
        elif (receptor == ELDER or receptor == YOUNGER) and k - closed[i] >= delay[i]:  # noqa: SIM109
            claim[i] = -1  # a classmate's spike of after LEARN is its claim
        if began[i] < 0:
            return
        t = min(k - began[i], LONGEST)
        if receptor == INPUT:
            S[i] += w[j]
            z[0, j] = max(0.0, min(top[i], top[i] - np.floor((t - start[i]) / level[i])))
        elif receptor == FOREIGN:
            foreign[i] = 1
            if fired[i] < 0 and mine[i] == 0:
                inhibited[i] = 1
        elif receptor == ELDER or receptor == YOUNGER:  # noqa: SIM109
            mate[i] = 1
            if fired[i] < 0:
                inhibited[i] = 1
                earlier[i] = 1
            elif t - delay[i] < fired[i] or (receptor == ELDER and t - delay[i] == fired[i]):
                earlier[i] = 1
        elif receptor == TEACH:
            mine[i] = 1
        elif receptor == LEARN:
            order[i] = LEARN

    @staticmethod
    def step(k, s, c, x, I, key, fired, at, receptor, w, z):  # type: ignore[override]
        V, S, began, fired_at, inhibited, mine, mate = s[0], s[1], s[2], s[3], s[4], s[5], s[6]
        earlier, foreign, order, claim, threshold, virgin, rank = s[7], s[8], s[9], s[10], s[11], s[12], s[13]
        closed = s[14]
        V_th, shift, attract, repel, delay = c[0], c[1], c[2], c[3], c[7]
        T = z[0]
        n = 0
        for i in range(V.size):
            fired[i] = 0
            learnt = False
            if x[0, i] != 0.0:
                V[i] = max(0.0, min(65535.0, V[i] + x[0, i]))
            if order[i] == RESET:
                V[i] = S[i] = inhibited[i] = mine[i] = mate[i] = earlier[i] = foreign[i] = rank[i] = 0
                fired_at[i] = claim[i] = -1
                for j in range(at[i], at[i + 1]):
                    T[j] = 0
                    if receptor[j] == ELDER:
                        rank[i] += 1
                learnt = True
            elif order[i] == LEARN:
                began[i] = -1
                closed[i] = k
                by = 0
                if virgin[i] == 1:
                    if mine[i] == 1 and (foreign[i] == 1 or mate[i] == 0):
                        claim[i] = rank[i] * delay[i]
                elif fired_at[i] >= 0 and mine[i] == 0:
                    by = -1
                elif fired_at[i] >= 0 and earlier[i] == 0 and foreign[i] == 1:
                    by = 1
                if by != 0:
                    down = np.int64(attract[i]) if by > 0 else np.int64(repel[i])
                    for j in range(at[i], at[i + 1]):
                        if receptor[j] == INPUT:
                            error = (8 * np.int64(T[j]) - np.int64(w[j])) >> down
                            w[j] = min(127, max(0, np.int64(w[j]) + by * error))
                    learnt = True
            if claim[i] >= 0:
                if claim[i] == 0:
                    for j in range(at[i], at[i + 1]):
                        if receptor[j] == INPUT:
                            w[j] = min(127.0, 8 * T[j])
                    learnt = True
                    fired[i] = 1
                    n += 1
                claim[i] -= 1
            if learnt:
                square = np.int64(0)
                for j in range(at[i], at[i + 1]):
                    if receptor[j] == INPUT:
                        square += np.int64(w[j]) * np.int64(w[j])
                virgin[i] = square == 0
                threshold[i] = min(65535, np.int64(V_th[i]) + (square >> (np.int64(shift[i]) + 1)))
            order[i] = 0
            if began[i] >= 0 and fired_at[i] < 0 and inhibited[i] == 0:
                V[i] = min(65535, np.int64(V[i]) + (np.int64(S[i]) >> np.int64(shift[i])))
                if V[i] >= threshold[i]:
                    fired_at[i] = min(k - began[i], LONGEST)
                    fired[i] = 1
                    n += 1
        return n


if __name__ == "__main__":
    from neurobus.cluster.join import main

    main(__spec__.name)
