"""The shipped synapse types against their equations: given trains on both sides, the weight that comes out is
that of a plain integration of what the docstring says, written here anew."""

from __future__ import annotations

import math

import numpy as np
import pytest

from neurobus.errors import InputError
from neurobus.node.core import Core
from neurobus.placement import place
from nodes.lif_homeostatic import LifHomeostatic
from nodes.stdp_scaled import StdpScaled
from tests.helpers import net, run_table, table

STEPS, D = 4000, 15
PRE = [50, 300, 310, 700, 1200, 1210, 1220, 2000, 2400, 3000, 3100, 3900]
POST = [40, 60, 290, 330, 705, 1190, 1215, 1216, 1700, 2390, 2980, 3105, 3400]
REWARD = [500, 1250, 2500]
TYPES = {
    "pair": ("nodes.stdp", "lambda_ = 0.1, alpha = 1.2, mu_plus = 0.5, mu_minus = 0.5"),
    "triplet": ("nodes.stdp_triplet", 'A2_plus = "0.1 mV", A3_plus = "0.3 mV", A2_minus = "0.2 mV"'),
    "slow": ("nodes.stdp_consolidated", 'lambda_ = 0.1, tau_fast = "80 ms", tau_slow = "300 ms"'),
    "scaled": ("nodes.stdp_scaled", 'lambda_ = 0.1, tau_a = "90 ms", a_goal = "20 Hz", beta = "60 mHz"'),
    "dopamine": ("nodes.stdp_dopamine", 'A_plus = "1 mV", A_minus = "1.5 mV", D_tonic = "0.1 Hz"'),
    "tsodyks": ("nodes.tsodyks", 'U = 0.3, tau_rec = "50 ms", tau_fac = "90 ms"'),
}
W0, W_MAX = 4.0, 10.0


def network(types=TYPES):
    """One neuron for each type, told when to fire by a synapse that makes it."""
    text = run_table() + "".join(
        table(
            "sources",
            id=id,
            kind="spikes",
            times=str([f"{step / 10} ms" for step in steps]).replace("'", '"'),
        )
        for id, steps in (("pre", PRE), ("force", [step - D for step in POST]), ("reward", REWARD))
    )
    for id, (synapse, params) in types.items():
        w_max = "" if id == "tsodyks" else f', W_max = "{W_MAX} mV"'
        text += table("neurons", id=id, model="nodes.lif_delta", params='{ t_ref = "0 ms" }')
        text += table("synapses", pre="force", post=id, weight="500 mV", delay="1.5 ms")
        text += table("synapses", pre="pre", post=id, weight=f"{W0} mV", delay="1.5 ms", synapse=synapse,
                      params=f"{{ {params}{w_max} }}")  # fmt: skip
    return text + table(
        "synapses", pre="reward", post="dopamine", weight=2, delay="1.5 ms", receptor="dopamine"
    )


@pytest.fixture(scope="module")
def course() -> dict[str, np.ndarray]:
    """The weight of each type at every 100th step: (steps, weights) of one process that hosts them all."""
    plan = place(net(network()), 100)
    number = next(p.number for p in plan.processes if not plan.is_source(p.number))
    core = Core(plan.neuron_part(number))
    index = plan.network.ids.index
    trains = {"pre": PRE, "force": [step - D for step in POST], "reward": REWARD}
    keys = [step << 32 | index(name) for name, steps in trains.items() for step in steps]
    core.admit(np.array(keys, np.int64))
    found, spikes = [], []
    for to in range(100, STEPS + 1, 100):
        spikes += core.advance(to).keys.tolist()
        found.append(core.weights())
    ids = plan.network.ids
    for id in TYPES:
        assert [key >> 32 for key in spikes if ids[key & 0xFFFFFFFF] == id] == POST, (
            "the neuron was to fire so"
        )

    def of(id):
        return np.array([w.weight[(w.post == index(id)) & (w.pre == index("pre"))][0] for w in found])

    return {id: of(id) for id in TYPES} | {"mv": core.potential_mv()}


def events(dendritic: bool, upto: int):
    """(time in ms, kind) as the synapse sees them; of one time post before pre where dendritic."""
    pre = [(s if dendritic else s + D, "pre") for s in PRE if s + D <= upto]
    last = upto - 2 * D if dendritic else upto
    post = [(s + D if dendritic else s, "post") for s in POST if s <= last]
    reward = [(s + D, "reward") for s in REWARD if s + D <= upto]
    rank = {"post": 0, "pre": 1, "reward": 1} if dendritic else {"pre": 0, "reward": 0, "post": 1}
    return [(t / 10, kind) for t, kind in sorted(pre + post + reward, key=lambda e: (e[0], rank[e[1]]))]


