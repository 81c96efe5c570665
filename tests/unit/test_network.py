"""From a config to a network. In the tables of mistakes, `# <-` marks the line the error must name."""

# ruff: noqa: E501 (a row of a table stays one row)

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurobus.config import load, loads
from neurobus.describe import describe, render
from neurobus.errors import InputError
from neurobus.exact import exp, log, normal_quantile
from neurobus.network import build, rules
from neurobus.streams import Use, keys, tags

CONFIGS = Path(__file__).parents[2] / "configs"

AB = """
[[neurons]]
id = "a"
model = "nodes.lif"
[[neurons]]
id = "b"
model = "nodes.lif_delta"
"""
GROUPS = """
[[groups]]
id = "exc"
model = "nodes.lif"
count = 8
[[groups]]
id = "inh"
model = "nodes.lif"
ids = ["x", "y", "z"]
"""


def net(text, overrides=(), files=None, seed=None):
    encoded = {name: content.encode() for name, content in (files or {}).items()}
    return build(loads(text, "net.toml", encoded, overrides), seed)


def synapses(text, **keys):
    """`text` and a table [[synapses]] of `keys`, values as in TOML."""
    given = {"weight": '"1 pA"', "delay": '"1 ms"'} | keys
    return text + "[[synapses]]\n" + "".join(f"{k} = {v}\n" for k, v in given.items() if v)


def pairs(network):
    return [
        (network.ids[a], network.ids[b])
        for a, b in zip(network.synapses.pre, network.synapses.post, strict=True)
    ]


def test_ids_models_and_parameters():
    text = (
        AB
        + GROUPS
        + """
[[sources]]
id = "drive"
kind = "poisson"
count = 2
rate = "20 Hz"
[[sources]]
id = "board"
kind = "external"
"""
    )
    network = net(text, ["neurons.a.params.I_e=0.4 nA", "groups.exc.params.V_th=-50 mV"])
    assert network.ids == [
        "a",
        "b",
        *(f"exc.{n}" for n in range(8)),
        "x",
        "y",
        "z",
        "drive.0",
        "drive.1",
        "board",
    ]
    assert network.n_neurons == 13
    assert network.model_names == ["nodes.lif", "nodes.lif_delta", "nodes.poisson"]
    assert network.model_of.tolist() == [0, 1] + [0] * 11 + [2, 2, -1]
    assert network.params[0]["I_e"].tolist() == [400.0] + [0.0] * 11
    assert network.params[0]["V_th"].tolist() == [-55.0] + [-50.0] * 8 + [-55.0] * 3
    assert network.params[2]["rate"].tolist() == [20.0, 20.0]
    assert network.groups["inh"].tolist() == [10, 11, 12] and network.groups["y"].tolist() == [11]
    assert network.groups["drive"].tolist() == [13, 14] and network.groups["board"].tolist() == [15]
    assert network.synapses.pre.size == 0 and (network.min_delay, network.max_delay) == (10, 10)


def test_one_synapse_and_the_order_of_all():
    text = synapses(AB, pre='"b"', post='"a"', weight='"-0.5 nA"', delay='"1.5 ms"')
    text = synapses(text, pre='"a"', post='"b"', weight='"200 uV"', delay='"3 ms"')
    text = synapses(text, pre='"a"', post='"b"', weight='"0.1 mV"', delay='"2 ms"')
    text = synapses(text, pre='"a"', post='"a"', delay='"2 ms"')
    network = net(text)
    assert pairs(network) == [("a", "a"), ("a", "b"), ("a", "b"), ("b", "a")]
    assert network.synapses.weight.tolist() == [1.0, 0.2, 0.1, -500.0]
    assert network.synapses.delay.tolist() == [20, 30, 20, 15] and network.synapses.delay.dtype == np.int32
    assert (network.min_delay, network.max_delay) == (15, 30)


def test_one_to_one_and_all_to_all():
    assert pairs(net(synapses(GROUPS, pre='"inh"', post='"inh"', rule='"all_to_all"'))) == [
        ("x", "y"), ("x", "z"), ("y", "x"), ("y", "z"), ("z", "x"), ("z", "y")]  # fmt: skip
    many = net(synapses(GROUPS, pre='"inh"', post='"inh"', rule='"all_to_all"', allow_self="true"))
    assert many.synapses.pre.size == 9
    assert pairs(net(synapses(GROUPS, pre='"inh"', post='"inh"', rule='"one_to_one"'))) == [
        ("x", "x"), ("y", "y"), ("z", "z")]  # fmt: skip
    assert net(synapses(GROUPS, pre='"x"', post='"exc"', rule='"all_to_all"')).synapses.pre.size == 8


@given(
    n=st.integers(1, 12), first=st.integers(0, 12), m=st.integers(1, 12), k=st.integers(1, 12),
    allow_self=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=60)
