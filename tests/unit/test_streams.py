"""Random words: each has one use and one owner; what is made of them has its distribution."""

from __future__ import annotations

import math
import re
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from neurobus import streams
from neurobus.config import loads
from neurobus.exact import MOST_A_STEP, log_of_rest, poisson_table
from neurobus.network import build
from neurobus.network.rules import by_chance, by_ends, fixed_probability
from neurobus.placement import place
from neurobus.streams import Use, key, keys, tags, uniforms, words
from nodes.noise import bits, normal, uniform
from nodes.poisson import Poisson
from tests.helpers import cores_of, net, run_table, table

ROOT = Path(__file__).parents[2]
OWNERS = np.concatenate([tags(group, np.arange(50)) for group in ("a", "b", "ab", "a.1")])
SEEDS = 0, 1, 2**63, 2**64, 2**64 + 1, 2**128 - 1
LABELS = ("", "a", "ab", "synapses a>b 1", "synapses a>b 2", "synapses a>b 1 tau", "abcdefgh", "abcdefgh\0")


def test_no_two_uses_share_a_key():
    """Uses, labels, seeds and owners, all with all."""
    assert len(OWNERS) == len(set(OWNERS.tolist()))
    of = [keys(seed, use, OWNERS, label) for seed, use, label in product(SEEDS, Use, LABELS)]
    plain = [[key(seed, use, label)] for seed, use, label in product(SEEDS, Use, LABELS)]
    made = np.concatenate([*of, *plain])
    assert made.size == len(SEEDS) * len(Use) * len(LABELS) * (len(OWNERS) + 1)
    assert np.unique(made).size == made.size


def test_no_two_uses_share_a_word():
    tag = OWNERS[:20]
    made = np.concatenate([words(keys(1, use, tag)[:, None], np.arange(500)).ravel() for use in Use])
    assert np.unique(made).size == made.size


def test_uniform_and_normal_numbers_of_a_model_share_no_word():
    drawn: list[tuple[str, int]] = []

    def noted(name: str, draw: object) -> set[int]:
        seen: set[int] = set()

        def bits_(key, k, n):  # type: ignore[no-untyped-def]
            seen.add(int(n))
            return bits(key, k, n)

        module = draw.__globals__  # type: ignore[attr-defined]
        module["bits"], kept = bits_, module["bits"]
        try:
            with np.errstate(over="ignore"):
                for n in range(8):
                    draw(np.uint64(5), 3, n)  # type: ignore[operator]
        finally:
            module["bits"] = kept
        drawn.append((name, len(seen)))
        return seen

    assert not noted("uniform", uniform) & noted("normal", normal)
    assert drawn == [("uniform", 8), ("normal", 24)]


def test_nothing_random_comes_from_elsewhere():
    """Neither in what makes a network, nor in what runs it."""
    foreign = re.compile(r"np\.random\.\w|PCG64|^import random|^from random", re.MULTILINE)
    folders = ("nodes", *(f"neurobus/{name}" for name in ("config", "network", "structure", "node", "bus")))
    files = [*(ROOT / "neurobus").glob("*.py"), *(p for f in folders for p in (ROOT / f).rglob("*.py"))]
    assert len(files) > 60
    assert [path for path in files if foreign.search(path.read_text())] == []


def test_words_are_those_that_kernels_mix():
    with np.errstate(over="ignore"):
        one = bits(np.uint64(77), 5, 0)
    assert int(one) == int(words(77, np.array([5]))[0])
    # A golden word: logs could not be run again if it changed.
    assert key(1, Use.PAIRS, "synapses a>b 1") == GOLDEN_KEY
    assert words(77, np.array([5])).tolist() == [GOLDEN_WORD]


GOLDEN_KEY, GOLDEN_WORD = 6599476421239321001, 4569673459295958350


@pytest.mark.parametrize("use", [Use.PAIRS, Use.NOISE])
def test_words_are_uniform_along_a_stream_and_across_owners(use):
    of = keys(3, use, tags("g", np.arange(2000)))
    u = uniforms(of[:, None], np.arange(100))
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(u[:-1].ravel(), u[1:].ravel())[0, 1]) < 0.01, "of one owner and the next"
    assert abs(np.corrcoef(u[:, :-1].ravel(), u[:, 1:].ravel())[0, 1]) < 0.01, "of one number and the next"


# -- a part is what it is in the whole -----------------------------------------------------------------

