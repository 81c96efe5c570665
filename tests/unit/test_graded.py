"""Graded synapses: what acts is f(v) of the other side, by samples; against the equations solved together."""

from __future__ import annotations

import math

import numpy as np
import pytest

from neurobus.errors import InputError
from neurobus.placement import place, transferred
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
    ],
)
def test_what_is_wrong_is_one_line(keys, says):
    text = UNITS + table("sources", id="p", kind="poisson", rate="1 Hz") + table("graded", **keys)
    with pytest.raises(InputError) as caught:
        net(text)
    assert says in str(caught.value) and str(caught.value).startswith("test.toml:")


def test_a_csv_of_weights(tmp_path):
    from neurobus.config import load
    from neurobus.network import build

    (tmp_path / "w.csv").write_text("pre,post,weight\nx.0,x.1,-2\nx.1,x.2,-1.5\n")
    (tmp_path / "c.toml").write_text(UNITS + table("graded", csv="w.csv"))
    graded = build(load(tmp_path / "c.toml")).graded
    assert (graded.pre.tolist(), graded.post.tolist(), graded.weight.tolist()) == ([0, 1], [1, 2], [-2, -1.5])


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