def test_fixed_indegree_gives_each_exactly_k_different_others(n, first, m, k, allow_self, seed):
    pre, post = np.arange(n, dtype=np.int32), np.arange(first, first + m, dtype=np.int32)
    k = min(k, n - (not allow_self and first < n))
    if k < 1:
        return
    a, b = rules.fixed_indegree(pre, post, k, allow_self, keys(seed, Use.PAIRS, tags("x", post)))
    assert Counter(b.tolist()) == dict.fromkeys(post.tolist(), k)
    assert len(set(zip(a.tolist(), b.tolist(), strict=True))) == a.size
    assert set(a.tolist()) <= set(pre.tolist())
    assert allow_self or not np.any(a == b)


@pytest.mark.parametrize("k", [2, 4])
def test_fixed_indegree_favours_nobody(k):
    pre = np.arange(6, dtype=np.int32)
    post = np.arange(3, 3 + 6000, dtype=np.int32)
    a, b = rules.fixed_indegree(pre, post, k, False, keys(1, Use.PAIRS, tags("x", post)))
    others = b >= 6
    share = np.bincount(a[others], minlength=6) / np.unique(b[others]).size
    assert np.allclose(share, k / 6, atol=0.03)
    sets = Counter(tuple(row) for row in a[others].reshape(-1, k).tolist())
    assert len(sets) == math.comb(6, k) and max(sets.values()) < 1.3 * min(sets.values())


def test_fixed_probability_hits_its_share():
    text = GROUPS.replace("count = 8", "count = 300")
    network = net(synapses(text, pre='"exc"', post='"exc"', rule='"fixed_probability"', probability="0.1"))
    assert abs(network.synapses.pre.size - 0.1 * 300 * 299) < 5 * math.sqrt(0.09 * 300 * 299)
    assert not np.any(network.synapses.pre == network.synapses.post)
    for probability, size in (("0", 0), ("1.0", 56)):
        some = synapses(
            GROUPS, pre='"exc"', post='"exc"', rule='"fixed_probability"', probability=probability
        )
        assert net(some).synapses.pre.size == size


def test_the_same_seed_gives_the_same_network_and_another_another():
    text = synapses(GROUPS, pre='"exc"', post='"inh"', rule='"fixed_indegree"', indegree="3",
                    weight="{ lognormal = ['10 pA', 0.5] }", delay="{ uniform = ['1 ms', '3 ms'] }")  # fmt: skip
    text = text.replace("count = 8", "count = 8\nparams.I_e = { normal = ['100 pA', '10 pA'] }")
    first, again, other, asked = net(text), net(text), net(text, ["run.seed=2"]), net(text, seed=2)
    for name in ("pre", "post", "weight", "delay"):
        assert np.array_equal(getattr(first.synapses, name), getattr(again.synapses, name))
        assert np.array_equal(getattr(other.synapses, name), getattr(asked.synapses, name))
    assert not np.array_equal(first.synapses.weight, other.synapses.weight)
    assert not np.array_equal(first.params[0]["I_e"], other.params[0]["I_e"])
    # A golden network: these numbers must never change, or logs would no longer re-run.
    assert first.synapses.pre.tolist() == GOLDEN_PRE
    assert first.synapses.delay.tolist() == GOLDEN_DELAY
    assert first.synapses.weight[:2].tolist() == GOLDEN_WEIGHT
    assert first.params[0]["I_e"][:2].tolist() == GOLDEN_CURRENT


GOLDEN_PRE: list[int] = [0, 0, 1, 2, 3, 4, 6, 6, 7]
GOLDEN_DELAY: list[int] = [11, 13, 24, 15, 17, 14, 29, 20, 15]
GOLDEN_WEIGHT: list[float] = [10.401670769166614, 6.590492988044917]
GOLDEN_CURRENT: list[float] = [90.74428591964147, 110.69374651324829]


def test_a_further_projection_leaves_the_others_as_they_were():
    weight = "{ uniform = ['1 pA', '2 pA'] }"
    one = synapses(GROUPS, pre='"exc"', post='"inh"', rule='"all_to_all"', weight=weight)
    before = synapses(GROUPS, pre='"inh"', post='"exc"', rule='"all_to_all"', weight=weight)
    both = before + one.removeprefix(GROUPS)
    alone, together = net(one), net(both)
    assert np.array_equal(together.synapses.weight[together.synapses.pre < 8], alone.synapses.weight)
    twice = net(one + one.removeprefix(GROUPS))
    assert (
        twice.synapses.weight[0] == alone.synapses.weight[0]
        and twice.synapses.weight[1] != alone.synapses.weight[0]
    )


@pytest.mark.parametrize(
    ("written", "low", "high", "mean"),
    [
        ("{ uniform = ['100 pA', '0.3 nA'] }", 100, 300, 200),
        ("{ normal = ['200 pA', '20 pA'] }", 100, 300, 200),
        ("{ normal = ['200 pA', '20 pA'], min = '200 pA' }", 200, 300, 200 + 20 / math.sqrt(2 * math.pi)),
        ("{ lognormal = ['200 pA', 0.1] }", 100, 350, 200 * math.exp(0.005)),
        ("{ choice = ['100 pA', '300 pA'], max = '250 pA' }", 100, 250, 175),
        ("'200 pA'", 200, 200, 200),
    ],
)
def test_distributions(written, low, high, mean):
    values = net(GROUPS.replace("count = 8", f"count = 4000\nparams.I_e = {written}")).params[0]["I_e"][:4000]
    assert low <= values.min() and values.max() <= high
    assert abs(values.mean() - mean) < 3


