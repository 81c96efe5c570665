"""What `describe` measures, against NetworkX and against closed forms."""

# ruff: noqa: E501 (a row of a table stays one row)

from __future__ import annotations

import json
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from neurobus.config import load
from neurobus.network import build
from neurobus.network.draw import Stream
from neurobus.network.rules import fixed_probability, scale_free, small_world
from neurobus.streams import Use, key, keys, tags
from neurobus.structure import measure, measures, render
from neurobus.structure.measures import wiring
from tests.helpers import net, table

ROOT = Path(__file__).parents[2]
N = 120
ALL = np.arange(N, dtype=np.int32)
GRAPHS = {
    "random": fixed_probability(ALL, ALL, 0.04, True, keys(1, Use.PAIRS, tags("r", ALL))),
    "thin": fixed_probability(ALL, ALL, 0.007, False, keys(1, Use.PAIRS, tags("t", ALL))),
    "small world": small_world(ALL, 6, 0.1, True, Stream(key(1, Use.STRUCTURE, "w"))),
    "scale free": scale_free(ALL, 2.5, 4, True, Stream(key(1, Use.STRUCTURE, "f"))),
    "undirected": scale_free(ALL, 2.5, 4, False, Stream(key(1, Use.STRUCTURE, "u"))),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_as_networkx_measures_it(name):
    pre, post = GRAPHS[name]
    found = wiring(np.concatenate([pre, pre[:9]]), np.concatenate([post, post[:9]]), N)
    graph = nx.DiGraph()
    graph.add_nodes_from(range(N))
    graph.add_edges_from(zip(pre.tolist(), post.tolist(), strict=True))
    assert found["self"] == nx.number_of_selfloops(graph)
    graph.remove_edges_from(list(nx.selfloop_edges(graph)))
    assert found["edges"] == graph.number_of_edges()
    assert found["density"] == pytest.approx(nx.density(graph))
    for name, degree in (("in_degree", graph.in_degree()), ("out_degree", graph.out_degree())):
        k = np.array([value for _, value in degree])
        assert found[name]["mean"] == pytest.approx(k.mean())
        assert (found[name]["min"], found[name]["max"]) == (k.min(), k.max())
        assert found[name]["heterogeneity"] == pytest.approx(np.mean(k**2) / np.mean(k))
    assert found["reciprocity"] == pytest.approx(nx.reciprocity(graph))
    assert found["clustering"] == pytest.approx(nx.average_clustering(graph.to_undirected()))
    lengths = [
        length for a, to in nx.all_pairs_shortest_path_length(graph) for b, length in to.items() if a != b
    ]
    assert found["path_length"] == pytest.approx(np.mean(lengths))
    assert found["longest_path"] == max(lengths)
    assert found["reachable"] == pytest.approx(len(lengths) / (N * (N - 1)))
    weak, strong = list(nx.weakly_connected_components(graph)), list(nx.strongly_connected_components(graph))
    assert (found["weak_components"], found["largest_weak"]) == (len(weak), max(map(len, weak)))
    assert (found["strong_components"], found["largest_strong"]) == (len(strong), max(map(len, strong)))


def test_a_sample_is_close_and_says_so(monkeypatch):
    pre, post = scale_free(
        np.arange(1500, dtype=np.int32), 2.5, 8, True, Stream(key(1, Use.STRUCTURE, "big"))
    )
    exact = wiring(pre, post, 1500)
    monkeypatch.setattr(measures, "EXACT", 1000)
    sampled = wiring(pre, post, 1500)
    assert (exact["clustering_of"], exact["paths_from"]) == (1500, 1500)
    assert (sampled["clustering_of"], sampled["paths_from"]) == (500, 128)
    assert sampled["clustering"] == pytest.approx(exact["clustering"], rel=0.15)
    assert sampled["path_length"] == pytest.approx(exact["path_length"], rel=0.05)
    assert sampled == wiring(pre, post, 1500), "the same sample each time"


def test_the_worm():
    """The wiring that Watts & Strogatz 1998 called a small world, in the data of Cook et al. 2019."""
    facts = measure(build(load(ROOT / "configs/worm/worm.toml")))
    json.dumps(facts)
    chemical = facts["chemical"]
    assert (facts["neurons"], facts["synapses"], chemical["self"]) == (302, 3709, 38)
    assert chemical["clustering"] > 4 * chemical["clustering_random"]
    assert 2 < chemical["path_length"] < 4 and chemical["small_world"] > 2
    assert facts["electrical"]["edges"] == 2 * 1091
    text = render(facts)
    assert "measured" not in text and "<k²>/<k>" in text


def test_weights_by_sign_and_unit_and_no_source_counts():
    text = (table("groups", id="a", model="nodes.lif", count=3)
            + table("groups", id="b", model="nodes.lif_delta", count=2)
            + table("sources", id="p", kind="poisson", rate="5 Hz")
            + table("synapses", pre="p", post="a", rule="all_to_all", weight="9 pA", delay="1 ms")
            + table("synapses", pre="a", post="b", rule="all_to_all", weight="2 mV", delay="1 ms")
            + table("synapses", pre="a", post="a", rule="all_to_all", weight="-30 pA", delay="3 ms"))  # fmt: skip
    facts = measure(net(text))
    assert (facts["synapses"], facts["from_sources"]) == (12, 3)
    assert facts["weights"]["mV"] == {"excitatory": {"count": 6, "mean": 2, "sd": 0, "min": 2, "max": 2}}
    assert facts["weights"]["pA"]["inhibitory"]["count"] == 6 and "excitatory" not in facts["weights"]["pA"]
    assert (facts["delays_ms"]["min"], facts["delays_ms"]["max"]) == (1, 3)
    assert "3 more from sources" in render(facts)


@pytest.mark.parametrize(
    "synapses", ["", table("synapses", pre="a.0", post="a.0", weight="1 pA", delay="1 ms")]
)
def test_nothing_to_measure_is_said_and_no_zero(synapses):
    facts = measure(net(table("groups", id="a", model="nodes.lif", count=2) + synapses))
    assert "clustering" not in render(facts)
    assert facts["chemical"] is None or facts["chemical"]["path_length"] is None


def test_graded_synapses_are_a_wiring_of_their_own():
    text = (table("groups", id="a", model="nodes.lif", count=40, patterns="{ count = 2 }")
            + table("graded", pre="a", post="a", rule="scale_free", exponent=2.5, degree=4.0, stored="true",
                    weight="3 pA", transfer="rectified", threshold="-60 mV", slope="1 mV"))  # fmt: skip
    facts = measure(net(text))
    assert (facts["synapses"], facts["graded_synapses"], facts["chemical"]) == (0, 160, None)
    assert facts["graded"]["edges"] == 160 and facts["graded"]["out_degree"]["mean"] == 4
    assert facts["graded_weights"]["pA"]["excitatory"]["max"] == 6 and facts["weights"] == {}
    assert "graded synapses    160" in render(facts) and "<k²>/<k>" in render(facts)


SHEET = '{ sheet = ["1 mm", "1 mm"] }'
PICTURES = {
    "places": table("groups", id="a", model="nodes.lif", count=30, space=SHEET)
    + table("synapses", pre="a", post="a", rule="distance", kernel="disc", probability=0.5, reach="0.3 mm",
            weight="1 pA", delay="1 ms"),
    "ring": table("groups", id="a", model="nodes.lif", count=30, space='{ ring = "1 mm" }')
    + table("synapses", pre="a", post="a", rule="small_world", neighbours=4, rewire=0.2, weight="-1 pA", delay="1 ms"),
    "matrix": table("groups", id="a", model="nodes.lif", count=30)
    + table("synapses", pre="a", post="a", rule="all_to_all", weight="{ normal = ['0 pA', '5 pA'] }",
            delay="{ uniform = ['1 ms', '9 ms'] }"),
    "dense": table("groups", id="a", model="nodes.lif", count=100)
    + table("synapses", pre="a", post="a", rule="all_to_all", weight="1 pA", delay="1 ms"),
    "junctions": table("groups", id="a", model="nodes.lif", count=30)
    + table("electrical", a="a", b="a", rule="fixed_probability", probability=0.2, conductance="1 nS"),
    "graded": table("groups", id="a", model="nodes.lif", count=30)
    + table("graded", pre="a", post="a", rule="small_world", neighbours=4, rewire=0.2, weight="-1 pA",
            threshold="-60 mV", slope="1 mV"),
    "nothing": table("groups", id="a", model="nodes.lif", count=1),
}  # fmt: skip


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_of_anything(name, tmp_path):
    from neurobus.structure.drawing import draw

    network = net(PICTURES[name])
    out = draw(network, measure(network), tmp_path / "p.png")
    assert out.read_bytes()[:4] == b"\x89PNG" and out.stat().st_size > 15_000


def test_neurons_and_sources_stand_on_the_axes_with_their_names(tmp_path):
    from neurobus.structure.drawing import _source_columns, draw

    cells = table("groups", id="a", model="nodes.lif", count=3)
    drive = table("sources", id="drive", kind="poisson", rate="1 Hz", count=5)
    tone = table("sources", id="tone", kind="metronome", period="1 s")
    text = table("synapses", pre="drive", post="a", rule="all_to_all", weight="1 pA", delay="1 ms")
    network = net(cells + drive + tone + text)
    names, columns = _source_columns(network)
    assert (names, columns.tolist()) == (["drive", "tone"], [0] * 5 + [1])
    picture = draw(network, measure(network), tmp_path / "p.svg").read_text()
    assert all(f">{name}<" in picture for name in ("a.0", "a.2", "drive", "tone"))
    names, columns = _source_columns(net(cells + tone))
    assert (names, columns.tolist()) == (["tone"], [0])