SHEET = '{ sheet = ["1 mm", "1 mm"], torus = true, placed = "random" }'
DRAWN = {"weight": "{ normal = ['5 pA', '1 pA'] }", "delay": "{ uniform = ['1 ms', '3 ms'] }"}
TYPED = {"weight": "2 pA", "delay": "1 ms", "synapse": "nodes.tsodyks",
         "params": "{ U = { uniform = [0.2, 0.8] }, tau_rec = { choice = ['1 ms', '9 ms'] } }"}  # fmt: skip
CELLS = (
    run_table(clock="virtual")
    + table("groups", id="x", count=7, model="nodes.lif")
    + table("groups", id="c", count=40, model="nodes.lif", space=SHEET, patterns="{ count = 3 }",
            params="{ I_e = { normal = ['10 pA', '1 pA'] } }")
    + table("groups", id="z", count=40, model="nodes.lif", space=SHEET, patterns="{ count = 3 }")
)  # fmt: skip
RULES = {
    "one_to_one": ("z", {}),
    "all_to_all": ("c", {}),
    "same_class": ("z", {"classes": 4}),
    "same_class_lower": ("c", {"classes": 4}),
    "same_class_higher": ("c", {"classes": 4}),
    "other_class": ("z", {"classes": 4}),
    "fixed_probability": ("c", {"probability": 0.2}),
    "fixed_indegree": ("c", {"indegree": 6}),
    "small_world": ("c", {"neighbours": 6, "rewire": 0.3, "directed": "true"}),
    "scale_free": ("c", {"exponent": 2.5, "degree": 4}),
    "distance": ("z", {"kernel": "gaussian", "probability": 0.8, "reach": "0.3 mm"}),
    "layered": ("c", {"layers": 4, "probability": 0.5}),
    "assemblies": ("z", {}),
}


def rows(network, names=("weight", "delay", "receptor")):
    """Every synapse, with the parameters of its type."""
    more = []
    for kind, row in zip(network.synapses.kind.tolist(), network.synapses.row.tolist(), strict=True):
        of = network.kinds.params[kind] if kind >= 0 else {}
        more.append(tuple(float(values[row]) for values in of.values()))
    parts = (
        network.synapses.pre,
        network.synapses.post,
        *(getattr(network.synapses, name) for name in names),
    )
    return list(zip(*(part.tolist() for part in parts), more, strict=True))


def test_every_rule_is_tried():
    from neurobus.network.pairs import RULES as ALL

    assert set(RULES) == set(ALL)


@pytest.mark.parametrize("rule", RULES)
@given(chosen=st.sets(st.integers(0, 86), max_size=30), seed=st.integers(0, 5))
@settings(max_examples=8, deadline=None)
def test_any_targets_built_alone_are_as_in_the_whole(rule, chosen, seed):
    to, more = RULES[rule]
    text = CELLS + table("synapses", pre="c", post=to, rule=rule, **DRAWN, **more)
    text += table("synapses", pre="x", post="c", rule="fixed_indegree", indegree=2, **TYPED)
    text += table("graded", pre="c", post=to, rule=rule, weight=DRAWN["weight"], **more)
    config = loads(text, "test.toml", {})
    whole, mine = build(config, seed), np.zeros(87, bool)
    mine[list(chosen)] = True
    part = build(config, seed, on=lambda ids: mine)
    assert rows(part) == [row for row in rows(whole) if mine[row[1]]]
    wanted = mine[whole.graded.post]
    for a, b in zip(part.graded, whole.graded, strict=True):
        assert np.array_equal(a, b[wanted], equal_nan=True)
    assert rows(whole), "a rule that makes nothing says nothing"
    assert np.array_equal(part.params[0]["I_e"], whole.params[0]["I_e"])


def test_rows_of_a_csv_and_junctions_of_some_targets():
    text = CELLS + table("synapses", csv="s.csv", **DRAWN)
    text += table("electrical", a="c", b="c", rule="fixed_probability", probability=0.2, conductance="1 nS")
    text += table("electrical", a="c", b="z", rule="distance", kernel="disc", probability=0.5, reach="0.4 mm",
                  conductance="2 nS")  # fmt: skip
    lines = [f"c.{(7 * n) % 40},z.{(n * n) % 11}" for n in range(200)]
    config = loads(text, "test.toml", {"s.csv": "\n".join(["pre,post", *lines]).encode()})
    whole, mine = build(config, 1), np.zeros(87, bool)
    mine[[9, 20, 48, 50]] = True
    part = build(config, 1, on=lambda ids: mine)
    assert rows(part) == [row for row in rows(whole) if mine[row[1]]] != []
    touched = mine[whole.junctions.a] | mine[whole.junctions.b]
    for mine_only, all_of_them in zip(part.junctions, whole.junctions, strict=True):
        assert np.array_equal(mine_only, all_of_them[touched])
    assert part.junctions.a.size > 10