def drawn_delays(written: str, n: int = 100):
    text = GROUPS.replace("count = 8", f"count = {n}")
    return net(synapses(text, pre='"exc"', post='"exc"', rule='"all_to_all"', delay=written))


def test_delays_drawn_shorter_than_a_step_are_refused_clipped_or_drawn_again():
    normal = "normal = ['1.5 ms', '0.75 ms']"
    with pytest.raises(InputError, match=r"net\.toml:\d+: 2\d\d of 9,900 delays drawn \(2\.\d%\) are shorter "
                                         r"than dt = 0\.1 ms; min = \"0\.1 ms\" clips them, with redraw"):  # fmt: skip
        drawn_delays(f"{{ {normal} }}")
    clipped, again = (
        drawn_delays(f"{{ {normal}, min = '0.1 ms'{more} }}") for more in ("", ", redraw = true")
    )
    at_min = [int(np.sum(network.synapses.delay == 1)) for network in (clipped, again)]
    # P(draw < 0.15 ms) = 3.6 %: of these the clipped all stand at a step, of the others those of 0.1 to 0.15.
    assert 290 < at_min[0] < 420 and 20 < at_min[1] < 90
    (note,) = clipped.account.notes
    assert re.search(
        r"net\.toml:\d+: delay: 3\d\d of 9,900 draws \(3\.\d%\) are clipped to min 0\.1 ms", note
    )
    assert again.account.notes == []
    assert abs(again.synapses.delay.mean() - 15.5) < 0.4 and again.synapses.delay.min() == 1


def test_the_edges_of_a_uniform_delay_get_half_a_share_as_in_nest():
    counts = np.bincount(drawn_delays("{ uniform = ['1 ms', '2 ms'] }", 400).synapses.delay, minlength=21)[
        10:
    ]
    share = counts / counts[1:-1].mean()
    assert np.allclose(share[1:-1], 1, atol=0.05) and np.allclose(share[[0, -1]], 0.5, atol=0.05)


def test_delays_that_cannot_be():
    for written, word in (
        ("{ choice = ['1 ms', '0.25 ms'] }", "choice '0.25 ms' is no multiple of dt"),
        ("{ uniform = ['1 ms', '1e9 s'] }", "beyond the longest run"),
        ("{ uniform = ['1 ms', '2 ms'], redraw = true }", "'redraw' goes with min or max"),
        ("{ normal = ['1 ms', '0 ms'], min = '2 ms', redraw = true }", "too narrow"),
    ):
        with pytest.raises(InputError, match=word):
            drawn_delays(written, 30)


def test_a_drawn_delay_and_the_way_are_rounded_once():
    cells = """
[[groups]]
id = "c"
model = "nodes.lif"
count = 200
space = { ring = "20 mm" }
"""
    text = synapses(cells, pre='"c"', post='"c"', rule='"all_to_all"', velocity='"1 m/s"')
    drawn = net(text.replace('delay = "1 ms"', "delay = { uniform = ['1 ms', '1.04 ms'] }"))
    apart = np.abs(drawn.synapses.pre - drawn.synapses.post)
    way = np.minimum(apart, 200 - apart)  # 0.1 mm each, 0.1 ms
    assert set((drawn.synapses.delay - way).tolist()) == {10}


def test_weights_drawn_of_both_signs_are_told():
    text = GROUPS.replace("count = 8", "count = 100")
    weight = "{ normal = ['10 pA', '10 pA'] }"
    network = net(synapses(text, pre='"exc"', post='"exc"', rule='"all_to_all"', weight=weight))
    assert any(
        re.search(r"weight: 1,\d\d\d of 9,900 draws \(1\d\.\d%\) are negative", n)
        for n in network.account.notes
    )


TWICE = AB + "[[electrical]]\ncsv = 'gap.csv'\n"


@pytest.mark.parametrize(
    ("rows", "more", "says"),
    [
        ("a,b,1\nb,a,1", "", r"gap\.csv:3: 'b' and 'a' have a junction already, by line 2 of gap\.csv"),
        ("b,a,1\n\na,b,2", "", r"gap\.csv:4: 'a' and 'b' have a junction already, by line 2 of gap\.csv"),
        ("a,b,1\na,b,1", "", r"gap\.csv:3: 'a' and 'b' have a junction already"),
        ("a,b,1", "[[electrical]]\na = 'b'\nb = 'a'\nconductance = '1 nS'\n",
         r"net\.toml:\d+: 'b' and 'a' have a junction already, by line 2 of gap\.csv; it acts both ways"),
        ("a,a,1", "", r"gap\.csv:2: 'a' cannot have a junction with itself"),
    ],
)  # fmt: skip
def test_a_junction_stands_once(rows, more, says):
    files = {"gap.csv": "a,b,conductance [nS]\n" + rows}
    with pytest.raises(InputError, match=says):
        net(TWICE + more, files=files)
    assert net(TWICE, files={"gap.csv": "a,b,conductance [nS]\na,b,1\n"}).junctions.ns.tolist() == [1.0]


