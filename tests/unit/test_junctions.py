"""Junctions: cells that are alike do not notice theirs; others, against both solved together."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from neurobus.describe import describe, render
from neurobus.errors import InputError
from neurobus.network.stability import fastest, largest_rate
from neurobus.wire.bus import NEVER
from tests.helpers import Ensemble, net, run_table, same, table

TAU_MS, G_L_NS, E_L = 10.0, 25.0, -70.0


def cells(*params, g, model="nodes.lif", ids="ab", more="", **run):
    run = {"clock": "virtual", **run}
    text = "".join(
        table("neurons", id=name, model=model, params=f"{{ {one} }}")
        for name, one in zip(ids, params, strict=True)
    )
    return net(run_table(**run) + text + table("electrical", a="a", b="b", conductance=f"{g} nS") + more)


def potentials(ensemble, steps):
    """mV of both cells after so many steps; shape (len(steps), 2)."""
    return np.array([ensemble.run(step).final_mv() for step in steps])


# -- cells that are alike -------------------------------------------------------------------------------


@pytest.mark.parametrize("delay", [None, "1 ms", "2.5 ms"])
@pytest.mark.parametrize("g", [1, 12.5, 40, 100, 900])
def test_cells_alike_do_not_notice_their_junction(g, delay):
    """The time constant is that of one cell alone, for every conductance that is accepted."""
    alike = 'V_th = "100 mV", I_e = "500 pA"'
    run = {} if delay is None else {"potential_delay": delay}
    if delay and g * TAU_MS * float(delay.split()[0]) / 250 > 4.5:
        with pytest.raises(InputError, match="unstable"):
            cells(alike, alike, g=g, **run)
        return
    steps = [30, 100, 200, 1000]
    found = potentials(Ensemble(cells(alike, alike, g=g, **run)), steps)
    alone = E_L + 20 * (1 - np.exp(-np.array(steps) * 0.1 / TAU_MS))
    assert np.abs(found - alone[:, None]).max() < 0.06
    tau = -np.array(steps[:2]) * 0.1 / np.log(1 - (found[:2, 0] - E_L) / 20)
    assert tau == pytest.approx(TAU_MS, abs=0.04)


@pytest.mark.parametrize(
    ("model", "current"),
    [("nodes.adex", "900 pA"), ("nodes.hodgkin_huxley", "1000 pA"), ("nodes.lif", "500 pA")],
)
@pytest.mark.parametrize("delay", ["0.1 ms", "1 ms"])
def test_cells_alike_fire_as_one_alone(model, current, delay):
    """Spikes with a shape, with a peak, with a refractory period and without: both see what both told."""
    alike = f'I_e = "{current}"'
    keys = Ensemble(cells(alike, alike, g=10, model=model, potential_delay=delay)).run(2000).emission.keys
    alone = Ensemble(net(run_table() + table("neurons", id="a", model=model, params=f"{{ {alike} }}")))
    expected = alone.run(2000).emission.keys >> 32
    assert len(expected) > 5
    for cell in (0, 1):
        found = keys[keys & 0xFFFFFFFF == cell] >> 32
        assert len(found) == len(expected) and np.abs(found - expected).max() <= 1


# -- cells that are not ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("g", "within_mv"), [(5, 0.06), (12.5, 0.06), (60, 0.1), (300, 0.5)])
def test_a_pair_that_starts_apart_against_the_closed_form(g, within_mv):
    network = cells('V_m = "-58 mV"', 'V_m = "-72 mV", I_e = "100 pA"', g=g)
    t = np.array([0.5, 1, 2, 5, 10, 30, 80])
    found = potentials(Ensemble(network), (t * 10).astype(int).tolist())
    rate = 1 / TAU_MS + 2 * g / 250
    mean, half = 2 + (-65 - E_L - 2) * np.exp(-t / TAU_MS), -0.4 / 2 / rate
    half = half + (7 - half) * np.exp(-t * rate)
    assert np.abs(found - np.stack([E_L + mean + half, E_L + mean - half], axis=1)).max() < within_mv


def linoid(x):
    return 10.0 if abs(x) < 1e-7 else x / (1 - np.exp(-x / 10))


def rates(V):
    return (0.1 * linoid(V + 40), 4 * np.exp(-(V + 65) / 18), 0.07 * np.exp(-(V + 65) / 20),
            1 / (1 + np.exp(-(V + 35) / 10)), 0.01 * linoid(V + 55),
            0.125 * np.exp(-(V + 65) / 80))  # fmt: skip


def axons_together(g, starts, currents, end_ms):
    """Spike times (ms) of two axons of Hodgkin & Huxley: maxima of V above 0, solved together to 1e-10."""

    def one(y, pa):
        V, m, h, n = y
        am, bm, ah, bh, an, bn = rates(V)
        I = 12000 * m**3 * h * (V - 50) + 3600 * n**4 * (V + 77) + 30 * (V + 54.4)
        return [(pa - I) / 100, am * (1 - m) - bm * m, ah * (1 - h) - bh * h, an * (1 - n) - bn * n]

    def slope(t, y):
        across = g * (y[4] - y[0])
        return [*one(y[:4], currents[0] + across), *one(y[4:], currents[1] - across)]

    def rise(cell):
        def event(t, y):
            return slope(t, y)[4 * cell]

        event.direction = -1
        return event

    y0 = []
    for V in starts:
        am, bm, ah, bh, an, bn = rates(V)
        y0 += [V, am / (am + bm), ah / (ah + bh), an / (an + bn)]
    solved = solve_ivp(slope, (0, end_ms), y0, "DOP853", rtol=1e-10, atol=1e-10, events=[rise(0), rise(1)])
    return [solved.t_events[i][solved.y_events[i][:, 4 * i] > 0] for i in (0, 1)]


@pytest.mark.parametrize(
    ("currents", "g"), [((1200, 1000), 2), ((900, 640), 8), ((1000, 0), 3), ((1000, 800), 10)]
)
def test_axons_with_defaults_fire_as_when_solved_together(currents, g):
    """Spike counts are equal, and times within 0.2 ms over 300 ms; a stamp is up to a step late by itself."""
    starts = (-65.0, -60.0)
    params = [f'I_e = "{pa} pA", V_m = "{V} mV"' for pa, V in zip(currents, starts, strict=True)]
    keys = Ensemble(cells(*params, g=g, model="nodes.hodgkin_huxley")).run(2990).emission.keys
    for cell, exact in enumerate(axons_together(g, starts, currents, 299.0)):
        found = (keys[keys & 0xFFFFFFFF == cell] >> 32) * 0.1
        assert len(found) == len(exact)
        assert np.abs(found - exact).max(initial=0) < 0.2


# -- rest, packing, delay -------------------------------------------------------------------------------


@pytest.mark.parametrize("g", [5, 60, 250, 600])
@pytest.mark.parametrize("fed", ["0 pA", "250 pA"])
def test_a_pair_comes_to_rest_and_costs_nothing_then(g, fed):
    ensemble = Ensemble(cells(f'V_m = "-58 mV", I_e = "{fed}"', 'V_m = "-72 mV"', g=g)).run(20_000)
    told = len(ensemble.emission.sample_keys)
    assert len(ensemble.run(400_000).emission.sample_keys) == told < 700
    assert ensemble.schedule.next_step() >= NEVER
    mean, half = float(fed.split()[0]) / 2 / G_L_NS, float(fed.split()[0]) / 2 / (G_L_NS + 2 * g)
    assert ensemble.final_mv() == pytest.approx([E_L + mean + half, E_L + mean - half], abs=0.1)


@pytest.mark.parametrize("delay", ["0.1 ms", "0.7 ms", "2 ms"])
def test_any_packing_gives_the_same(delay):
    firing = ['I_e = "500 pA"', 'I_e = "420 pA"', 'V_m = "-60 mV"']
    network = cells(*firing, g=4, ids="abc", potential_delay=delay,
                    more=table("electrical", a="b", b="c", conductance="6 nS"))  # fmt: skip
    expected = Ensemble(network).run(2000).emission
    assert len(expected.keys) > 10 and len(expected.sample_keys) > 100
    for per in (2, 3):
        assert same(Ensemble(network, per).run(2000).emission, expected)


def test_the_delay_of_potentials():
    """One step where a config says the virtual clock; else a synapse's, whatever clock a run is given."""
    synapse = table("synapses", pre="a", post="b", weight="0 pA", delay="1.5 ms")
    assert cells("", "", g=1, more=synapse).potentials.delay == 1
    assert cells("", "", g=1, more=synapse, clock="wall").potentials.delay == 15
    assert cells("", "", g=1, more=synapse, potential_delay="0.3 ms").potentials.delay == 3
    graded = table("groups", id="x", count=2, model="nodes.lif") + table(
        "graded", pre="x.0", post="x.1", weight="1 pA"
    )
    assert net(run_table(clock="virtual") + graded).potentials.delay == 10
    with pytest.raises(InputError, match=r"potential_delay '0.25 ms' is no multiple of dt"):
        cells("", "", g=1, potential_delay="0.25 ms")
    facts = describe(cells("", "", g=1, clock="wall", potential_delay="0.1 ms"))
    assert "they come late" in " ".join(facts["warnings"])
    assert "electrical  1, where a turn or a spike is seen after 0.1 ms" in render(facts)
    assert not any("late" in warning for warning in describe(cells("", "", g=1))["warnings"])


