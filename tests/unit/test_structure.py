"""The rules that give a network its structure: each has the quality it is named for."""

# ruff: noqa: E501 (a row of a table stays one row)

from __future__ import annotations

import zlib

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurobus.errors import InputError
from neurobus.network.draw import Stream
from neurobus.network.rules import covariance, layered, scale_free, small_world
from neurobus.network.space import Space, kernel
from neurobus.streams import Use, key, keys, tags, uniforms
from tests.helpers import net, run_table, table

FIFTY = np.arange(50, dtype=np.int32)


def cells(count: int = 100, **keys: object) -> str:
    return run_table(clock="virtual") + table("groups", id="c", model="nodes.lif_delta", count=count, **keys)


def synapses(rule: str, **keys: object) -> str:
    given = {"pre": "c", "post": "c", "rule": rule, "weight": "1 mV", "delay": "1 ms"} | keys
    return table("synapses", **given)


def edges(network) -> set[tuple[int, int]]:
    found = list(zip(network.synapses.pre.tolist(), network.synapses.post.tolist(), strict=True))
    assert len(set(found)) == len(found), "a pair twice"
    return set(found)


def graph(pairs, n: int) -> nx.Graph:
    made = nx.Graph()
    made.add_nodes_from(range(n))
    made.add_edges_from(zip(*(side.tolist() for side in pairs), strict=True))
    return made


# -- small world ----------------------------------------------------------------------------------------


def test_nothing_rewired_is_a_ring():
    network = net(cells(20) + synapses("small_world", neighbours=4, rewire=0.0))
    assert edges(network) == {(i, (i + step) % 20) for i in range(20) for step in (-2, -1, 1, 2)}


@pytest.mark.parametrize("directed", [True, False])
@pytest.mark.parametrize("rewire", [0.1, 1.0])
def test_rewiring_keeps_the_number_of_edges(directed, rewire):
    pre, post = small_world(FIFTY, 6, rewire, directed, Stream(key(1, Use.STRUCTURE, "x")))
    assert pre.size == 50 * 6 == len(set(zip(pre.tolist(), post.tolist(), strict=True)))
    assert np.all(pre != post)
    if directed:
        assert set(np.bincount(pre)) == {6} and np.bincount(post, minlength=50).std() > 0
    else:
        assert set(zip(pre, post, strict=True)) == set(zip(post, pre, strict=True))
    lattice = np.minimum((post - pre) % 50, (pre - post) % 50) <= 3
    assert 0.02 < np.mean(~lattice) / (1 - 6 / 49) / rewire < 1.5


def test_a_small_world_is_clustered_as_a_ring_and_near_as_chance():
    """Watts & Strogatz 1998, fig. 2: at p = 0.02 paths have shrunk and clustering has not."""
    members = np.arange(500, dtype=np.int32)
    measured = {}
    for rewire in (0.0, 0.02, 1.0):
        made = graph(small_world(members, 10, rewire, False, Stream(key(3, Use.STRUCTURE, "ws"))), 500)
        measured[rewire] = nx.average_clustering(made), nx.average_shortest_path_length(made)
    (c0, l0), (c, l), (c1, l1) = measured.values()
    assert c0 == pytest.approx(3 * (10 - 2) / (4 * (10 - 1))), "the lattice's closed form"
    assert c > 0.85 * c0 and l < 0.3 * l0
    assert c1 < 0.1 * c0 and l1 < 1.1 * np.log(500) / np.log(10)


# -- scale free -----------------------------------------------------------------------------------------


def tail_exponent(degrees, k_min: int) -> float:
    """Maximum likelihood (Clauset, Shalizi & Newman 2009, eq. 3.7)."""
    tail = degrees[degrees >= k_min]
    return 1 + len(tail) / np.sum(np.log(tail / (k_min - 0.5)))


@pytest.mark.parametrize("directed", [True, False])
@pytest.mark.parametrize("exponent", [2.3, 3.0, 4.0])
def test_degrees_fall_with_the_exponent(exponent, directed):
    n = 10_000
    pre, post = scale_free(
        np.arange(n, dtype=np.int32), exponent, 30, directed, Stream(key(1, Use.STRUCTURE, "sf"))
    )
    assert pre.size == 30 * n
    assert np.all(pre != post) and len(np.unique(pre.astype(np.int64) * n + post)) == pre.size
    out, into = np.bincount(pre, minlength=n), np.bincount(post, minlength=n)
    for degrees in (out, into):
        sigma = (exponent - 1) / np.sqrt(np.sum(degrees >= 70))
        assert tail_exponent(degrees, 70) == pytest.approx(exponent, abs=max(0.25, 3 * sigma))
    correlation = np.corrcoef(out, into)[0, 1]
    assert abs(correlation) < 0.05 if directed else np.array_equal(out, into)


