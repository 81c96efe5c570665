"""What holds for every model shipped, and how models are found by their dotted names."""

from __future__ import annotations

import sys
from itertools import pairwise

import numpy as np
import pytest

from neurobus import units
from neurobus.model import Model, Param, Shown, Source, State, load, stream_key, uniforms

NEURONS = ["nodes.lif", "nodes.lif_delta"]
SOURCES = ["nodes.poisson", "nodes.metronome", "nodes.spikes", "nodes.latency", "nodes.rank"]


def defaults(model, k=3):
    return {name: np.full(k, param.value) for name, param in model.params().items()}


@pytest.mark.parametrize("name", NEURONS + SOURCES)
def test_parameters_are_declared_whole(name):
    for param_name, param in load(name).params().items():
        assert param.admits(param.value), param_name
        assert param.doc, param_name
        units.parse(f"1 {param.unit}", param.unit)
    assert load(name).check(defaults(load(name))) is None


@pytest.mark.parametrize("name", NEURONS)
def test_a_neuron_model_keeps_the_contract(name):
    model = load(name)
    assert issubclass(model, Model)
    assert model.potential in model.states()
    assert model.potential_zero is None or model.potential_zero in model.params()
    assert model.peak is None or model.peak in model.params()
    p = defaults(model)
    assert model.initial(p).keys() <= model.states().keys()
    c = model.prepare(p, 0.1)
    assert all(np.shape(value) == (3,) and np.all(np.isfinite(value)) for value in c.values())


@pytest.mark.parametrize("name", NEURONS)
def test_a_step_advances_the_state_and_says_who_fired(name):
    model = load(name)
    p = defaults(model)
    c = np.array(list(model.prepare(p, 0.1).values()))
    s, x = np.zeros((len(model.states()), 3)), np.zeros((len(model.receptors), 3))
    fired, key = np.full(3, 7, np.uint8), np.zeros(3, np.uint64)
    s[list(model.states()).index(model.potential), 1] = 1000.0
    assert model.step(0, s, c, x, np.zeros(3), key, fired) == 1
    assert fired.tolist() == [0, 1, 0]
    assert np.all(np.isfinite(s))


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_gives_the_same_spikes_in_pieces(name):
    source = load(name)
    assert issubclass(source, Source)
    p = {param_name: param.value for param_name, param in source.params().items()}
    p["times"] = np.array([1, 5, 500, 501, 3000], np.int64)
    p["shown"] = Shown(np.array([0, -1, 499, 7], np.int64), 1, 500, -1, 5)
    key = stream_key(1, "drive")
    whole = source.stamps(p, key, 100_000, 0, 4000)
    cuts = [0, 1, 499, 500, 2000, 4000]
    pieces = [source.stamps(p, key, 100_000, a, b) for a, b in pairwise(cuts)]
    assert len(whole) and whole[0] >= 1 and whole[-1] <= 4000 and np.all(np.diff(whole) > 0)
    assert np.array_equal(np.concatenate(pieces), whole)


def test_bounds_in_words():
    param = Param("1 ms", above=0, high=5)
    assert param.bounds() == "> 0 ms and <= 5 ms"
    assert [param.admits(v) for v in (0, 1e-9, 5, 5.1, float("nan"))] == [False, True, True, False, False]
    assert (param.unit, param.value) == ("ms", 1.0)
    assert (Param(3).unit, Param(3).value, Param("3").unit) == ("", 3.0, "")


def test_a_subclass_keeps_the_order_and_may_change_defaults():
    class Base(Model):
        a, b = Param("1 ms"), Param("2 ms")
        V = State("mV")

    class Derived(Base):
        a, c = Param("5 ms"), Param("3 ms")

    assert list(Derived.params()) == ["a", "b", "c"]
    assert Derived.params()["a"].value == 5.0
    assert list(Derived.states()) == ["V"]


def test_streams_differ_by_id_and_seed_and_not_by_order():
    keys = {stream_key(seed, name) for seed in (1, 2) for name in ("a", "b", "ab", "n1", "n10", "")}
    assert len(keys) == 12
    counters = np.arange(10_000)
    u = uniforms(stream_key(1, "a"), counters)
    assert np.array_equal(uniforms(stream_key(1, "a"), counters[::-1])[::-1], u)
    assert np.all((u >= 0) & (u < 1)) and abs(u.mean() - 0.5) < 0.01


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


MINE = "from neurobus.model import Model, Param\nclass Mine(Model):\n    tau = Param('1 ms')\n"


def test_a_users_own_model(folder):
    (folder / "own_one.py").write_text(MINE)
    (folder / "own_two.py").write_text(MINE + "class Other(Mine):\n    pass\n")
    assert load("own_one").__name__ == "Mine"
    assert load("own_two.Other").__name__ == "Other"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("no_such_file", None, "model 'no_such_file' does not import: No module named 'no_such_file'"),
        ("nodes.nope", None, "does not import: No module named 'nodes.nope'"),
        ("own_two", MINE + "class Other(Mine):\n    pass\n", "defines 2 models; name one as 'own_two.Class'"),
        ("own_none", "", "defines 0 models"),
        ("own_plain.Thing", "class Thing:\n    pass\n", "is no neurobus Model or Source"),
        ("own_broken", "1 +", "SyntaxError"),
        ("own_crash", "1 / 0", "ZeroDivisionError: division by zero"),
        ("own_needs", "import not_there_at_all", "No module named 'not_there_at_all'"),
    ],
)
def test_what_is_no_model_says_why(folder, name, text, says):
    if text is not None:
        (folder / f"{name.split('.')[0]}.py").write_text(text)
    with pytest.raises(ImportError) as caught:
        load(name)
    assert says in str(caught.value)
