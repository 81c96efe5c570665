"""What holds for every model in `nodes/`: a new file there is taken up and tested as it is."""

from __future__ import annotations

import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import get_args

import msgpack
import msgspec
import numpy as np
import pytest

from neurobus import units
from neurobus.config.schema import External, Process
from neurobus.errors import InputError
from neurobus.loading import load
from neurobus.model import Encoder, Model, Param, Shown, Source, State
from neurobus.network import Network
from neurobus.node.core import Core
from neurobus.placement import place
from neurobus.streams import Use
from neurobus.streams import key as key_of
from tests.helpers import Ensemble, classes_in, cores_of, lock_step, net, run_table, same, table

ROOT = Path(__file__).parents[2]
STEPS = 2000


# Helpers and synapse types are no models.
MODELS = classes_in(ROOT / "nodes", (Model, Source))
NEURONS = [name for name in MODELS if issubclass(load(name), Model)]
SOURCES = [name for name in MODELS if issubclass(load(name), Source)]


def defaults(model, k=3):
    return {name: np.full(k, param.value) for name, param in model.params().items()}


def test_the_shipped_models_are_found():
    assert {"nodes.lif", "nodes.adex", "nodes.hodgkin_huxley"} <= set(NEURONS)
    assert {"nodes.poisson", "nodes.metronome"} <= set(SOURCES)
    assert not {"nodes.rkf45", "nodes.noise"} & set(MODELS)


# -- declarations -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_parameters_are_declared_whole(name):
    for param_name, param in load(name).params().items():
        assert param.admits(param.value), param_name
        assert param.doc, param_name
        units.parse(f"1 {param.unit}", param.unit)
    assert load(name).check(defaults(load(name))) is None


@pytest.mark.parametrize("name", NEURONS)
def test_states_and_constants_are_declared_whole(name):
    model = load(name)
    assert sys.modules[model.__module__].__doc__, "the equations stand in the module's docstring"
    assert model.potential in model.states()
    assert all(state.doc for state in model.states().values())
    assert model.potential_zero is None or model.potential_zero in model.params()
    assert model.peak is None or model.peak in model.params()
    p = defaults(model)
    assert model.initial(p).keys() <= model.states().keys()
    for dt_ms in (0.025, 0.1, 1.0):
        c = model.prepare(p, dt_ms)
        assert all(np.shape(value) == (3,) and np.all(np.isfinite(value)) for value in c.values())


KINDS = {kind.node: kind for kind in get_args(Process) if kind.node}
"""Source → the kind of [[sources]] by which a config names it."""


def test_every_source_has_a_kind_and_every_key_of_it_a_parameter():
    encoders = {name for name in SOURCES if issubclass(load(name), Encoder)}
    assert set(SOURCES) - encoders == set(KINDS)
    for name, kind in KINDS.items():
        own = set(kind.__struct_fields__) - set(External.__struct_fields__)
        assert own >= set(load(name).params()), f"{name} has parameters that no key gives"


def needed(kind):
    """Keys that a source of this kind must have, at the defaults of its model."""
    params, required = load(kind.node).params(), [f.name for f in msgspec.structs.fields(kind) if f.required]
    return {key: f"{params[key].value:g} {params[key].unit}" for key in required if key in params}


def out_of_bounds():
    for name in NEURONS + [name for name in KINDS if load(name).params()]:
        for param_name, param in load(name).params().items():
            for bound, beyond in ((param.above, 0), (param.low, -1), (param.high, 1)):
                if bound is not None:
                    yield pytest.param(name, param_name, f"{bound + beyond:g} {param.unit}".strip(),
                                       id=f"{name} {param_name} {bound + beyond:g}")  # fmt: skip


@pytest.mark.parametrize(("name", "param_name", "value"), list(out_of_bounds()))
def test_a_parameter_out_of_bounds_is_one_clear_line(name, param_name, value):
    if name in NEURONS:
        written = f'"{value}"' if load(name).params()[param_name].unit else value
        text = table("neurons", id="a", model=name, params=f"{{ {param_name} = {written} }}")
    else:
        kind = KINDS[name]
        keys = {"id": "a", "kind": kind.__struct_config__.tag}
        text = table("sources", **keys, **(needed(kind) | {param_name: value}))
    with pytest.raises(InputError) as caught:
        net(text)
    line = str(caught.value)
    assert line.startswith("test.toml:") and "\n" not in line
    assert param_name in line
    assert load(name).params()[param_name].bounds() in line or name in SOURCES


# -- behaviour ----------------------------------------------------------------------------------------