def test_a_further_group_leaves_all_others_as_they_were():
    text = CELLS + table("synapses", pre="c", post="z", rule="fixed_probability", probability=0.3, **DRAWN)
    alone = net(text)
    beside = net(table("groups", id="first", count=3, model="nodes.lif") + text)
    assert [beside.ids[i] for i in beside.synapses.pre] == [alone.ids[i] for i in alone.synapses.pre]
    assert np.array_equal(beside.synapses.weight, alone.synapses.weight) and np.array_equal(
        beside.synapses.delay, alone.synapses.delay
    )
    assert np.array_equal(beside.places.at_mm[3:], alone.places.at_mm, equal_nan=True)
    noise = [keys(1, Use.NOISE, network.tag) for network in (alone, beside)]
    assert np.array_equal(noise[1][3:], noise[0])


def test_no_two_declarations_ask_for_the_same_words(monkeypatch):
    asked: list[tuple[Use, str, bytes]] = []
    real = streams.keys

    def noted(seed, use, tag, label=""):  # type: ignore[no-untyped-def]
        asked.append((use, label, tag.tobytes()))
        return real(seed, use, tag, label)

    for module in ("neurobus.streams", "neurobus.network.quantities"):
        monkeypatch.setattr(f"{module}.keys", noted)
    twice = "".join(
        table(
            kind, pre="c", post="z", rule="distance", kernel="disc", probability=0.5, reach="0.4 mm", **more
        )
        for kind, more in (("synapses", DRAWN), ("graded", {"weight": DRAWN["weight"]}))
        for _ in range(2)
    )
    typed = table("synapses", pre="x", post="c", rule="all_to_all", **{**TYPED, **DRAWN})
    junctions = table(
        "electrical", a="c", b="z", rule="fixed_probability", probability=0.1, conductance="1 nS"
    )
    net(CELLS + twice + typed + junctions)
    assert len(asked) == len(set(asked)) > 18


# -- what is made of them ------------------------------------------------------------------------------


@pytest.mark.parametrize("probability", [0.003, 0.1, 0.5, 0.97])
def test_pairs_with_probability_are_binomial_both_ways_and_independent(probability):
    pre, post = np.arange(300, dtype=np.int32), np.arange(300, 2300, dtype=np.int32)
    a, b = fixed_probability(pre, post, probability, True, keys(5, Use.PAIRS, tags("t", post)))
    assert np.all(np.diff(b) >= 0) and np.all((np.diff(a) > 0) | (np.diff(b) > 0))
    for counts, n in ((np.bincount(a, minlength=300), 2000), (np.bincount(b - 300, minlength=2000), 300)):
        spread = (counts - n * probability) / math.sqrt(n * probability * (1 - probability))
        assert stats.chi2.sf((spread**2).sum(), spread.size) > 1e-3
        assert stats.chi2.cdf((spread**2).sum(), spread.size) > 1e-3
    hit = np.zeros((2000, 300))
    hit[b - 300, a] = 1
    assert abs(np.corrcoef(hit[:, :-1].ravel(), hit[:, 1:].ravel())[0, 1]) < 0.006, "neighbours"


def test_by_chance_has_its_probability_at_every_distance():
    pre, post = np.arange(200, dtype=np.int32), np.arange(3000, dtype=np.int32)

    def chance(a, b):
        return 0.6 * np.exp(-a / 60.0)

    of = [keys(2, use, tags("t", post)) for use in (Use.PAIRS, Use.NEARBY)]
    a, _ = by_chance(pre, post, 0.6, chance, True, *of)
    p = chance(pre, None)
    spread = (np.bincount(a, minlength=200) - 3000 * p) / np.sqrt(3000 * p * (1 - p))
    assert 1e-3 < stats.chi2.sf((spread**2).sum(), 200) < 1 - 1e-3