# -- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay", [1, 2, 3, 7, 30])
def test_the_bound_is_that_of_the_characteristic_polynomial(delay):
    def greatest(a):
        m = delay - 1
        polynomial = np.zeros(m + 3)
        polynomial[:2] = 1, -1
        polynomial[-2:] += np.array([a * (m + 1.5), -a * (m + 0.5)])
        if m == 0:
            polynomial = np.array([1, -1 + 1.5 * a, -0.5 * a])
        return np.abs(np.roots(polynomial)).max()

    most = largest_rate(delay)
    assert greatest(0.999 * most) < 1 < greatest(1.001 * most)
    assert most * delay == pytest.approx(1.0 if delay == 1 else 0.95, abs=0.02)


def test_the_fastest_of_many_cells():
    a, b = np.array([0, 0, 0, 1], np.int32), np.array([1, 2, 3, 2], np.int32)
    g, c = np.array([2.0, 1.0, 0.5, 3.0]), np.array([1.0, 2.0, 4.0, 0.7])
    rows = np.zeros((4, 4))
    for one, other, ns in zip(a, b, g, strict=True):
        rows[one, one], rows[other, other] = rows[one, one] + ns, rows[other, other] + ns
        rows[one, other], rows[other, one] = rows[one, other] - ns, rows[other, one] - ns
    exact = np.linalg.eigvals(rows / c[:, None]).real.max()
    assert exact <= fastest(a, b, np.stack([g / c[a], g / c[b]], axis=1)) <= 1.02 * exact