def network_of(name: str, pA: float, weight: float, seed: int = 1) -> Network:
    """Five neurons of a model, each driven differently, that excite and inhibit each other, recorded."""
    unit, learns = load(name).weight_unit, "plastic" in load(name).receptors

    def synapses(pre: str, factor: float, **more: object) -> str:
        spread = f'{{ uniform = ["{0.5 * factor * weight} {unit}", "{factor * weight} {unit}"] }}'
        spread = spread if factor > 0 else f'"{factor * weight} {unit}"'.strip('"')
        return table(
            "synapses", pre=pre, post="n", weight=spread, delay='{ uniform = ["1 ms", "3 ms"] }', **more
        )

    return net(
        run_table(seed=seed, record_potentials='["n"]', potential_delta="1 mV")
        + table("groups", id="n", count=5, model=name)
        + "".join(
            table(
                "sources",
                kind="current",
                target=f"n.{i}",
                amplitude=f"{pA * (1 + 0.1 * i)} pA",
                start=f"{1 + i} ms",
                stop=f"{150 - i} ms",
            )
            for i in range(5)
            if pA
        )
        + table("sources", id="p", kind="poisson", count=2, rate="300 Hz")
        + synapses("p.0", 1.0, rule="all_to_all")
        + synapses("p.1", -0.3, rule="all_to_all")
        + synapses("n", 0.5, rule="fixed_probability", probability=0.5)
        + synapses("n", -0.2, rule="fixed_probability", probability=0.3)
        + (synapses("p.0", 0.5, rule="all_to_all", receptor="plastic") if learns else "")
        + graded(name, 0.1 * pA)
    )


def graded(name: str, weight: float) -> str:
    """A few graded synapses, so that what a model tells of its potential is put to the test as well."""
    model = load(name)
    unit = model.states()[model.potential].unit
    given = {"threshold": "-62 mV", "slope": "2 mV"} if unit else {"threshold": 0.2, "slope": 0.1}
    return table("graded", pre="n", post="n", rule="fixed_probability", probability=0.3, transfer="sigmoid",
                 weight=f"{-weight} {model.current_unit}", **given)  # fmt: skip


def of_classifiers(name: str) -> Network:
    """Five neurons of a model that fires and learns in a classroom only: samples are noise, teachers too."""

    def synapses(pre: str, post: str, receptor: str, weight: str = "0") -> str:
        if receptor not in load(name).receptors:
            return ""
        return table("synapses", pre=pre, post=post, rule="all_to_all", receptor=receptor, weight=weight,
                     delay='{ uniform = ["1 ms", "3 ms"] }')  # fmt: skip

    return net(
        run_table(seed=3, record_potentials='["n"]', potential_delta="1 mV")
        + table("groups", id="n", count=5, model=name, params="{ V_th = 2000 }")
        + table("sources", id="p", kind="poisson", count=20, rate="100 Hz")
        + table("sources", id="reset", kind="metronome", period="20 ms", start="0.5 ms")
        + table("sources", id="teacher", kind="metronome", period="40 ms", start="3 ms")
        + table("sources", id="learn", kind="metronome", period="20 ms", start="18 ms")
        + synapses("p", "n", "input", "{ choice = [20, 41, 60, 83, 100] }")
        + synapses("n", "n", "foreign")
        + synapses("n", "n", "younger")
        + synapses("teacher", "n", "teach")
        + synapses("learn", "n", "learn")
        + synapses("reset", "n", "reset")
    )


def of_volleys(name: str) -> Network:
    """Five neurons of a model that knows no currents: twenty inputs fire once each, again and again."""
    drawn = '{ uniform = ["1 mV", "3 mV"] }'
    return net(
        run_table(seed=3, record_potentials='["n"]', potential_delta="1 mV")
        + table("groups", id="n", count=5, model=name)
        + "".join(
            table("sources", id=f"p{i}", kind="metronome", period="35 ms", start=f"{1 + i % 7} ms")
            + table("synapses", pre=f"p{i}", post="n", rule="all_to_all", weight=drawn, delay="1 ms")
            for i in range(20)
        )
        + table("synapses", pre="n", post="n", rule="all_to_all", weight="-1 mV", delay="2 ms")
    )


@cache
def lively(name: str) -> Network:
    """A network of this model in which at least two neurons fire, by the weakest drive that does it."""
    if "teach" in load(name).receptors or "learn" in load(name).receptors:
        return of_classifiers(name)
    if load(name).current_unit == "":
        return network_of(name, 1.0, 0.1)
    if load(name).arrive is not None and load(name).weight_unit == "mV":
        return of_volleys(name)
    for pA in (0.0, 10.0, 100.0, 300.0, 1000.0, 3000.0):
        for weight in (1.0, 10.0, 100.0, 1000.0):
            network = network_of(name, pA, weight)
            (core,) = (c for c in cores_of(place(network, 5)) if isinstance(c, Core))
            emission = core.advance(STEPS)
            if len(set((emission.keys & 0xFFFFFFFF).tolist())) >= 2 and pA:
                return network
    pytest.fail(
        f"{name} fires with no current up to 3000 pA and no weight up to 1000: drive it by its defaults"
    )


@cache
def expected(name: str):
    return lock_step(lively(name), STEPS)


@pytest.mark.parametrize("name", NEURONS)
def test_the_networks_are_lively_and_their_numbers_finite(name):
    emission = expected(name)
    assert len(emission.keys) > 5
    assert np.all(np.isfinite(emission.sample_mv))


@pytest.mark.parametrize("name", NEURONS)
def test_the_same_seed_gives_the_same_spikes(name):
    assert same(lock_step(lively(name), STEPS), expected(name))