@given(st.lists(st.tuples(st.integers(0, 70_000), st.integers(0, 200_000)), max_size=60))
def test_the_order_by_ends_is_that_of_a_stable_sort(pairs):
    pre, post = (np.array([pair[n] for pair in pairs], np.int32) for n in (0, 1))
    order = by_ends(pre, post)
    wanted = np.lexsort((np.arange(pre.size), post, pre))
    assert np.array_equal(np.arange(pre.size) if order is None else order, wanted)


@pytest.mark.parametrize("p", [1e-300, 1e-17, 1e-9, 0.1, 0.5, 0.7, 1 - 1e-9])
def test_the_logarithm_of_what_is_left(p):
    assert log_of_rest(p) == pytest.approx(math.log1p(-p), rel=1e-15)


@pytest.mark.parametrize("mean", [1e-6, 0.02, 1.0, 12.5, MOST_A_STEP])
def test_poisson_numbers(mean):
    upto = poisson_table(mean)
    n = np.arange(upto.size)
    assert np.allclose(upto, stats.poisson.cdf(n, mean), rtol=0, atol=1e-13)
    assert 1 - upto[-1] < 2**-52


def test_means_that_cannot_be_drawn():
    for mean in (-1.0, MOST_A_STEP * 1.001, math.nan):
        with pytest.raises(ValueError, match="can be drawn"):
            poisson_table(mean)


@pytest.mark.parametrize("dt_ms", [0.1, 1.0])
@pytest.mark.parametrize("hz", [5.0, 400.0, 1000.0, 20_000.0, 50_000.0])
def test_a_source_has_its_rate_and_is_poisson_in_each_step(hz, dt_ms):
    """10 s: a count of `rate` 10 s within 3 sigma, also where a step has many spikes."""
    steps = round(1e4 / dt_ms)
    p = {"rate": hz, "start": 0.0, "stop": 1e12}
    stamps = Poisson.stamps(p, key(1, Use.SOURCE, "p"), int(dt_ms * 1e6), 0, steps)
    assert abs(len(stamps) - 10 * hz) < 3 * math.sqrt(10 * hz)
    assert np.all(np.diff(stamps) >= 0) and stamps[0] >= 1 and stamps[-1] <= steps
    counts = np.bincount(stamps, minlength=steps + 1)[1:]
    if hz * dt_ms >= 20:
        assert counts.var() / counts.mean() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("hz", [50, 20_000, 50_000])
def test_a_background_has_its_rate_in_any_packing(hz):
    """What a binary neuron with background is told: the sum of a perfect integrator."""
    text = run_table(clock="virtual") + table(
        "groups", id="n", count=4, model="nodes.lif_delta", params='{ tau_m = "1e9 ms", V_th = "1e9 mV" }'
    ) + table("sources", kind="background", target="n", rate=f"{hz} Hz", weight="1 mV")  # fmt: skip
    found = []
    for per_process in (1, 4):
        cores = cores_of(place(net(text), per_process))
        for core in cores:
            core.advance(20_000)
        found.append([mv for core in cores for mv in core.potential_mv()])
    assert found[0] == found[1]
    arrived = np.array(found[0]) + 70.0
    assert np.all(np.abs(arrived - 2 * hz) < 4 * math.sqrt(2 * hz) + 0.01) and len(set(found[0])) == 4


def test_background_and_a_models_own_noise_are_independent():
    """A binary neuron fires where it is asked (1 in 10) and something has come (rate 2 kHz, 0.1 ms)."""
    text = run_table(clock="virtual") + table(
        "groups", id="n", count=100, model="nodes.binary", params='{ tau = "1 ms", h_0 = -2 }'
    ) + table("sources", kind="background", target="n", rate="2000 Hz", weight=100)  # fmt: skip
    (core,) = cores_of(place(net(text), 100))
    n = len(core.advance(5000).keys)
    expected = 100 * 5000 * 0.1 * (1 - math.exp(-0.2) + math.exp(-0.2) / (1 + math.exp(8)))
    assert abs(n - expected) < 4 * math.sqrt(expected)


def test_a_source_in_pieces_has_the_same_spikes_where_steps_have_many():
    p = {"rate": 30_000.0, "start": 3.0, "stop": 9.0}
    of = key(1, Use.SOURCE, "p")
    whole = Poisson.stamps(p, of, 100_000, 0, 100)
    parts = [Poisson.stamps(p, of, 100_000, a, b) for a, b in pairwise([0, 1, 30, 31, 77, 100])]
    assert np.array_equal(np.concatenate(parts), whole) and np.any(np.diff(whole) == 0)
