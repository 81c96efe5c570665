"""Graded synapses: what acts is f(v) of the other side, by samples; against the equations solved together."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from neurobus.config import load
from neurobus.describe import describe
from neurobus.describe import render as render_check
from neurobus.errors import InputError
from neurobus.network import build
from neurobus.placement import place, transferred
from neurobus.structure import measure, render
from neurobus.wire.bus import NEVER
from tests.helpers import Ensemble, cores_of, lock_step, net, run_table, same, table

START = "x_0 = { choice = [0.3, 0.5, 0.7] }"
UNITS = table("groups", id="x", count=3, model="nodes.lotka_volterra",
              params=f'{{ sigma = 0, delta = 0, {START}, tau = "20 ms" }}')  # fmt: skip


def rates(extra="", interval="0.1 ms", **run):
    return net(run_table(potential_interval=interval, **run) + UNITS + extra)


@pytest.mark.parametrize("transfer", ["linear", "rectified", "sigmoid"])
def test_what_acts_is_the_transferred_potential(transfer):
    """Three rate units, one-step samples, against the same equations in one loop of plain Python."""
    extra = table("graded", pre="x", post="x", rule="all_to_all", weight=-0.8, transfer=transfer,
                  threshold=0.1, slope=0.5)  # fmt: skip
    # A synapse that drives nobody sets the smallest delay, at which samples act too, to one step.
    extra += table("synapses", pre="x.0", post="x.0", weight=0, delay="0.1 ms")
    network = rates(extra)
    (ensemble,) = [Ensemble(network, 3)]
    ensemble.run(400)
    x = network.params[0]["x_0"].copy()

    def f(v):
        u = (v - 0.1) / 0.5
        return {"linear": u, "rectified": max(u, 0.0), "sigmoid": 1 / (1 + math.exp(-u))}[transfer]

    for _ in range(400):
        g = [1.0 + sum(-0.8 * f(x[j]) for j in range(3) if j != i) for i in range(3)]
        grown = np.exp(np.array(g) * 0.1 / 20)
        x = x * grown / (1 + x * (grown - 1) / np.array(g))
    assert ensemble.final_mv() == pytest.approx(x.tolist(), rel=1e-9)


def test_any_packing_and_a_snapshot_in_mid_run():
    extra = table("graded", pre="x", post="x", rule="all_to_all", weight=-1.5)
    network = rates(extra.replace("sigma = 0", "sigma = 0.01"))
    expected = lock_step(network, 1500)
    assert len(expected.sample_keys) > 100
    for per in (1, 2, 3):
        assert same(Ensemble(network, per).run(1500).emission, expected)
    first = Ensemble(network, 2).run(700)
    second = Ensemble(network, 2, first.states()).run(1500)
    joined = np.concatenate([first.emission.sample_mv, second.emission.sample_mv])
    assert np.array_equal(joined, expected.sample_mv)


def test_a_graded_synapse_of_a_spiking_neuron_is_a_current():
    """A steady presynaptic potential: the postsynaptic neuron settles at R w f(v)."""
    text = (
        run_table()
        + table("neurons", id="a", model="nodes.lif", params='{ I_e = "100 pA" }')
        + table("neurons", id="b", model="nodes.lif")
        + table(
            "graded", pre="a", post="b", weight="300 pA", transfer="sigmoid", threshold="-66 mV", slope="1 mV"
        )
    )
    ensemble = Ensemble(net(text.replace("[run]\n", '[run]\npotential_delta = "0.001 mV"\n'))).run(3000)
    a, b = ensemble.final_mv()
    assert a == pytest.approx(-66)
    assert b == pytest.approx(-70 + 300 / 25 / 2, abs=0.01)


def test_it_acts_one_way_and_beside_a_junction():
    text = (
        run_table(potential_delta="0.01 mV")
        + table("groups", id="n", count=2, model="nodes.lif", params='{ V_m = "-65 mV" }')
        + table("electrical", a="n.0", b="n.1", conductance="5 nS")
        + table("graded", pre="n.0", post="n.1", weight="100 pA", threshold="-70 mV", slope="10 mV")
    )
    network = net(text)
    assert same(Ensemble(network, 2).run(1000).emission, lock_step(network, 1000))
    v0, v1 = Ensemble(network).run(3).final_mv()
    assert v1 > v0, "n.1 is driven; n.0 only by the junction"


# -- conductance and reversal potential --------------------------------------------------------------------

PASSIVE = 'V_th = "0 mV", V_m = "{V_m} mV", I_e = "{I_e} pA"'
"""A membrane of 250 pF and 10 ms, so 25 nS, that rests at -70 mV and does not fire."""


def membranes(dt, *synapses, a, b, **run):
    """Two passive membranes `a`, `b` = (V_m in mV, I_e in pA); samples of every step, acting at once."""
    params = [f"{{ {PASSIVE.format(V_m=V_m, I_e=I_e)} }}" for V_m, I_e in (a, b)]
    head = run_table(dt=dt, potential_delta="0 mV", potential_interval=dt, **run)
    # A synapse that drives nobody sets the smallest delay, at which samples act too, to one step.
    still = table("synapses", pre="a", post="a", weight="0 pA", delay=dt)
    both = [table("neurons", id=id, model="nodes.lif", params=p) for id, p in zip("ab", params, strict=True)]
    return net(head + "".join([*both, still, *(table("graded", **synapse) for synapse in synapses)]))


def synapse(pre, post, g, E, theta, k=2, transfer="sigmoid"):
    return {"pre": pre, "post": post, "conductance": f"{g} nS", "reversal": f"{E} mV", "transfer": transfer,
            "threshold": f"{theta} mV", "slope": f"{k} mV"}  # fmt: skip


def integrated(to_ms, a, b, synapses, h=0.005):
    """C dV/dt = g_L (E_L - V) + I_e + Σ g s(V_pre) (E - V) for the two membranes, by Runge-Kutta; (2,) mV."""
    V, I = np.array([a[0], b[0]], float), np.array([a[1], b[1]], float)

    def slope(V):
        total = 25.0 * (-70.0 - V) + I
        for one in synapses:
            pre, post = "ab".index(one["pre"]), "ab".index(one["post"])
            g, E, theta, k = (
                float(one[key].split()[0]) for key in ("conductance", "reversal", "threshold", "slope")
            )
            u = (V[pre] - theta) / k
            s = {"linear": u, "rectified": max(u, 0.0), "sigmoid": 1 / (1 + math.exp(-u))}[one["transfer"]]
            total[post] += g * s * (E - V[post])
        return total / 250.0

    for _ in range(round(to_ms / h)):
        k1 = slope(V)
        k2 = slope(V + h / 2 * k1)
        k3 = slope(V + h / 2 * k2)
        V = V + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(V + h * k3))
    return V


@pytest.mark.parametrize("transfer", ["linear", "rectified", "sigmoid"])
def test_a_conductance_acts_as_the_equations_say(transfer):
    """Two membranes drive each other; against both equations solved together, elsewhere and more finely.
    Within 0.08 mV at a step of 0.1 ms, and twice as near at half of it, the method being of first order."""
    a, b = (-68.0, 300.0), (-64.0, 50.0)
    pair = [synapse("a", "b", 8, -90, -64, transfer=transfer), synapse("b", "a", 5, -50, -72, 3, transfer)]
    for to_ms in (5, 20):
        expected = integrated(to_ms, a, b, pair)
        alone = integrated(to_ms, a, b, [])
        assert np.max(np.abs(expected - alone)) > 1.0, "the synapses matter"
        off = []
        for dt_ms in (0.1, 0.05):
            ensemble = Ensemble(membranes(f"{dt_ms} ms", *pair, a=a, b=b)).run(round(to_ms / dt_ms))
            off.append(np.abs(ensemble.final_mv() - expected))
        assert np.all(off[0] < 0.08), off
        assert np.all(off[1] < 0.55 * off[0]), off


@pytest.mark.parametrize(("E", "I_e"), [(-85, 0), (-85, -500), (-70, 250), (-70, -250), (-50, 0), (-60, 400)])
def test_what_it_does_changes_sign_at_its_reversal_potential(E, I_e):
    """A steady presynaptic potential: V settles at (g_L E_L + g s E + I_e) / (g_L + g s), nearer to E."""
    g, s = 40.0, 1 / (1 + math.exp(-(-60 + 62) / 2))
    one = synapse("a", "b", g, E, -62)
    ensemble = Ensemble(membranes("0.1 ms", one, a=(-60, 250), b=(-70 + I_e / 25, I_e))).run(3000)
    settled = ensemble.final_mv()[1]
    assert settled == pytest.approx((25 * -70 + g * s * E + I_e) / (25 + g * s), abs=1e-6)
    alone = -70 + I_e / 25
    assert settled < alone - 1 if alone > E else settled > alone + 1
    if (E, I_e) == (-85, 0):
        assert settled < -75, "inhibition hyperpolarises"


def test_at_its_reversal_potential_it_does_nothing():
    one = synapse("a", "b", 40, -70, -62)
    ensemble = Ensemble(membranes("0.1 ms", one, a=(-60, 250), b=(-70, 0))).run(2000)
    assert ensemble.final_mv()[1] == pytest.approx(-70, abs=1e-9)


MIXED = (
    run_table(potential_delta="0.05 mV", potential_interval="0.1 ms")
    + table("groups", id="n", count=6, model="nodes.lif",
            params='{ I_e = { uniform = ["300 pA", "420 pA"] }, V_m = { uniform = ["-70 mV", "-56 mV"] } }')
    + table("graded", pre="n", post="n", rule="fixed_probability", probability=0.5, transfer="sigmoid",
            threshold="-60 mV", slope="3 mV", conductance='{ uniform = ["1 nS", "9 nS"] }',
            reversal='{ choice = ["-80 mV", "-45 mV"] }')
    + table("graded", pre="n", post="n", rule="one_to_one", weight="30 pA", threshold="-60 mV", slope="5 mV")
    + table("electrical", a="n", b="n", rule="small_world", neighbours=2, rewire=0.0, conductance="2 nS")
    + table("synapses", pre="n", post="n", rule="fixed_indegree", indegree=2, weight="20 pA", delay="0.5 ms")
)  # fmt: skip
"""Conductances, currents, junctions and spikes on the same neurons."""


def test_conductances_in_any_packing_and_from_a_snapshot_in_mid_run():
    network = net(MIXED)
    assert np.isfinite(network.graded.reversal).sum() > 8 and np.isnan(network.graded.reversal).sum() == 6
    expected = lock_step(network, 3000)
    assert len(expected.keys) > 5 and len(expected.sample_keys) > 1000
    for per in (1, 2, 6):
        assert same(Ensemble(network, per).run(3000).emission, expected)
        first = Ensemble(network, per).run(1234)
        second = Ensemble(network, per, first.states()).run(3000)
        for name in ("keys", "sample_keys", "sample_mv"):
            parts = [getattr(part.emission, name) for part in (first, second)]
            assert np.array_equal(np.concatenate(parts), getattr(expected, name))
    without = net(MIXED.replace("conductance = { uniform", 'when = "on"\nconductance = { uniform')
                  + "[switches]\non = false\n")  # fmt: skip
    assert not same(lock_step(without, 3000), expected)


def test_a_membrane_that_a_conductance_holds_comes_to_rest():
    network = membranes("0.1 ms", synapse("a", "b", 40, -60, -62), a=(-60, 250), b=(-70, 0))
    (a, b) = cores_of(place(network, 1))
    a.advance(30_000)
    b.advance(30_000)
    steps = [a.look(again=True) for _ in range(12)], [b.look(again=True) for _ in range(12)]
    assert steps[0][-1] == steps[1][-1] == NEVER


def test_what_check_and_describe_say_of_conductances():
    network = net(MIXED)
    facts = measure(network)
    ns = facts["graded_weights"]["nS"]
    n = int(np.isfinite(network.graded.reversal).sum())
    assert ns["excitatory"]["count"] + ns["inhibitory"]["count"] == n
    assert (
        ns["inhibitory"]["count"] == np.sum(network.graded.reversal == -80) and ns["inhibitory"]["min"] >= 1
    )
    assert facts["graded_weights"]["pA"]["excitatory"]["count"] == 6
    assert "inhibitory (nS)" in render(facts)
    checked = describe(network)
    assert checked["graded"] == n + 6 and "graded      " in render_check(checked)
    lone = describe(membranes("0.1 ms", synapse("a", "b", 1, 0, -60), a=(-70, 0), b=(-70, 0)))
    assert not any("'b'" in w or ": b" in w for w in lone["warnings"]), "a graded synapse is an input"


def test_transfer_in_words():
    f = np.array([[0.0, 1, 2, 2, 3], [0, 1, 1, 1, 1], [0, 2, 2, 2, 2], np.zeros(5)])
    assert transferred(f, np.array([5.0, 5, 5, 0, 1])).tolist() == [5.0, 2.0, 2.0, 0.0, 0.5]


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"pre": "x.0", "post": "x.1"}, "[[graded]] needs 'weight'"),
        ({"pre": "x", "post": "x", "weight": 1}, "'x' is a group, so [[graded]] needs 'rule'"),
        ({"pre": "x.0", "post": "x.1", "weight": "1 pA"}, "this must be a plain number"),
        ({"pre": "x.0", "post": "x.1", "weight": 1, "slope": 0}, "slope must be > 0, not '0'"),
        ({"pre": "x.0", "post": "x.1", "weight": 1, "threshold": "1 mV"}, "this must be a plain number"),
        ({"pre": "p", "post": "x.1", "weight": 1}, "'p' is a source; this must be a neuron or group"),
        ({"pre": "y", "post": "x.1", "weight": 1}, "there is no 'y' in this network"),
        ({"pre": "x.0", "post": "x.1", "weight": 1, "transfer": "cubic"}, "transfer"),
        ({"pre": "x.0", "post": "x.1", "weight": 1, "delay": "1 ms"}, "delay"),
        ({"pre": "x.0", "post": "v", "weight": "1 nS"}, "this must be current"),
        ({"pre": "x.0", "post": "v", "conductance": "1 pA", "reversal": "0 mV"}, "this must be conductance"),
        ({"pre": "x.0", "post": "v", "conductance": 1, "reversal": "0 mV"}, 'has no unit; write "1 nS"'),
        ({"pre": "x.0", "post": "v", "conductance": "1 nS", "reversal": "1 pA"}, "this must be voltage"),
        (
            {"pre": "x.0", "post": "v", "conductance": "-1 nS", "reversal": "0 mV"},
            "a conductance must be >= 0, not -1 nS",
        ),
        (
            {
                "pre": "x",
                "post": "v",
                "rule": "all_to_all",
                "reversal": "0 mV",
                "conductance": '{ normal = ["0 nS", "1 nS"] }',
            },
            "nS; clip it with min and max",
        ),
        (
            {"pre": "x.0", "post": "v", "weight": "1 pA", "conductance": "1 nS", "reversal": "0 mV"},
            "give 'weight', a current, or 'conductance' with 'reversal', not both",
        ),
        ({"pre": "x.0", "post": "v", "conductance": "1 nS"}, "'conductance' needs 'reversal'"),
        (
            {"pre": "x.0", "post": "v", "weight": "1 pA", "reversal": "0 mV"},
            "'reversal' goes with 'conductance'",
        ),
        (
            {"pre": "v", "post": "x.0", "conductance": "1 nS", "reversal": "0 mV"},
            "'x.0' has no membrane in mV and pA for a conductance; give 'weight'",
        ),
        (
            {
                "pre": "x",
                "post": "x",
                "rule": "all_to_all",
                "stored": "true",
                "conductance": "1 nS",
                "reversal": "0 mV",
            },
            "has no membrane in mV and pA for a conductance; give 'weight'",
        ),
        (
            {"pre": "m", "post": "m", "rule": "assemblies", "conductance": "1 nS", "reversal": "0 mV"},
            "stored patterns give weights of both signs; a conductance has no sign",
        ),
    ],
)
def test_what_is_wrong_is_one_line(keys, says):
    text = UNITS + table("sources", id="p", kind="poisson", rate="1 Hz")
    text += table("neurons", id="v", model="nodes.lif")
    text += table("groups", id="m", count=4, model="nodes.lif", patterns="{ count = 1 }")
    with pytest.raises(InputError) as caught:
        net(text + table("graded", **keys))
    assert says in str(caught.value) and str(caught.value).startswith("test.toml:")


def test_a_csv_of_weights(tmp_path):
    (tmp_path / "w.csv").write_text("pre,post,weight\nx.0,x.1,-2\nx.1,x.2,-1.5\n")
    (tmp_path / "c.toml").write_text(UNITS + table("graded", csv="w.csv"))
    graded = build(load(tmp_path / "c.toml")).graded
    assert (graded.pre.tolist(), graded.post.tolist(), graded.weight.tolist()) == ([0, 1], [1, 2], [-2, -1.5])


def test_a_csv_of_conductances(tmp_path):
    """C. elegans style: sections of one conductance, and a reversal potential for each pair."""
    lines = ["pre,post,sections,reversal [mV]", "v.0,v.1,3,0", "v.1,v.2,1,-80"]
    (tmp_path / "g.csv").write_text("\n".join(lines) + "\n")
    text = table("groups", id="v", count=3, model="nodes.lif")

    def built(**keys):
        (tmp_path / "c.toml").write_text(text + table("graded", csv="g.csv", **keys))
        return build(load(tmp_path / "c.toml")).graded

    graded = built(conductance="0.1 nS")
    assert graded.weight.tolist() == pytest.approx([0.3, 0.1]) and graded.reversal.tolist() == [0, -80]
    for keys, says in (({}, "'reversal' goes with 'conductance'"),
                       ({"conductance": "1 nS", "reversal": "0 mV"}, "g.csv has a column reversal already"),
                       ({"weight": "1 pA"}, "'reversal' goes with 'conductance'")):  # fmt: skip
        with pytest.raises(InputError, match=re.escape(says)):
            built(**keys)
    (tmp_path / "g.csv").write_text("pre,post,conductance [nS],reversal [mV]\nv.0,v.1,1,0\nv.1,v.2,-1,0\n")
    with pytest.raises(InputError, match=r"g.csv:3: a conductance must be >= 0, not -1 nS"):
        built()


# -- the models -------------------------------------------------------------------------------------------


def test_a_rate_unit_grows_logistically():
    network = rates()
    x0 = network.params[0]["x_0"]
    cores = cores_of(place(network, 3))
    cores[0].advance(500)
    grown = np.exp(500 * 0.1 / 20)
    assert cores[0].potential_mv() == pytest.approx(x0 * grown / (1 + x0 * (grown - 1)), rel=1e-9)


def test_noise_is_normal_and_scales_with_the_step():
    from nodes.noise import normal, uniform

    with np.errstate(over="ignore"):
        z = np.array([normal(np.uint64(7), k, 0) for k in range(20_000)])
        u = np.array([uniform(np.uint64(7), k, 0) for k in range(5000)])
    assert abs(z.mean()) < 0.03 and abs(z.std() - 1) < 0.02 and abs((z**4).mean() - 2.9) < 0.25
    assert abs(np.corrcoef(z[1:], z[:-1])[0, 1]) < 0.03
    assert abs(u.mean() - 0.5) < 0.02 and u.min() >= 0 and u.max() < 1


def test_a_binary_neuron_has_its_probability_and_tires():
    """P = 1 / (1 + exp(-2 beta h)); z follows the mean activity with tau_z."""
    h, beta = 0.3, 1.5
    text = run_table(dt="1 ms") + table(
        "groups", id="b", count=400, model="nodes.binary",
        params=f"{{ beta = {beta}, h_0 = {h}, Phi = -0.5 }}",
    )  # fmt: skip
    (core,) = cores_of(place(net(text), 400))
    emission = core.advance(500)
    p = 1 / (1 + math.exp(-2 * beta * h))
    assert len(emission.keys) / (400 * 499) == pytest.approx(p, abs=0.01)
    assert core.state[2].mean() == pytest.approx(p, abs=0.02)