def test_a_junction_by_two_rules_is_listed_twice():
    rule = "[[electrical]]\na = 'exc'\nb = 'inh'\nrule = 'all_to_all'\nconductance = '1 nS'\n"
    with pytest.raises(InputError, match=r"'x' and 'exc\.0' have a junction already, by line \d+"):
        net(GROUPS + rule + rule.replace("'exc'", "'q'").replace("'inh'", "'exc'").replace("'q'", "'inh'"))


def test_synapses_listed_twice_are_kept_and_counted():
    from neurobus.describe import describe, render

    files = {"s.csv": "pre,post,weight [pA],delay [ms]\na,b,1,1\na,b,2,1\nb,a,1,1\na,b,1,2\n"}
    network = net(AB.replace("nodes.lif_delta", "nodes.lif") + "[[synapses]]\ncsv = 's.csv'\n", files=files)
    facts = describe(network)
    assert network.synapses.pre.size == 4 and facts["joined_again"] == 2
    assert "2 of them join a pair that has one" in render(facts)


def test_rates_that_cannot_be_drawn_are_refused():
    source = "[[sources]]\nkind = '{}'\n{}rate = '{}'\n"
    for kind, more in (("poisson", "id = 'p'\n"), ("background", "target = 'a'\nweight = '1 pA'\n")):
        with pytest.raises(
            InputError, match=r"rate must be <= 1,000,000 Hz, 100 spikes in a step of 0\.1 ms; not"
        ):
            net(AB + source.format(kind, more, "1.01 MHz"))
        assert net(AB + source.format(kind, more, "1 MHz"))


def test_transcendental_functions_without_libm():
    x = np.array([1e-300, 1e-9, 0.1, 0.5, 1.0, 1.5, 2.0, 1e9])
    assert np.allclose(log(x), np.log(x), rtol=4e-16, atol=1e-16)
    assert np.allclose(exp(np.linspace(-50, 50, 333)), np.exp(np.linspace(-50, 50, 333)), rtol=5e-16)
    p = np.array([1e-15, 1e-3, 0.02425, 0.3, 0.5, 0.7, 0.98, 1 - 1e-9])
    assert np.allclose(normal_quantile(p), [NormalDist().inv_cdf(v) for v in p], rtol=2e-9, atol=1e-12)


def test_tables_of_neurons_synapses_and_junctions():
    text = """
[[groups]]
id = "cells"
model = "nodes.lif"
csv = "cells.csv"
params = { tau_m = "20 ms" }
[[synapses]]
csv = "chemical.csv"
weight = "2 pA"
delay = "2 ms"
columns = { pre = "From", post = "To", sections = "N" }
ignore_unknown = true
[[synapses]]
csv = "own.csv"
[[electrical]]
csv = "gaps.csv"
conductance = "0.1 nS"
[[electrical]]
a = "P"
b = "R"
conductance = "500 pS"
"""
    files = {
        "cells.csv": "id,kind,I_e [nA],V_th [mV]\nP,motor,0.1,-50\nQ,motor,0.2,-51\n\nR,sensory,0.3,-52\n",
        "chemical.csv": "From,To,N\nP,Q,3\nP,muscle,1\nmuscle,Q,1\nQ,R,1\n",
        "own.csv": "post,pre,weight [nA],delay [us]\nP,R,-0.5,1500\n",
        "gaps.csv": "a,b,sections\nP,Q,2\n",
    }
    network = net(text, files=files)
    assert network.ids == ["P", "Q", "R"]
    assert network.params[0]["I_e"].tolist() == [100.0, 200.0, 300.0]
    assert network.params[0]["V_th"].tolist() == [-50.0, -51.0, -52.0]
    assert network.params[0]["tau_m"].tolist() == [20.0] * 3
    assert pairs(network) == [("P", "Q"), ("Q", "R"), ("R", "P")]
    assert network.synapses.weight.tolist() == [6.0, 2.0, -500.0] and network.synapses.delay.tolist() == [
        20,
        20,
        15,
    ]
    assert network.account.skipped == {"chemical.csv": 2}
    assert list(zip(network.junctions.a, network.junctions.b, network.junctions.ns, strict=True)) == [
        (0, 1, 0.2),
        (0, 2, 0.5),
    ]