def follow(dendritic, upto, drift, pre, post, reward=None):
    """State by state from event to event; `drift(state, ms)` is what happens meanwhile."""
    state, t0 = {"w": W0}, 0.0
    for t, kind in events(dendritic, upto):
        drift(state, t - t0)
        {"pre": pre, "post": post, "reward": reward or (lambda state: None)}[kind](state)
        t0 = t
    drift(state, (upto - D * dendritic) / 10 - t0)
    return state["w"]


def decays(**taus):
    def drift(state, ms):
        for name, tau in taus.items():
            state[name] = state.get(name, 0.0) * math.exp(-ms / tau)

    return drift


def pair_rule(state_drift, lam=0.1, alpha=1.0, mu=1.0):
    def pre(s):
        s["w"] = max(s["w"] - W_MAX * alpha * lam * (s["w"] / W_MAX) ** mu * s["K-"], 0.0)
        s["K+"] += 1

    def post(s):
        s["w"] = min(s["w"] + W_MAX * lam * (1 - s["w"] / W_MAX) ** mu * s["K+"], W_MAX)
        s["K-"] += 1
        s["a"] = s.get("a", 0.0) + 1e3 / 90

    return state_drift, pre, post


def both(*drifts):
    def drift(state, ms):
        for one in drifts:
            one(state, ms)

    return drift


def fine(equation, h_ms=0.005):
    """A drift by Euler's rule in small steps."""

    def drift(state, ms):
        n = max(1, round(ms / h_ms)) if ms > 0 else 0
        for _ in range(n):
            equation(state, ms / n)

    return drift


def at(upto):
    return upto // 100 - 1


@pytest.mark.parametrize("upto", [400, 1300, 2200, STEPS])
def test_pair(course, upto):
    rule = pair_rule(decays(**{"K+": 20, "K-": 20}), alpha=1.2, mu=0.5)
    assert course["pair"][at(upto)] == pytest.approx(follow(True, upto, *rule), rel=1e-12)


@pytest.mark.parametrize("upto", [400, 1300, 2200, STEPS])
def test_triplet(course, upto):
    def pre(s):
        s["w"] = max(s["w"] - s["o1"] * (0.2 + 2.3e-4 * s["r2"]), 0.0)
        s["r1"], s["r2"] = s["r1"] + 1, s["r2"] + 1

    def post(s):
        s["w"] = min(s["w"] + s["r1"] * (0.1 + 0.3 * s["o2"]), W_MAX)
        s["o1"], s["o2"] = s["o1"] + 1, s["o2"] + 1

    drift = decays(r1=16.8, r2=101, o1=33.7, o2=125)
    assert course["triplet"][at(upto)] == pytest.approx(follow(True, upto, drift, pre, post), rel=1e-12)


@pytest.mark.parametrize("upto", [400, 1300, 2200, STEPS])
def test_consolidation(course, upto):
    def leak(s, ms):
        s.setdefault("s", W0)
        s["w"], s["s"] = s["w"] + ms * (s["s"] - s["w"]) / 80, s["s"] + ms * (s["w"] - s["s"]) / 300

    rule = pair_rule(both(decays(**{"K+": 20, "K-": 20}), fine(leak)))
    assert course["slow"][at(upto)] == pytest.approx(follow(True, upto, *rule), rel=5e-4)


@pytest.mark.parametrize("upto", [400, 1300, 2200, STEPS])
def test_scaling(course, upto):
    """The factor of the neuron reaches a dendritic synapse a delay late, like its spikes."""

    def scale(s, ms):
        s["w"] = min(s["w"] * (1 + ms * 60e-6 * (20 - s.get("a", 0.0))), W_MAX)
        s["a"] = s.get("a", 0.0) * (1 - ms / 90)

    rule = pair_rule(both(decays(**{"K+": 20, "K-": 20}), fine(scale)))
    found = course["scaled"][at(upto)]
    # The equation is the neuron's from 0 on; what the synapse sees begins a delay later.
    lead = math.exp(-60e-6 * 20 * D / 10)
    assert found == pytest.approx(follow(True, upto, *rule) * lead, rel=2e-3)