@pytest.mark.parametrize("per_process", [1, 2, 5])
@pytest.mark.parametrize("name", NEURONS)
def test_any_packing_gives_the_same_spikes(name, per_process):
    assert same(Ensemble(lively(name), per_process).run(STEPS).emission, expected(name))


@pytest.mark.parametrize("cut", [1, 777])
@pytest.mark.parametrize("name", NEURONS)
def test_a_snapshot_in_mid_run_goes_on_with_the_same_spikes(name, cut):
    first = Ensemble(lively(name), 2).run(cut)
    for p in range(len(first.cores)):
        assert first.schedule.take(p) == (b"", b"", b"", None)
    second = Ensemble(lively(name), 2, msgpack.unpackb(msgpack.packb(first.states()))).run(STEPS)
    for kind in ("keys", "sample_keys", "sample_mv"):
        both = np.concatenate([getattr(first.emission, kind), getattr(second.emission, kind)])
        assert np.array_equal(both, getattr(expected(name), kind)), kind


@pytest.mark.parametrize("name", NEURONS)
def test_looking_ahead_is_plain_stepping(name):
    """What a look foretells comes true at that step and not before, and looking changes nothing."""
    core, plain = (
        next(c for c in cores_of(place(lively(name))) if isinstance(c, Core)) for _ in range(2)
    )  # neuron 0 alone, hearing nothing
    told = 0
    for _ in range(40):
        step = core.look()
        foretold = core.acts
        assert not core.advance(step - 1)
        for k in range(plain.k, step - 1):
            assert not plain.advance(k + 1)
        told += foretold
        assert same(core.advance(step), plain.advance(step))
        assert not foretold or np.array_equal(core.buffer, plain.buffer)
    assert told > 5 or load(name).arrive is not None  # who lives by its synapses alone tells nothing


@pytest.mark.parametrize("name", NEURONS)
def test_only_a_model_that_says_so_is_random(name):
    model = load(name)
    if model.arrive is not None:
        pytest.skip("its step needs synapses; the packings above see to it")
    p = defaults(model)
    c = np.array(list(model.prepare(p, 0.1).values()))
    outcomes = []
    for key in (1, 2):
        s, fired = np.zeros((len(model.states()), 3)), np.zeros(3, np.uint8)
        for state, value in model.initial(p).items():
            s[list(model.states()).index(state)] = value
        x = np.ones((len(model.receptors), 3))
        with np.errstate(over="ignore"):  # hashes wrap round
            for k in range(20):
                model.step(k, s, c, x, np.full(3, 100.0), np.full(3, key, np.uint64), fired)
        outcomes.append(s)
    assert np.array_equal(*outcomes) != model.stochastic


@pytest.mark.parametrize("name", NEURONS)
def test_a_violent_input_leaves_numbers_behind(name):
    """±1e5 of its unit at once: it may fire as it likes, but time goes on and nothing is NaN."""
    core = next(c for c in cores_of(place(lively(name), 5)) if isinstance(c, Core))
    for n, weight in enumerate((1e5, -1e5)):
        core.poke(10 + 20 * n, 0, weight)
    core.advance(300)
    assert np.all(np.isfinite(core.state))


# -- sources ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_gives_the_same_spikes_in_pieces(name):
    source = load(name)
    assert issubclass(source, Source)
    p = {param_name: param.value for param_name, param in source.params().items()}
    p["times"] = np.array([1, 5, 500, 501, 3000], np.int64)
    p["shown"] = Shown(np.array([0, -1, 499, 7], np.int64), 1, 500, -1, 5)
    key = key_of(1, Use.SOURCE, "drive")
    whole = source.stamps(p, key, 100_000, 0, 4000)
    cuts = [0, 1, 499, 500, 2000, 4000]
    pieces = [source.stamps(p, key, 100_000, a, b) for a, b in pairwise(cuts)]
    assert len(whole) and whole[0] >= 1 and whole[-1] <= 4000 and np.all(np.diff(whole) >= 0)
    assert np.array_equal(np.concatenate(pieces), whole)
    others = [source.stamps(p, key_of(seed, Use.SOURCE, "drive"), 100_000, 0, 4000) for seed in (2, 3)]
    assert all(np.array_equal(other, whole) for other in others) != source.stochastic


@pytest.mark.parametrize("name", [name for name in SOURCES if issubclass(load(name), Encoder)])
def test_an_encoder_gives_a_time_or_none_for_each_value(name):
    encoder = load(name)
    x = np.array([[0.0, 0.5, 1.0, 255.0], [1.0, 1.0, 0.0, 0.25]])
    t_ms = encoder.encode(x, {key: param.value for key, param in encoder.params().items()})
    assert t_ms.shape == x.shape and np.all(t_ms >= 0) and np.isfinite(t_ms).any()
    assert np.array_equal(
        t_ms, encoder.encode(x, {key: param.value for key, param in encoder.params().items()})
    )


# -- how models are declared and found ----------------------------------------------------------------


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
        ("lif", None, "does not import: No module named 'lif'; did you mean 'nodes.lif'?"),
        ("node.Adex", None, "did you mean 'nodes.adex'?"),
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
