"""Time constants that are equal, nearly equal, or far apart: constants of a step against 60 digits."""

from __future__ import annotations

import math
from decimal import Decimal, getcontext

import numpy as np
import pytest

from nodes.chip import Chip
from nodes.lif import Lif, propagator
from nodes.lif_alpha import LifAlpha, propagators
from nodes.lotka_volterra import LotkaVolterra
from nodes.tsodyks import Tsodyks

DISTANCES = [sign * m * 10.0**-e for e in range(2, 17) for m in (1, 3) for sign in (1, -1)]
NEST_P31 = {2.0: "0x1.ad59225537c23p-8", 9.0: "0x1.87a6337987b67p-10", 9.9: "0x1.6448da12adde7p-10",
            9.999: "0x1.60c7d0a867ea8p-10", 10.0: "0x1.60bed816d6d8cp-10", 10.001: "0x1.60b5dffb29f95p-10",
            10.1: "0x1.5d46a887af708p-10", 20.0: "0x1.61ec6b318e415p-11"}  # fmt: skip
"""NEST 3.10, iaf_psc_alpha: V one step after a spike of 250 pA, at tau_m = 10 ms, C_m = 250 pF, E_L = 0."""

getcontext().prec = 60


def exact(tau_syn, tau_m, C, h):
    """P21 of exponential currents (P32 of alpha's), and P31."""
    ts, tm, C, h = (Decimal(x) for x in (tau_syn, tau_m, C, h))
    slow, fall = (-h / tm).exp(), (-h / ts).exp()
    if ts == tm:
        return float(h / C * slow), float(h * h / 2 / C * slow)
    beta = ts * tm / (tm - ts)
    return float(beta / C * (slow - fall)), float(beta / C * (beta * (slow - fall) - h * fall))


@pytest.mark.parametrize("tau_m", [2.0, 10.0, 100.0])
@pytest.mark.parametrize("h", [0.01, 0.1, 1.0])
def test_propagators_at_any_distance(tau_m, h):
    for distance in [0.0, *DISTANCES]:
        ts = tau_m * (1.0 + distance)
        P21, P31 = exact(ts, tau_m, 250.0, h)
        of = np.array([ts]), np.array([tau_m]), np.array([250.0]), h
        found31, found32 = propagators(*of)[:, 0]
        assert propagator(*of)[0] == pytest.approx(P21, rel=2e-15)
        assert found32 == pytest.approx(P21, rel=2e-15)
        near = abs(h * (tau_m - ts) / (ts * tau_m)) < 1e-7
        assert found31 == pytest.approx(P31, rel=4e-15 if near else 1e-8)


def test_where_nest_is_stable_the_bits_are_its_own():
    for tau_syn, bits in NEST_P31.items():
        P31 = propagators(np.array([tau_syn]), np.array([10.0]), np.array([250.0]), 0.1)[0, 0]
        assert float(P31 * (math.e / tau_syn * 250.0)).hex() == bits


@pytest.mark.parametrize("tau_syn", [1e-4, 1e-5, 1e-300, 1e9])
def test_time_constants_far_from_a_step_give_numbers(tau_syn):
    of = np.array([tau_syn]), np.array([10.0]), np.array([250.0]), 0.1
    P21, P31 = exact(tau_syn, 10.0, 250.0, 0.1)
    assert propagator(*of)[0] == pytest.approx(P21, rel=1e-12)
    found31, found32 = propagators(*of)[:, 0]
    assert (found31, found32) == (pytest.approx(P31, rel=1e-7), pytest.approx(P21, rel=1e-12))


def peak(model, **params) -> float:
    """Highest V (mV) after one spike of 100 pA."""
    p = {name: np.array([params.get(name, param.value)]) for name, param in model.params().items()}
    c = np.array(list(model.prepare(p, 0.1).values()))
    s, fired, V = np.zeros((len(model.states()), 1)), np.zeros(1, np.uint8), []
    for k in range(500):
        x = np.array([[100.0 * (k == 0)], [0.0]])
        model.step(k, s, c, x, np.zeros(1), np.zeros(1, np.uint64), fired)
        V.append(float(s[0, 0]))
    return max(V)


def test_a_hair_between_them_is_not_seen():
    for distance in DISTANCES:
        assert peak(LifAlpha, tau_syn_ex=10.0 * (1.0 + distance)) == pytest.approx(
            2.943035529, rel=0.4 * abs(distance) + 1e-9
        )
        assert peak(Lif, tau_syn_ex=10.0 * (1.0 + distance)) == pytest.approx(
            1.471517765, rel=0.6 * abs(distance) + 1e-9
        )


def test_the_chips_constants_are_the_nearest_whole_numbers():
    for distance in [0.0, *DISTANCES]:
        ts = 10.0 * (1.0 + distance)
        p = {name: np.array([param.value]) for name, param in Chip.params().items()} | {
            "tau_syn_ex": np.array([ts])
        }
        P21, _ = exact(ts, 10.0, 250.0, 0.1)
        assert Chip.prepare(p, 0.1)["c_ex"][0] == round(P21 * 8192 / 32768 * 2**24)


@pytest.mark.parametrize("h", [0.1, 5.0, 80.0, 1000.0])
def test_a_tsodyks_synapse_recovers_with_equal_time_constants_too(h):
    """y after a first spike comes back to x: exact solution of the two linear equations."""
    for distance in [0.0, *DISTANCES]:
        tau_rec, tau_psc = 50.0, 50.0 * (1.0 + distance)
        p = {"U": 0.5, "tau_psc": tau_psc, "tau_rec": tau_rec, "tau_fac": 0.0}
        c = np.array(list(Tsodyks.prepare(p, 0.1).values()))
        w, z = np.ones(1), np.array([[0.5], [0.5], [0.5], [0.0]])
        Tsodyks.arrive(h, h, 0, w, z, c, None, None)
        tp, tr, t = Decimal(tau_psc), Decimal(tau_rec), Decimal(h)
        if tp == tr:
            came = 1 - (1 + t / tr) * (-t / tr).exp()
        else:
            came = 1 + (tr * (-t / tr).exp() - tp * (-t / tp).exp()) / (tp - tr)
        x = Decimal("0.5") + came / 2
        assert z[0, 0] == pytest.approx(float(x / 2), abs=1e-10)
        assert Tsodyks.check({"tau_psc": np.array([tau_psc]), "tau_rec": np.array([tau_rec])}) is None


@pytest.mark.parametrize("g", [1e-12, -1e-10, 1e-9, 3e-9, -1e-8, 1e-6, 0.0, 0.7, -3.0])
def test_a_rate_unit_near_its_neutral_point_grows_exactly(g):
    p = {name: np.array([param.value]) for name, param in LotkaVolterra.params().items()}
    p |= {"alpha": np.array([g]), "sigma": np.array([0.0])}
    c = np.array([np.broadcast_to(v, 1) for v in LotkaVolterra.prepare(p, 0.1).values()])
    s = np.array([[0.3], [0.0]])
    LotkaVolterra.step(0, s, c, np.zeros((1, 1)), np.zeros(1), np.zeros(1, np.uint64), np.zeros(1, np.uint8))
    G, h, x = Decimal(g), Decimal(float(c[0, 0])), Decimal("0.3")
    grown = (G * h).exp()
    exactly = x * grown / (1 + x * ((grown - 1) / G if g else h))
    assert s[0, 0] == pytest.approx(float(exactly), rel=1e-14)