def test_stimuli_at_the_membrane():
    text = (
        GROUPS
        + """
[run]
record_potentials = ["inh", "x", "exc.0"]
potential_interval = "0.25 ms"
[[sources]]
kind = "current"
target = "inh"
amplitude = "0.3 nA"
start = "10 ms"
stop = "20 ms"
[[sources]]
kind = "current"
target = "exc.1"
amplitude = "-5 pA"
[[sources]]
kind = "background"
target = "exc"
rate = "8 kHz"
weight = "87 pA"
"""
    )
    network = net(text)
    assert network.currents == [
        (8, 100, 200, 300.0),
        (9, 100, 200, 300.0),
        (10, 100, 200, 300.0),
        (1, 0, -1, -5.0),
    ]
    assert network.background.rate_hz.tolist() == [8000.0] * 8 + [0.0] * 3
    assert network.background.weight.tolist() == [87.0] * 8 + [0.0] * 3
    assert network.potentials.recorded.tolist() == [0, 8, 9, 10]
    assert network.potentials.interval == 3


def test_spike_times():
    text = (
        AB
        + """
[[sources]]
id = "list"
kind = "spikes"
times = ["20 ms", "10 ms", "0.1 ms"]
[[sources]]
id = "many"
kind = "spikes"
ids = ["m1", "m2", "m3"]
file = "many.csv"
[[sources]]
id = "one"
kind = "spikes"
file = "one.csv"
[[synapses]]
pre = "m2"
post = "a"
weight = "1 pA"
delay = "1 ms"
"""
    )
    files = {"many.csv": "time_ms,id\n5.3,m3\n1234567.8,m1\n0.3,m3\n", "one.csv": "time_ms\n0.7\n"}
    network = net(text, files=files)
    assert {network.ids[i]: steps.tolist() for i, steps in network.times.items()} == {
        "list": [1, 100, 200], "m1": [12345678], "m2": [], "m3": [3, 53], "one": [7]}  # fmt: skip
    assert network.params[network.model_names.index("nodes.spikes")] == {}
    assert pairs(network) == [("m2", "a")]