@pytest.mark.parametrize("upto", [400, 1300, 2200, STEPS])
def test_dopamine(course, upto):
    def learn(s, ms):
        s["w"] = min(max(s["w"] + ms * 1e-3 * s.get("c", 0.0) * (s.get("D", 0.0) + 0.1), 0.0), W_MAX)
        s["c"], s["D"] = s.get("c", 0.0) * (1 - ms / 1000), s.get("D", 0.0) * (1 - ms / 200)

    def pre(s):
        s["c"] -= 1.5 * s["K-"]
        s["K+"] += 1

    def post(s):
        s["c"] += s["K+"]
        s["K-"] += 1

    def reward(s):
        s["D"] += 2

    drift = both(fine(learn), decays(**{"K+": 20, "K-": 20}))
    expected = follow(False, upto, drift, pre, post, reward)
    assert course["dopamine"][at(upto)] == pytest.approx(expected, rel=5e-4, abs=5e-4)


def test_without_dopamine_eligibility_moves_nothing(course):
    assert abs(course["dopamine"][at(400)] - W0) < 0.05
    assert abs(course["dopamine"][at(2200)] - W0) > 0.1


def test_the_weights_go_their_own_ways(course):
    ends = [course[id][-1] for id in TYPES]
    assert len({round(end, 6) for end in ends}) == len(ends)
    assert all(np.ptp(course[id]) > 0.05 for id in TYPES if id != "tsodyks")


def test_who_hears_a_modulator_must_have_a_synapse_that_listens():
    text = run_table() + table("groups", id="a", count=2, model="nodes.lif")
    text += table(
        "synapses", pre="a.0", post="a.1", weight="1 pA", delay="1 ms", synapse=TYPES["dopamine"][0]
    )
    reward = {"pre": "a.0", "weight": 1, "delay": "1 ms", "receptor": "dopamine"}
    assert net(text + table("synapses", post="a.1", **reward)).synapses.receptor.tolist() == [0, 2]
    with pytest.raises(InputError, match=r"'a.0' has no synapse that listens to 'dopamine'"):
        net(text + table("synapses", post="a.0", **reward))
    with pytest.raises(InputError, match=r"a synapse on 'dopamine' is static"):
        net(text + table("synapses", post="a.1", synapse="nodes.stdp", **reward))


# -- homeostasis: hooks and steps as plain Python -----------------------------------------------------------


def test_scaling_keeps_the_ratios_of_weights_and_finds_the_goal():
    """A neuron whose rate follows its weights: they are scaled until it fires at a_goal, in proportion."""
    p = {name: np.array([param.value]) for name, param in StdpScaled.params().items()}
    p |= {"lambda_": np.zeros(1), "tau_a": np.array([500.0]), "a_goal": np.array([20.0])}
    p |= {"beta": np.array([20.0]), "W_max": np.array([100.0])}
    c = np.array(list(StdpScaled.prepare(p, 0.1).values()))[:, 0]
    w, z, g = (
        np.array([1.0, 2.5]),
        np.zeros((len(StdpScaled.states()), 2)),
        np.zeros(len(StdpScaled.traces())),
    )
    drive, t = 0.0, 0.0
    fired = []
    while t < 40_000:
        t += 5.0
        drive += sum(StdpScaled.arrive(t, t, j, w, z, c, g, g.copy()) for j in range(2)) * 0.1
        if drive >= 1.0:
            drive -= 1.0
            StdpScaled.fire(t, c, g)
            fired.append(t)
    early, late = (np.sum((np.array(fired) > a) & (np.array(fired) <= a + 2000)) / 2 for a in (0, 38_000))
    assert early > 40
    assert late == pytest.approx(20, abs=1)
    assert w[1] / w[0] == pytest.approx(2.5, rel=1e-9)


def test_a_homeostatic_threshold_finds_the_rate_whatever_the_input():
    p = {name: np.full(3, param.value) for name, param in LifHomeostatic.params().items()}
    p |= {"I_e": np.array([400.0, 600.0, 900.0]), "target": np.full(3, 10.0), "eta": np.full(3, 0.4)}
    assert LifHomeostatic.check(p) is None
    dt_ms, n = 0.5, 40_000
    c = np.array(list(LifHomeostatic.prepare(p, dt_ms).values()))
    s, x, fired = np.zeros((len(LifHomeostatic.states()), 3)), np.zeros((2, 3)), np.zeros(3, np.uint8)
    rates = np.zeros((2, 3))
    for k in range(n):
        LifHomeostatic.step(k, s, c, x, np.zeros(3), np.zeros(3, np.uint64), fired)
        rates[int(k >= n // 2)] += fired
    rates /= n // 2 * dt_ms * 1e-3
    assert np.ptp(rates[0]) > 4
    assert rates[1] == pytest.approx(np.full(3, 10.0), rel=0.05)