@pytest.mark.parametrize(
    ("model", "g", "delay", "most"),
    [
        ("nodes.lif", 6000, "0.1 ms", 1250),
        ("nodes.lif", 1260, "0.1 ms", 1250),
        ("nodes.lif", 150, "1 ms", 117),
        ("nodes.hodgkin_huxley", 600, "0.1 ms", 500),
        ("nodes.izhikevich", 6, "0.1 ms", 5.05),
    ],
)
def test_a_junction_that_would_swing_is_refused_with_the_bound(model, g, delay, most):
    with pytest.raises(InputError) as caught:
        cells("", "", g=g, model=model, potential_delay=delay)
    after = delay.split()[0]
    assert str(caught.value).startswith("test.toml:")
    assert f"junctions of {g} nS on 'a' are unstable with potentials that act after {after} ms" in str(
        caught.value
    )
    assert f"at most {most:g} nS, or a smaller dt" in str(caught.value)
    # What is said to be possible is, and it does not swing.
    network = cells(
        "", 'V_m = "-64 mV"' if "izh" not in model else "", g=0.98 * most, model=model, potential_delay=delay
    )
    ensemble = Ensemble(network).run(3000)
    assert not len(ensemble.emission.keys) or model == "nodes.izhikevich"
    assert np.ptp(ensemble.final_mv()) < 0.1


def test_the_line_named_is_that_of_the_junction():
    weak = table("electrical", a="a", b="c", conductance="1 nS")
    with pytest.raises(InputError) as caught:
        cells(
            "", "", "", ids="abc", g=1, more=weak + table("electrical", a="b", b="c", conductance="3000 nS")
        )
    strong = str(caught.value)
    with pytest.raises(InputError) as caught:
        cells("", "", "", ids="abc", g=3000, more=weak)
    assert int(strong.split(":")[1]) == int(str(caught.value).split(":")[1]) + 8


@pytest.mark.parametrize(
    ("transfer", "g", "refused"),
    [("sigmoid", 2400, False), ("sigmoid", 2600, True), ("rectified", 30, False), ("rectified", 60, True)],
)
def test_so_is_a_graded_conductance(transfer, g, refused):
    """C / dt = 2500 nS; a rectified one is taken at the peak of a spike, 0 mV: 60 slopes above threshold."""
    text = run_table() + table("groups", id="x", count=2, model="nodes.lif")
    text += table("graded", pre="x.0", post="x.1", conductance=f"{g} nS", reversal="0 mV", transfer=transfer,
                  threshold="-60 mV", slope="1 mV")  # fmt: skip
    if not refused:
        net(text)
        return
    with pytest.raises(InputError, match=r"graded conductances on 'x.1' can reach .*at most 2500 nS"):
        net(text)
