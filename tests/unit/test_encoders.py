"""Encoders: from arrays beside a config to spike times, one spike or none per sample and input."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest

from neurobus.config import loads
from neurobus.config.arrays import parse
from neurobus.errors import InputError
from neurobus.model import Shown, order_of_pass
from neurobus.network import build
from nodes.latency import Latency
from nodes.rank import Rank
from tests.helpers import Ensemble, same, table

DT_NS = 100_000
X = np.array([[16.0, 8.0, 1.0, 0.0], [0.0, 0.0, 3.0, 16.0], [5.0, 5.0, 5.0, 5.0]])


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def png(image: np.ndarray) -> bytes:
    from matplotlib.image import imsave

    file = io.BytesIO()
    imsave(file, image, format="png", cmap="gray", vmin=0, vmax=1)
    return file.getvalue()


def config(**keys: object) -> str:
    given = {"id": "pixel", "kind": "encoder", "count": 4, "file": "x.npy", "period": "50 ms",
             "params": "{ full = 16, window = '16 ms' }"} | keys  # fmt: skip
    return table("neurons", id="n", model="nodes.lif") + table("sources", **given)


def net(content: bytes = npy(X), **keys: object):
    name = str(keys.get("file", "x.npy"))
    return build(loads(config(**keys), "test.toml", {name: content}))


def shown_ms(network, to_ms: float) -> list[list[float]]:
    """Spike times (ms) of every pixel."""
    model = network.models[network.model_of[-1]]
    return [(model.stamps({"shown": network.shown[i]}, 0, DT_NS, 0, round(to_ms * 10)) / 10).tolist()
            for i in sorted(network.shown)]  # fmt: skip


def p(model, **given):
    return {name: param.value for name, param in model.params().items()} | given


def test_latency_of_small_whole_numbers():
    t = Latency.encode(np.arange(18.0)[None], p(Latency, full=16.0, window=16.0))[0]
    assert np.isinf(t[0])
    assert t[1:17].tolist() == [16.0 - x for x in range(1, 17)]
    assert t[17] == 0.0


def test_ranks_are_of_order_alone_and_ties_share_one():
    t = Rank.encode(X, p(Rank, interval=2.0))
    assert t.tolist() == [[0, 2, 4, np.inf], [np.inf, np.inf, 2, 0], [0, 0, 0, 0]]
    assert np.array_equal(Rank.encode(np.sqrt(X) / 7, p(Rank, interval=2.0)), t)
    assert Rank.encode(X, p(Rank, most=2.0))[0].tolist() == [0, 1, np.inf, np.inf]


def test_each_sample_has_its_slot():
    assert shown_ms(net(), 170) == [[1, 112, 151], [9, 112, 159], [16, 64, 112, 166], [51, 112]]
    assert shown_ms(net(passes=1), 1000) == [[1, 112], [9, 112], [16, 64, 112], [51, 112]]
    assert shown_ms(net(first=1, samples=1, passes=2, start="7 ms"), 1000) == [[], [], [20, 70], [7, 57]]


def test_ranks_on_the_bus():
    network = net(model="nodes.rank", params="{ interval = '5 ms' }", passes=1)
    assert shown_ms(network, 1000) == [[1, 101], [6, 101], [11, 56, 101], [51, 101]]


def test_any_piece_of_time_gives_the_same_spikes():
    network = net(shuffle="a")
    for shown in network.shown.values():
        whole = Latency.stamps({"shown": shown}, 0, DT_NS, 0, 20_000)
        pieces = [Latency.stamps({"shown": shown}, 0, DT_NS, a, b) for a, b in pairwise(range(0, 20_001, 80))]
        assert np.array_equal(np.concatenate(pieces), whole) and len(whole) > 20


def test_a_shuffled_pass_shows_every_sample_once_and_the_next_in_another_order():
    shown = Shown(np.zeros(100, np.int64), 1, 10, key=3)
    first, second = shown.samples(0, 100), shown.samples(100, 200)
    assert sorted(first) == sorted(second) == list(range(100))
    assert not np.array_equal(first, second)
    assert np.array_equal(shown.samples(95, 105), np.concatenate([first[95:], second[:5]]))
    assert np.array_equal(first, order_of_pass(3, 0, 100))


def test_one_word_is_one_order():
    """A teacher that shows labels must keep step with the pixels; another word is another order."""
    files = {"x.npy": npy(np.arange(1.0, 41.0)[:, None])}

    def orders(seed: int) -> list[list[int]]:
        text = table("neurons", id="n", model="nodes.lif") + "".join(
            table("sources", id=name, kind="encoder", file="x.npy", period="10 ms", shuffle=word)
            for name, word in (("pixel", "digits"), ("teacher", "digits"), ("other", "else"))
        )
        return [
            shown.samples(0, 40).tolist() for shown in build(loads(text, "t", files), seed).shown.values()
        ]

    pixel, teacher, other = orders(1)
    assert pixel == teacher != other
    assert pixel == orders(1)[0] != orders(2)[0]


@pytest.mark.parametrize("per_process", [2, 3, 10])
def test_any_packing_gives_the_same_spikes(per_process):
    text = config(shuffle="x") + table("synapses", pre="pixel", post="n", rule="all_to_all", weight="900 pA",
                                       delay="1 ms")  # fmt: skip
    network = build(loads(text, "test.toml", {"x.npy": npy(X)}))
    alone = Ensemble(network).run(10_000).emission
    assert len(alone.keys) > 30
    assert same(alone, Ensemble(network, per_process).run(10_000).emission)


def test_what_files_can_hold_samples():
    assert parse(npy(X), "x.npy").tolist() == X.tolist()
    assert parse(npz(a=X, b=X + 1), "x.npz", "b").tolist() == (X + 1).tolist()
    assert parse(npz(a=X), "x.npz").tolist() == X.tolist()
    assert parse(npy(X.reshape(3, 2, 2).astype(np.uint8)), "x.npy").tolist() == X.tolist()
    assert parse(b"a,b\n1,2\n3,4\n", "x.csv").tolist() == [[1, 2], [3, 4]]
    image = parse(png(np.array([[0.0, 1.0], [0.2, 0.6]])), "x.png")
    assert image.shape == (1, 4)
    assert image[0] == pytest.approx([0, 1, 0.2, 0.6], abs=0.005)


@pytest.mark.parametrize(
    ("content", "file", "array", "says"),
    [
        (npz(a=X, b=X), "x.npz", None, "x.npz: holds several arrays; name one: array = …; known: a, b"),
        (npz(train=X), "x.npz", "trian", "x.npz: holds no array 'trian'; did you mean 'train'?"),
        (npy(X), "x.npy", "a", 'only a .npz holds several arrays; leave out array = "a"'),
        (b"no array", "x.npy", None, "x.npy: is no array that numpy can read"),
        (b"no picture", "x.png", None, "x.png: is no PNG"),
        (npy(np.array([{}])), "x.npy", None, "x.npy: is no array that numpy can read: Object arrays"),
        (npy(np.array([["a"]])), "x.npy", None, "holds <U1 where numbers are needed"),
        (npy(X[0]), "x.npy", None, "has the shape (4,); samples stand in rows: (samples, inputs)"),
        (npy(np.where(X == 16, np.nan, X)), "x.npy", None, "sample 0, input 0 is not a finite number"),
        (b"a,b\n1,x\n", "x.csv", None, "x.csv:2: b 'x' is not a number"),
        (b"", "x.gif", None, "samples cannot be read from a '.gif'; use one of .npy, .npz, .csv, .png"),
    ],
)  # fmt: skip
def test_a_file_that_holds_none_says_so(content, file, array, says):
    with pytest.raises(InputError) as caught:
        parse(content, file, array)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "line", "says"),
    [
        ({"count": 5}, 8, "'x.npy' has 4 inputs a sample, but 'pixel' has 5 members"),
        ({"first": 3}, 11, "'x.npy' has 3 samples, not 4"),
        ({"samples": 4}, 11, "'x.npy' has 3 samples, not 4"),
        ({"period": "15 ms"}, 9, "a spike comes 15 ms after its sample's beginning; period must be longer"),
        ({"start": "0 ms"}, 11, "start must be > 0 ms"),
        ({"model": "nodes.poisson"}, 11, "'nodes.poisson' is no encoder; use nodes.latency or nodes.rank"),
        ({"params": "{ window = '0 ms' }"}, 10, "window = 0 ms is out of bounds; it must be > 0 ms"),
        ({"array": "a"}, None, 'only a .npz holds several arrays'),
    ],
)  # fmt: skip
def test_a_mistake_has_its_line(keys, line, says):
    with pytest.raises(InputError) as caught:
        net(**keys)
    assert says in str(caught.value)
    if line is not None:
        assert str(caught.value).startswith(f"test.toml:{line}: ")


def test_a_file_that_is_not_there_has_its_line():
    with pytest.raises(InputError, match=r"test.toml:8: 'y.npy' cannot be read beside the config"):
        build(loads(config(file="y.npy"), "test.toml", {}))


def test_sources_are_asked_for_stretches_and_not_for_every_spike(monkeypatch):
    """A wall clock looks after each spike: 64 inputs of 30 µs each would not keep up."""
    from neurobus.node.source_core import SourceCore
    from neurobus.placement import place

    asked = []
    stamps = Latency.stamps

    def counted(p, key, dt_ns, k0, k1):
        asked.append((k0, k1))
        return stamps(p, key, dt_ns, k0, k1)

    monkeypatch.setattr(Latency, "stamps", staticmethod(counted))
    plan = place(net(), 4)
    core = SourceCore(plan.source_part(next(p.number for p in plan.processes if plan.is_source(p.number))))
    found, looks = [], 0
    while (step := core.look()) <= 20_000:
        found += core.advance(step).keys.tolist()
        looks += 1
    assert looks > 70 and len(asked) <= 4 * looks / 2
    again = SourceCore(core.part)
    assert again.advance(core.k).keys.tolist() == found
    again = SourceCore(core.part)
    again.restore({**again.dump(), "k": 7000})
    assert again.advance(core.k).keys.tolist() == [key for key in found if key >> 32 > 7000]