def test_a_smaller_exponent_is_more_heterogeneous():
    def spread(exponent: float) -> float:
        pre, _ = scale_free(
            np.arange(3000, dtype=np.int32), exponent, 10, False, Stream(key(1, Use.STRUCTURE, "sf"))
        )
        k = np.bincount(pre, minlength=3000)
        return float(np.mean(k**2) / np.mean(k))

    assert spread(2.2) > 2 * spread(2.6) > 2 * spread(5.0) > 20


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(5, 40),
    half=st.integers(1, 9),
    rewire=st.floats(0, 1),
    directed=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_small_world_is_simple_and_whole(n, half, rewire, directed, seed):
    k = 2 * min(half, (n - 1) // 4)
    pre, post = small_world(
        np.arange(n, dtype=np.int32), k, rewire, directed, Stream(key(seed, Use.STRUCTURE, "x"))
    )
    pairs = set(zip(pre.tolist(), post.tolist(), strict=True))
    assert len(pairs) == pre.size == n * k and all(a != b for a, b in pairs)
    assert directed or pairs == {(b, a) for a, b in pairs}


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(3, 40),
    share=st.floats(0.05, 0.99),
    exponent=st.floats(2.05, 6),
    directed=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_scale_free_is_simple_and_whole(n, share, exponent, directed, seed):
    degree = share * n / 2
    pre, post = scale_free(
        np.arange(n, dtype=np.int32), exponent, degree, directed, Stream(key(seed, Use.STRUCTURE, "x"))
    )
    pairs = set(zip(pre.tolist(), post.tolist(), strict=True))
    assert len(pairs) == pre.size == (round(n * degree) if directed else 2 * round(n * degree / 2))
    assert all(a != b for a, b in pairs)
    assert directed or pairs == {(b, a) for a, b in pairs}


# -- distance -------------------------------------------------------------------------------------------


def test_probability_falls_as_the_kernel_says():
    text = cells(900, space='{ sheet = ["1 mm", "1 mm"], torus = true }')
    network = net(text + synapses("distance", kernel="gaussian", probability=0.6, reach="150 um"))
    space = Space("sheet", 1.0, 1.0, True)
    apart = space.distance(network.places.at_mm[:, None], network.places.at_mm[None])
    joined = np.zeros(apart.shape, bool)
    joined[network.synapses.pre, network.synapses.post] = True
    np.fill_diagonal(apart, np.nan)
    for low in np.arange(0.02, 0.5, 0.08):
        ring = (apart >= low) & (apart < low + 0.08)
        expected = np.mean(0.6 * np.exp(-0.5 * (apart[ring] / 0.15) ** 2))
        assert np.mean(joined[ring]) == pytest.approx(expected, abs=4 * np.sqrt(expected / ring.sum()) + 1e-3)


def test_a_spike_takes_its_way():
    text = cells(40, space='{ ring = "4 mm" }')
    network = net(text + synapses("distance", kernel="disc", probability=1.0, reach="0.35 mm", delay="0.5 ms",
                                  velocity="0.1 m/s"))  # fmt: skip
    steps_apart = np.minimum(
        (network.synapses.post - network.synapses.pre) % 40,
        (network.synapses.pre - network.synapses.post) % 40,
    )
    assert set(steps_apart.tolist()) == {1, 2, 3}
    assert network.synapses.delay.tolist() == (5 + 10 * steps_apart).tolist(), (
        "0.5 ms, and 1 ms for each 0.1 mm"
    )


def test_places():
    assert Space("ring", 2.0).places(4).tolist() == [[0, 0], [0.5, 0], [1, 0], [1.5, 0]]
    assert Space("sheet", 2.0, 1.0).places(8)[[0, 7]].tolist() == [
        [0.25, 0.25],
        [1.75, 0.75],
    ]
    drawn = Space("sheet", 2.0, 1.0).drawn(uniforms(7, np.arange(2000)).reshape(1000, 2))
    assert drawn.max(axis=0) == pytest.approx([2, 1], abs=0.01) and drawn.mean(axis=0) == pytest.approx(
        [1, 0.5], abs=0.05
    )
    ends = np.array([0.1, 0.1]), np.array([1.9, 0.1])
    assert Space("sheet", 2.0, 1.0).distance(*ends) == pytest.approx(1.8)
    assert Space("sheet", 2.0, 1.0, True).distance(*ends) == pytest.approx(0.2)
    assert kernel("exponential", np.array([0.0, 2.0]), 2.0) == pytest.approx([1, np.exp(-1)], rel=1e-14)


def test_two_groups_on_one_sheet():
    sheet = '{ sheet = ["1 mm", "1 mm"] }'
    text = cells(100, space=sheet) + table("groups", id="d", model="nodes.lif", count=25, space=sheet)
    network = net(
        text + synapses("distance", post="d", kernel="disc", probability=1.0, reach="0.1 mm", weight="1 pA")
    )
    apart = network.places.at_mm[network.synapses.pre] - network.places.at_mm[network.synapses.post]
    assert network.synapses.pre.size == 100 and np.allclose(np.abs(apart), 0.05)


# -- layers and assemblies --------------------------------------------------------------------------------


def test_each_layer_to_the_next():
    network = net(cells(7) + synapses("layered", layers="[2, 3, 2]"))
    assert edges(network) == {(a, b) for a in (0, 1) for b in (2, 3, 4)} | {
        (a, b) for a in (2, 3, 4) for b in (5, 6)
    }
    all_ = np.arange(300, dtype=np.int32)
    pre, post = layered(all_, all_, [100, 100, 100], all_, 0.3, keys(1, Use.PAIRS, tags("x", all_)))
    assert np.all(post // 100 == pre // 100 + 1) and pre.size == pytest.approx(6000, abs=250)
    assert net(cells(10) + synapses("layered", layers=5)).synapses.pre.size == 4 * 4


def test_stored_patterns_are_fixed_points():
    """Hopfield 1982: with few patterns the sign of the field leads from a corrupted pattern back to it."""
    network = net(cells(200, patterns="{ count = 4 }") + synapses("assemblies", weight="2 mV"))
    patterns = np.where(network.patterns["c"], 1.0, -1.0)
    assert set(patterns.sum(axis=1)) == {0.0}
    weights = np.zeros((200, 200))
    weights[network.synapses.post, network.synapses.pre] = network.synapses.weight
    expected = 2 * patterns.T @ patterns
    np.fill_diagonal(expected, 0)
    assert weights == pytest.approx(expected)
    for pattern in patterns:
        cue = pattern.copy()
        cue[Stream(key(1, Use.STRUCTURE, "")).order(200)[:40]] *= -1
        assert np.mean(np.sign(weights @ cue) == pattern) > 0.97
    assert network.groups["c#2"].tolist() == np.flatnonzero(patterns[2] > 0).tolist()


def test_a_pattern_can_be_called_like_a_group():
    text = cells(50, patterns="{ count = 2, activity = 0.2 }")
    network = net(text + '[[sources]]\nkind = "current"\ntarget = "c#1"\namplitude = "1 nA"\n')
    assert [current[0] for current in network.currents] == network.groups["c#1"].tolist()
    assert len(network.currents) == 10


def test_sparse_patterns_have_no_mean_weight_and_stand_on_any_structure():
    rng = np.random.default_rng(0)
    pattern = np.zeros((1, 1000), bool)
    pattern[0, rng.choice(1000, 100, replace=False)] = True
    a, b = (side.ravel() for side in np.meshgrid(np.arange(1000), np.arange(1000)))
    assert covariance(pattern, pattern, (a, b)).mean() == pytest.approx(0, abs=1e-12)
    text = cells(100, patterns="{ count = 1 }")
    plain, stored = (
        net(text + synapses("scale_free", exponent=2.5, degree=8, directed="true", stored=word))
        for word in ("false", "true")
    )
    assert edges(plain) == edges(stored)
    assert set(np.round(stored.synapses.weight, 12)) == {-1.0, 1.0} != set(plain.synapses.weight)


# -- electrical ------------------------------------------------------------------------------------------


def test_junctions_by_rule_stand_once_a_pair():
    text = cells(30, space='{ ring = "3 mm" }')
    network = net(text + table("electrical", a="c", b="c", rule="distance", kernel="disc", probability=1.0,
                               reach="0.15 mm", conductance="1 nS"))  # fmt: skip
    assert sorted(zip(network.junctions.a.tolist(), network.junctions.b.tolist(), strict=True)) == sorted(
        [(i, i + 1) for i in range(29)] + [(0, 29)]
    )
    network = net(text + table("electrical", a="c", b="c", rule="small_world", neighbours=4, rewire=0.3,
                               conductance="1 nS"))  # fmt: skip
    pairs = set(zip(network.junctions.a.tolist(), network.junctions.b.tolist(), strict=True))
    assert len(pairs) == network.junctions.a.size == 60 and all(a < b for a, b in pairs)


# -- the same anywhere -----------------------------------------------------------------------------------

SHEET = '{ sheet = ["1 mm", "2 mm"], placed = "random" }'
GOLDEN = [
    (synapses("small_world", neighbours=6, rewire=0.3, directed="true"), 2883647987),
    (synapses("scale_free", exponent=2.4, degree=5.5), 1633478002),
    (
        synapses("distance", kernel="exponential", probability=0.7, reach="200 um", velocity="0.3 m/s"),
        763367457,
    ),
    (synapses("layered", layers=4, probability=0.5), 2355652991),
    (synapses("assemblies"), 1759570434),
]


@pytest.mark.parametrize(("text", "crc"), GOLDEN)
def test_the_same_seed_gives_the_same_network_on_any_machine(text, crc):
    network = net(cells(80, space=SHEET, patterns="{ count = 3 }") + text, 7)
    arrays = (
        network.synapses.pre,
        network.synapses.post,
        network.synapses.weight.astype(np.float32),
        network.synapses.delay,
    )
    assert zlib.crc32(b"".join(array.tobytes() for array in arrays)) == crc


def test_a_further_projection_leaves_the_others_as_they_were():
    one = synapses("scale_free", exponent=3.0, degree=4.0)
    alone = edges(net(cells(60) + one))
    more = net(cells(60) + one + table("groups", id="d", model="nodes.lif", count=9)
               + synapses("fixed_probability", post="d", weight="1 pA", probability=0.5))  # fmt: skip
    assert {(a, b) for a, b in edges(more) if b < 60} == alone
    assert alone != edges(net(cells(60) + one, seed=2))


# -- mistakes --------------------------------------------------------------------------------------------

SPACE = '{ ring = "1 mm" }'


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (cells() + synapses("small_world", neighbours=4), 10, "small_world needs 'rewire'"),
        (cells() + synapses("small_world", neighbours=5, rewire=0.1), 13, "neighbours must be even and below half of the 100 in 'c', not 5"),
        (cells() + synapses("small_world", neighbours=50, rewire=0.1), 13, "neighbours must be even and below half"),
        (cells() + synapses("small_world", neighbours=4, rewire=1.1), 14, "rewire must be from 0 to 1, not 1.1"),
        (cells() + synapses("small_world", neighbours=4, rewire=0.1, exponent=3.0), 15, "'exponent' goes with rule = \"scale_free\""),
        (cells() + synapses("scale_free", exponent=2.0, degree=4.0), 13, "exponent must be > 2, not 2"),
        (cells() + synapses("scale_free", exponent=3.0, degree=50.0), 14, "degree must be > 0 and below half of the 100 in 'c', not 50"),
        (cells() + synapses("scalefree", exponent=3.0, degree=5.0), 10, "rule cannot be 'scalefree'; did you mean 'scale_free'?"),
        (cells() + synapses("distance", kernel="disc", probability=1.0, reach="1 mm"), 7, "'c' has no places; write its group's space"),
        (cells(space=SPACE) + synapses("distance", kernel="disk", probability=1.0, reach="1 mm"), 14, "kernel cannot be 'disk'; did you mean 'disc'?"),
        (cells(space=SPACE) + synapses("distance", kernel="disc", probability=1.0, reach="1 ms"), 16, "reach: '1 ms' is time; this must be length"),
        (cells(space=SPACE) + synapses("distance", kernel="disc", probability=1.0, reach="0 mm"), 16, "reach must be > 0 mm"),
        (cells(space=SPACE) + synapses("all_to_all", velocity="0 m/s"), 14, "velocity must be > 0 m/s"),
        (cells() + synapses("all_to_all", velocity="1 m/s"), 13, "'c' has no places"),
        (cells(space="{ torus = true }"), 7, "space is one of ring, sheet"),
        (cells(space='{ ring = "1 mm", torus = true }'), 7, "'torus' goes with sheet"),
        (cells(space='{ rign = "1 mm" }'), 7, "unknown field 'rign' in space; did you mean 'ring'?"),
        (cells() + synapses("layered", layers="[50, 40]"), 13, "layers must be two or more and hold the 100 in 'c' together, not [50, 40]"),
        (cells() + synapses("assemblies"), 10, "'c' has no patterns; write its group's patterns"),
        (cells() + synapses("all_to_all", stored="true"), 13, "'c' has no patterns"),
        (cells(4, patterns="{ count = 1, activity = 0.1 }"), 7, "activity 0.1 of 4 neurons is 0; some must be active and some not"),
        (cells(patterns="{ count = 1, activity = 1.5 }"), 7, "'activity' must be a number < 1.0, not 1.5"),
        (cells() + synapses("layered", layers=3, post="d") + table("groups", id="d", model="nodes.lif", count=9), 10, "layered is a structure within one group; 'c' and 'd' are two"),
        (cells() + table("electrical", a="c", b="c", conductance="1 nS"), 8, "'c' is a group; a junction joins two neurons, so [[electrical]] needs 'rule'"),
        (cells() + table("electrical", a="c", b="c", rule="layered", conductance="1 nS"), 10, "layered has a direction, and a junction has none"),
    ],
)  # fmt: skip
def test_a_mistake_has_its_line(text, line, says):
    with pytest.raises(InputError) as caught:
        net(text)
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"test.toml:{line}: "), str(caught.value)