SYNAPSE = '[[synapses]]\npre = "a"\npost = "b"\nweight = "1 mV"\ndelay = "1 ms"\n'
RULE = (
    GROUPS + '[[synapses]]\npre = "exc"\npost = "inh"\nweight = "1 pA"\ndelay = "1 ms"\nrule = "one_to_one"\n'
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[run] # <-\nseed = 1", "a config needs at least one neuron"),
        (AB + "[[neurons]]\nid = 'a' # <-\nmodel = 'nodes.lif'", "the id 'a' is taken in line 3"),
        (GROUPS + "[[neurons]]\nid = 'exc.3'\nmodel = 'nodes.lif'", "the id 'exc.3' is taken in line 11"),
        (AB + "[[groups]]\nid = 'g'\nmodel = 'nodes.lif'\nids = ['p',\n 'p'] # <-", "the id 'p' is taken"),
        (AB + "[[sources]]\nid = 'b' # <-\nkind = 'external'", "the id 'b' is taken in line 6"),
        ("[[groups]] # <-\nid = 'g'\nmodel = 'nodes.lif'", "group 'g' needs count, ids or csv"),
        ("[[groups]]\nid = 'g'\nmodel = 'nodes.lif'\ncount = 2\nids = ['p'] # <-", "give count or ids, not both"),
        ("[[neurons]]\nid = 'a'\nmodel = 'nodes.lifo' # <-", "model 'nodes.lifo' does not import"),
        ("[[neurons]]\nid = 'a'\nmodel = 'math' # <-", "defines 0 models; a model is a class such as 'math.Class'"),
        ("[[neurons]]\nid = 'a'\nmodel = 'nodes.poisson' # <-", "is a source; write it as [[sources]]"),
        ("[[neurons]]\nid = 'a'\nmodel = 'nodes.lif'\nparams = { tau_n = '1 ms' } # <-",
         "nodes.lif has no parameter 'tau_n'; did you mean 'tau_m'?"),
        ("[[neurons]]\nid = 'a'\nmodel = 'nodes.lif'\nparams.C_m = '1 pF'\nparams.tau_m = '0 ms' # <-",
         "tau_m = 0 ms is out of bounds; it must be > 0 ms"),
        ("[[neurons]]\nid = 'a'\nmodel = 'nodes.lif'\nparams.tau_m = { normal = ['-1 s', '1 ms'] } # <-",
         "out of bounds; it must be > 0 ms"),
        ("[[neurons]]\nid = 'a'\nmodel = 'nodes.lif'\nparams.tau_m = '1 mV' # <-", "tau_m: '1 mV' is voltage"),
        ("[[neurons]]\nid = 'a'\nmodel = 'nodes.lif'\nparams.tau_m = 1 # <-", '1 has no unit; write "1 ms"'),
        ("[[neurons]]\nid = 'a'\nmodel = 'nodes.lif'\nparams = { V_reset = '-50 mV' } # <-",
         "V_reset must lie below V_th"),
        ("[[neurons]]\nid = 'a'\nmodel = 'nodes.lif'\nparams.I_e = {min = '1 pA'} # <-", "a distribution is one of"),
        ("[[neurons]]\nid = 'a'\nmodel = 'nodes.lif'\nparams.I_e = {uniform = ['2 pA', '1 pA']} # <-", "swapped"),
        (AB + SYNAPSE.replace('"b"', '"c" # <-'), "there is no 'c' in this network"),
        (AB + SYNAPSE.replace('"b"', '"" # <-'), "there is no '' in this network"),
        (AB + SYNAPSE.replace('"a"', '"aa" # <-'), "there is no 'aa' in this network; did you mean 'a'?"),
        (AB + SYNAPSE.replace('"1 ms"', '"0 ms" # <-'), "delay must be > 0 ms, not '0 ms'"),
        (AB + SYNAPSE.replace('"1 ms"', '"-1 ms" # <-'), "delay must be > 0 ms, not '-1 ms'"),
        (AB + SYNAPSE.replace('"1 ms"', '"1.05 ms" # <-'), "delay '1.05 ms' is no multiple of dt = 0.1 ms"),
        (AB + SYNAPSE.replace('"1 ms"', '"1 mV" # <-'), "delay: '1 mV' is voltage; this must be time"),
        (AB + SYNAPSE.replace('"1 ms"', '"1000000 s" # <-'), "beyond the longest run"),
        (AB + SYNAPSE.replace('"1 mV"', '"1 pA" # <-'), "weight: '1 pA' is current; this must be voltage"),
        (AB + SYNAPSE.replace('"1 mV"', '"much" # <-'), "'much' is not a quantity"),
        (AB + SYNAPSE.replace('"1 mV"', '3 # <-'), '3 has no unit; write "3 mV"'),
        (AB + SYNAPSE.replace('"1 mV"', 'nan # <-'), "has no unit"),
        (AB + SYNAPSE.replace('weight = "1 mV"\n', "").replace("[[synapses]]", "[[synapses]] # <-"), "needs 'weight'"),
        (AB + SYNAPSE + "columns = { pre = 'x' } # <-", "'columns' goes with csv"),
        (AB + SYNAPSE + "indegree = 3 # <-", "'indegree' goes with rule = \"fixed_indegree\""),
        (GROUPS + SYNAPSE.replace('"a"', '"exc"').replace('"b"', '"x"').replace("]]", "]] # <-"),
         "'exc' is a group, so [[synapses]] needs 'rule'"),
        (RULE[:-1] + " # <-", "one_to_one needs groups of one size; 'exc' has 8, 'inh' 3"),
        (RULE.replace('"one_to_one"', '"fixed_indegree" # <-'), "fixed_indegree needs 'indegree'"),
        (RULE.replace('"one_to_one"', '"fixed_indegree"\nindegree = 9 # <-'), "indegree 9 is more than 'exc' has: 8"),
        (RULE.replace('"one_to_one"', '"fixed_indegree"\nindegree = 8 # <-').replace('"inh"\nw', '"exc"\nw'),
         "indegree 8 is more than 'exc' has: 7 others"),
        (RULE.replace('"one_to_one"', '"fixed_probability"\nprobability = 1.5 # <-'), "must be from 0 to 1, not 1.5"),
        (RULE.replace('"one_to_one"', '"fixed_probability"\nprobability = nan # <-'), "must be from 0 to 1"),
        (AB + "[[sources]]\nid = 's'\nkind = 'external'\n" + SYNAPSE.replace('"b"', '"s" # <-'), "'s' is a source"),
        (AB + "[[sources]]\nid = 's'\nkind = 'poisson'\nrate = '-1 Hz' # <-", "rate = -1 Hz is out of bounds"),
        (AB + "[[sources]]\nid = 's'\nkind = 'poisson'\nrate = '1 ms' # <-", "rate: '1 ms' is time"),
        (AB + "[[sources]]\nid = 's'\nkind = 'metronome'\nperiod = '0.25 ms' # <-", "no multiple of dt"),
        (AB + "[[sources]]\nid = 's'\nkind = 'metronome'\nperiod = '0 ms' # <-", "period must be > 0 ms"),
        (AB + "[[sources]] # <-\nid = 's'\nkind = 'spikes'", "need one of times, file"),
        (AB + "[[sources]]\nid = 's'\nkind = 'spikes'\ntimes = ['1 ms',\n'0 ms'] # <-", "times must be > 0 ms"),
        (AB + "[[sources]]\nid = 's'\nkind = 'spikes'\ntimes = ['1 ms',\n'1 ms'] # <-", "'1 ms' stands twice"),
        ("[run]\nclock = 'virtual'" + AB + "[[sources]]\nid = 's'\nkind = 'external' # <-", "cannot keep the virtual clock"),
        (AB + "[[sources]]\nkind = 'current'\ntarget = 'q' # <-\namplitude = '1 pA'", "there is no 'q'"),
        (AB + "[[sources]]\nkind = 'current'\ntarget = 'a'\namplitude = '1 mV' # <-", "this must be current"),
        (AB + "[[sources]]\nkind = 'current'\ntarget = 'a'\namplitude = '1 pA'\nstart = '2 ms'\nstop = '2 ms' # <-",
         "stop '2 ms' must come after start"),
        (AB + "[[sources]]\nkind = 'background'\ntarget = 'a'\nrate = '0 Hz' # <-\nweight = '1 pA'", "rate must be > 0 Hz"),
        (AB + "[[sources]]\nkind = 'background'\ntarget = 'a'\nrate = '1 Hz'\nweight = '1 mV' # <-", "must be current"),
        (AB + "[[sources]]\nkind = 'background'\ntarget = 'a'\nrate = '1 Hz'\nweight = '1 pA'\n"
              "[[sources]]\nkind = 'background'\ntarget = 'a' # <-\nrate = '1 Hz'\nweight = '1 pA'", "has a background already"),
        (AB + "[[electrical]]\na = 'a'\nb = 'a' # <-\nconductance = '1 nS'", "cannot have a junction with itself"),
        (AB + "[[electrical]]\na = 'a'\nb = 'b'\nconductance = '-1 nS' # <-", "conductance must be > 0 nS"),
        (AB + "[[electrical]]\na = 'a'\nb = 'b'\nconductance = '1 nF' # <-", "must be conductance"),
        (GROUPS + "[[electrical]]\na = 'x'\nb = 'exc' # <-\nconductance = '1 nS'", "'exc' is a group"),
        (AB + "[run]\nrecord_potentials = ['a',\n 'q'] # <-", "there is no 'q'"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line(text, says):
    marked = [n for n, line in enumerate(text.splitlines(), 1) if "# <-" in line]
    with pytest.raises(InputError) as caught:
        net(text)
    message = str(caught.value)
    assert says in message and "\n" not in message
    assert message.startswith(f"net.toml:{marked[0]}: " if marked else "net.toml:")


FROM_CSV = AB + "[[synapses]] # <-\ncsv = 't.csv'\n"
CELLS = "[[groups]]\nid = 'g'\nmodel = 'nodes.lif'\ncsv = 't.csv'\n"
GAPS = AB + "[[electrical]] # <-\ncsv = 't.csv'\n"
PLAIN = FROM_CSV + "weight = '1 mV'\ndelay = '1 ms'\n"


@pytest.mark.parametrize(
    ("text", "table", "says"),
    [
        (PLAIN, "", "t.csv: is empty"),
        (PLAIN, "\xff", "t.csv: is not UTF-8"),
        (PLAIN, "pre,pots\na,b", "t.csv:1: no column 'post'; did you mean 'pots'?"),
        (PLAIN, "pre,post,post\na,b,b", "t.csv:1: column 'post' stands twice"),
        (PLAIN, "pre,post\na,b\na,b,3", "t.csv:3: 3 cells, but the header has 2"),
        (PLAIN, 'pre,post\na,"b\n', "t.csv:2: not valid CSV"),
        (PLAIN, "pre,post\n\na,q", "t.csv:3: there is no 'q' in this network"),
        (PLAIN, "pre,post,sections\na,b,3\na,b,three", "t.csv:3: sections 'three' is not a number"),
        (PLAIN, "pre,post,count\na,b,3\na,b,nan", "t.csv:3: count 'nan' is not a finite number"),
        (PLAIN, "pre,post,weight [mV]\na,b,3", "net.toml:10: t.csv has a column weight already"),
        (PLAIN + "rule = 'one_to_one'", "pre,post\na,b", "net.toml:12: 'rule' does not go with csv"),
        (PLAIN + "columns = { pre = 'From' }", "pre,post\na,b", "t.csv:1: no column 'From'"),
        (FROM_CSV, "pre,post,weight [mV]\na,b,3", "net.toml:8: t.csv has no column 'delay [ms]'"),
        (FROM_CSV, "pre,post,delay [ms]\na,b,3", "net.toml:8: t.csv has no column 'weight [unit]'"),
        (FROM_CSV, "pre,post,weight,delay [ms]\na,b,3,1", "t.csv:1: column 'weight' has no unit; write the header as 'weight [mV]'"),
        (FROM_CSV, "pre,post,weight [pA],delay [ms]\na,b,3,1", "t.csv:1: column 'weight [pA]': '1 pA' is current"),
        (FROM_CSV, "pre,post,weight [mV],delay [ms]\na,b,,1", "t.csv:2: weight '' is not a number"),
        (FROM_CSV, "pre,post,weight [mV],delay [ms]\na,b,1,1\na,b,1,0", "t.csv:3: delay 0 must be > 0"),
        (FROM_CSV, "pre,post,weight [mV],delay [ms]\na,b,1,1.23", "t.csv:2: delay 1.23 must be > 0 and a multiple of dt = 0.1 ms"),
        (AB + "[[sources]]\nid = 's'\nkind = 'external'\n" + PLAIN.removeprefix(AB), "pre,post\na,s", "t.csv:2: 's' is a source"),
        (CELLS, "name\nx", "t.csv:1: no column 'id'"),
        (CELLS, "id", "t.csv:1: names no neurons"),
        (CELLS, "id\nx\ny\nx", "t.csv:4: the id 'x' is taken"),
        (CELLS, "id\nx y", "t.csv:2: 'x y' is no id"),
        (CELLS, "id,I_E [pA]\nx,1", "t.csv:1: nodes.lif has no parameter 'I_E'; did you mean 'I_e'?"),
        (CELLS, "id,I_e\nx,1", "t.csv:1: column 'I_e' has no unit"),
        (CELLS, "id,tau_m [ms]\nx,1\ny,-1", "t.csv:3: tau_m = -1 ms is out of bounds"),
        (CELLS + "params.I_e = '1 pA'", "id,I_e [pA]\nx,1", "net.toml:5: I_e is a column of the CSV too"),
        (CELLS + "count = 2", "id\nx", "net.toml:4: give one of count, ids, csv"),
        (GAPS, "a,b\na,b", "net.toml:8: t.csv has no column 'conductance [nS]'"),
        (GAPS, "a,b,conductance [nS]\na,b,1\na,b,0", "t.csv:3: a conductance must be > 0"),
        (GAPS, "a,b,conductance [nS]\na,a,1", "t.csv:2: 'a' cannot have a junction with itself"),
        (GAPS + "conductance = '1 nS'", "a,b\na,q", "t.csv:2: there is no 'q'"),
        (AB + "[[sources]]\nid = 's'\nkind = 'spikes'\nfile = 't.csv'", "time\n1", "t.csv:1: no column 'time_ms'"),
        (AB + "[[sources]]\nid = 's'\nkind = 'spikes'\nfile = 't.csv'", "time_ms,id\n1,s\n1,r", "t.csv:3: 'r' is none of the sources 's'"),
        (AB + "[[sources]]\nid = 's'\nkind = 'spikes'\nfile = 't.csv'", "time_ms\n2\n1\n2", "t.csv:4: 's' fires twice"),
        (AB + "[[sources]]\nid = 's'\nkind = 'spikes'\ncount = 2\nfile = 't.csv'", "time_ms\n2", "t.csv:1: no column 'id'"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_table_is_named_with_its_row(text, table, says):
    with pytest.raises(InputError) as caught:
        build(loads(text, "net.toml", {"t.csv": table.encode("latin-1")}))
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("synapses.0.delay=0 ms", "delay must be > 0 ms"),
        ("synapses.0.weight=1 pA", "this must be voltage"),
        ("synapses.0.post=q", "there is no 'q'"),
        ("neurons.a.model=nodes.nope", "does not import"),
        ("neurons.a.params.tau_m=0 ms", "out of bounds"),
        ("neurons.a.params.tau=1 ms", "has no parameter 'tau'"),
        ("neurons.b.id=a", "the id 'a' is taken in line 3"),
        ("run.record_potentials=['q']", "there is no 'q'"),
    ],
)
def test_a_mistake_in_an_override_names_the_override(override, says):
    with pytest.raises(InputError) as caught:
        net(AB + SYNAPSE, [override])
    assert str(caught.value).startswith(f"--set {override}: ") and says in str(caught.value)


def test_ten_thousand_neurons_and_a_million_synapses():
    text = GROUPS.replace("count = 8", "count = 10_000")
    text = synapses(text, pre='"exc"', post='"exc"', rule='"fixed_indegree"', indegree="100",
                    weight="{ normal = ['10 pA', '1 pA'] }")  # fmt: skip
    network = net(text)
    assert np.array_equal(np.bincount(network.synapses.post), np.full(10_000, 100))


@pytest.mark.parametrize("file", sorted(CONFIGS.rglob("*.toml")), ids=lambda path: path.name)
def test_every_config_shipped_builds_and_describes_itself(file):
    network = build(load(file))
    facts = describe(network)
    if network.config.run.neurons_per_process == 1 and network.config.run.processes is None:
        assert facts["processes"] == facts["neurons"] + facts["sources"] - facts["external"]
    json.dumps(facts)
    assert f"{facts['synapses']:,}" in render(facts)


def test_a_description():
    text = synapses(
        AB + "[run]\nduration = '2 s'\n[switches]\non = true\n", pre='"a"', post='"b"', weight='"1 mV"'
    )
    text += "[[sources]]\nid = 's'\nkind = 'external'\n[[synapses]]\ncsv = 't.csv'\nweight = '1 mV'\ndelay = '2 ms'\nignore_unknown = true"
    facts = describe(net(text, files={"t.csv": "pre,post\na,b\na,q\n"}))
    assert {name: facts[name] for name in ("neurons", "sources", "external", "processes", "synapses")} == {
        "neurons": 2, "sources": 1, "external": 1, "processes": 2, "synapses": 2}  # fmt: skip
    assert (
        facts["delay_ms"] == [1.0, 2.0]
        and facts["duration_s"] == 2.0
        and facts["rows_skipped"] == {"t.csv": 1}
    )
    assert facts["warnings"] == ["1 neuron without any input: a", "1 source that no neuron listens to: s"]
    assert render(facts).splitlines()[0] == "net.toml"
    assert "1 rows of t.csv" in render(facts) and "delays 1 to 2 ms" in render(facts)
    quiet = describe(net(AB, ["neurons.a.params.I_e=1 pA", "neurons.b.params.I_e=1 pA"]))
    assert quiet["warnings"] == [] and quiet["delay_ms"] is None
