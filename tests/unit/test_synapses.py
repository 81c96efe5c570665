"""Synapses with memory: any packing gives the same spikes and the same weights, looking ahead touches
nothing, a dumped core goes on as if nothing had been, and what a config says of them is checked."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurobus.errors import InputError
from neurobus.loading import load_synapse
from neurobus.network import Network
from neurobus.node.core import Core
from neurobus.placement import place
from neurobus.wire.bus import NEVER
from tests.helpers import (
    SYNAPSE_TYPES,
    Ensemble,
    in_order,
    lock_step,
    net,
    run_table,
    same,
    synapses_now,
    table,
)

STEPS = 1500

OWNER = '''
"""A chip in small: each input leaves a trace, LEARN moves its weight towards the trace, firing lowers all."""
import numpy as np
from neurobus.model import Model, Param, State, SynapseState

class Chip(Model):
    threshold = Param(20.0, doc="where it fires")
    V = State("mV", doc="sum of what came")
    n = State(doc="steps since the last LEARN")
    T = SynapseState(doc="step of the last spike, counted from the last LEARN")
    receptors = ("input", "learn")
    by_sign = False
    weight_unit = ""

    def prepare(p, dt_ms):
        return {"threshold": p["threshold"]}

    def arrive(k, i, receptor, j, w, z, s, c, x):
        x[receptor, i] += w[j]
        if receptor == 0:
            z[0, j] = 1.0 + s[1, i] % 32.0
            w[j] += 0.25 * (i + 1.0) / (i + 1.0)

    def step(k, s, c, x, I, key, fired, at, receptor, w, z):
        V, n, hits = s[0], s[1], 0
        for i in range(V.size):
            V[i] = V[i] * 0.9375 + x[0, i]
            n[i] += 1.0
            fired[i] = V[i] >= c[0, i]
            if fired[i]:
                V[i] = 0.0
                hits += 1
                for j in range(at[i], at[i + 1]):
                    if receptor[j] == 0:
                        w[j] -= 0.5
            if x[1, i] > 0.0:
                n[i] = 0.0
                for j in range(at[i], at[i + 1]):
                    if z[0, j] > 0.0:
                        w[j] += (z[0, j] - w[j]) / 16.0
                        z[0, j] = 0.0
        return hits
'''


@pytest.fixture(scope="module", autouse=True)
def chip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    (folder / "own_chip.py").write_text(OWNER)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


def in_snapshots(ensemble: Ensemble) -> np.ndarray:
    """Weights by index in the network, out of the dumps of all cores."""
    found = np.full(ensemble.network.synapses.pre.size, np.nan)
    for process, core in zip(ensemble.plan.processes, ensemble.cores, strict=True):
        if isinstance(core, Core):
            synapses, w = ensemble.plan.weights_in(process.number, core.dump())
            found[synapses] = w
            now, net = core.weights(), ensemble.network
            order = synapses[np.argsort(net.synapses.post[synapses], kind="stable")]
            assert now.pre.tolist() == net.synapses.pre[order].tolist()
            assert now.post.tolist() == net.synapses.post[order].tolist()
            assert now.delay.tolist() == net.synapses.delay[order].tolist()
            assert now.weight.tolist() == found[order].tolist()
    return found


LIVELY = {
    "nodes.stdp_dopamine": 'A_plus = "0.5 mV", A_minus = "0.6 mV", W_max = "5 mV", tau_c = "60 ms"',
    "nodes.stdp_consolidated": 'W_max = "5 mV", lambda_ = 0.1, tau_fast = "30 ms", tau_slow = "90 ms"',
    "nodes.stdp_scaled": 'W_max = "5 mV", tau_a = "50 ms", beta = "200 mHz", a_goal = "30 Hz"',
    "nodes.stdp_triplet": 'W_max = "5 mV", A3_plus = "0.1 mV", A2_minus = "0.1 mV"',
    "nodes.tsodyks": 'tau_rec = "90 ms", tau_fac = "40 ms"',
}
OTHERS = {name: LIVELY.get(name, "") for name in SYNAPSE_TYPES if name != "nodes.stdp"}
"""All types that are shipped, and parameters by which they move in a second."""


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Neurons with synapses of several kinds, neurons that own theirs, and what drives them."""
    n = draw(st.integers(1, 5))
    shortest = draw(st.sampled_from(["0.1 ms", "1 ms", "1.5 ms"]))
    delay = draw(st.sampled_from([shortest, f'{{ uniform = ["{shortest}", "4 ms"] }}']))
    mu = draw(st.sampled_from([0.0, 0.4, 1.0]))
    pair = {"synapse": "nodes.stdp", "delay": delay}
    params = f'W_max = "5 mV", lambda_ = 0.1, mu_plus = {mu}, mu_minus = {mu}'
    drive = draw(st.sampled_from([0, 210, 500]))
    tables = [
        run_table(seed=draw(st.integers(0, 1000))),
        table("groups", id="e", count=n, model="nodes.lif_delta",
              params=f'{{ tau_m = "20 ms", t_ref = "0.5 ms", I_e = "{drive} pA" }}'),
        table("groups", id="chip", count=draw(st.integers(1, 3)), model="own_chip"),
        table("sources", id="p", kind="poisson", count=4, rate="80 Hz"),
        table("sources", id="learn", kind="metronome", period="17 ms"),
        table("synapses", pre="p", post="e", rule="all_to_all", weight='{ uniform = ["1 mV", "5 mV"] }',
              params=f"{{ {params} }}", **pair),
        table("synapses", pre="p", post="chip", rule="all_to_all", weight=4, delay=delay),
        table("synapses", pre="learn", post="chip", rule="all_to_all", weight=1, delay=shortest,
              receptor="learn"),
        *(table("synapses", pre="p", post="e", rule="all_to_all", weight="1 mV", delay=delay, synapse=synapse,
                params=f"{{ {params} }}") for synapse, params in OTHERS.items()),
        table("synapses", pre="learn", post="e", rule="all_to_all", weight=5, delay=delay,
              receptor="dopamine"),
    ]  # fmt: skip
    optional = [
        table("synapses", pre="e", post="e", rule="all_to_all", weight="2 mV", allow_self="true",
              params=f'{{ {params}, tau_minus = {{ uniform = ["10 ms", "40 ms"] }} }}', **pair),
        table("synapses", pre="p", post="e", rule="all_to_all", weight="-0.5 mV", delay="2 ms"),
        table("synapses", pre="chip", post="chip", rule="all_to_all", weight=-3, delay=shortest),
        table("synapses", pre="e", post="chip", rule="all_to_all", weight=2, delay=delay),
    ]  # fmt: skip
    return net("".join(tables + [text for text in optional if draw(st.booleans())]))


@settings(max_examples=25, deadline=None)
@given(networks(), st.integers(0, 1 << 30))
def test_any_packing_gives_the_same_spikes_and_weights(network, seed):
    expected = lock_step(network, STEPS)
    found, final = [], []
    for per_process in (1, 2, len(network.ids)):
        ensemble = Ensemble(network, per_process, shuffle=random.Random(seed)).run(STEPS)
        assert same(ensemble.emission, expected)
        found.append(synapses_now(ensemble.cores))
        assert sum(core.late for core in ensemble.cores) == 0
        final.append(in_snapshots(ensemble))
    assert np.array_equal(final[0], final[1]) and np.array_equal(final[0], final[2])
    assert found[0] == found[1] == found[2]
    assert len(found[0]) > 0


def test_the_weights_above_move():
    network = net(NETWORK)
    ensemble = Ensemble(network)
    before = synapses_now(ensemble.cores)
    after = synapses_now(ensemble.run(STEPS).cores)
    moved = [key for key in before if before[key] != after[key]]
    assert np.sum(ensemble.emission.keys & 0xFFFFFFFF < network.n_neurons) > 20
    assert len(moved) == len(before) - 2 == 5 * 5, "those of LEARN stay"


NETWORK = "".join([
    run_table(seed=5),
    table("groups", id="e", count=3, model="nodes.lif_delta", params='{ tau_m = "20 ms", I_e = "150 pA" }'),
    table("groups", id="chip", count=2, model="own_chip"),
    table("sources", id="p", kind="poisson", count=5, rate="60 Hz"),
    table("sources", id="learn", kind="metronome", period="17 ms"),
    table("synapses", pre="p", post="e", rule="all_to_all", weight="4 mV", delay="1.5 ms",
          synapse="nodes.stdp", params='{ W_max = "6 mV" }'),
    table("synapses", pre="p", post="chip", rule="all_to_all", weight=4,
          delay='{ uniform = ["1 ms", "3 ms"] }'),
    table("synapses", pre="learn", post="chip", rule="all_to_all", weight=1, delay="1 ms", receptor="learn"),
])  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(networks(), st.integers(1, STEPS - 1), st.sampled_from([1, 3]))
def test_a_run_in_two_pieces_is_the_run_in_one(network, cut, per_process):
    whole = Ensemble(network, per_process).run(STEPS)
    first = Ensemble(network, per_process).run(cut)
    second = Ensemble(network, per_process, msgpack.unpackb(msgpack.packb(first.states()))).run(STEPS)
    assert same(in_order([first.emission, second.emission]), whole.emission)
    assert synapses_now(second.cores) == synapses_now(whole.cores)


@settings(max_examples=15, deadline=None)
@given(networks(), st.lists(st.tuples(st.integers(1, 60), st.booleans()), min_size=3, max_size=12))
def test_look_says_exactly_when_advance_emits(network, moves):
    """And touches no weight: the committed core goes on as a twin that never looked."""
    for number, process in enumerate(place(network, 2).processes):
        plan = place(network, 2)
        if plan.is_source(number):
            continue
        core, blind = Core(plan.neuron_part(number)), Core(plan.neuron_part(number))
        heard = network.synapses.pre[np.isin(network.synapses.post, process.members)].tolist()
        for n, (length, hears) in enumerate(moves):
            if hears:
                keys = np.array([core.k + 1 + n % 5 << 32 | source for source in heard[n % 3 :: 3]], np.int64)
                core.admit(keys)
                blind.admit(keys)
            step, acts = core.look(), core.acts
            twin = Core(plan.neuron_part(number))
            twin.restore(core.dump())
            assert not twin.advance(min(step - 1, core.k + 2000))
            assert not acts or twin.advance(step).first == step
            assert same(core.advance(core.k + length), blind.advance(blind.k + length))
            core.settle()
            blind.settle()
            assert np.array_equal(core.buffer, blind.buffer)
            assert core.deliveries == blind.deliveries


def test_rest_jumps_exactly():
    """A neuron with plastic synapses comes to rest, and wakes as one that made every step."""
    text = run_table() + table("groups", id="e", count=2, model="nodes.lif_delta") + table(
        "synapses", pre="e.0", post="e.1", weight="16 mV", delay="1.5 ms", synapse="nodes.stdp",
        params='{ W_max = "20 mV", mu_plus = 0.0 }')  # fmt: skip
    plan = place(net(text))
    quick, slow = Core(plan.neuron_part(1)), Core(plan.neuron_part(1))
    emitted = [[], []]
    for stamp in (0, 100_000, 100_007, 100_300, 400_000):
        emitted[0].append(quick.advance(stamp))
        for k in range(slow.k, stamp, 997):
            emitted[1].append(slow.advance(min(k + 997, stamp)))
        for core in (quick, slow):
            core.admit(np.array([stamp + 1 << 32], np.int64))
        if stamp in (0, 100_300):
            for n in range(60):
                step = quick.look(again=n > 0)
                if step == NEVER:
                    break
                if quick.acts:
                    emitted[0].append(quick.advance(step))
            assert step == NEVER
    for out, core in zip(emitted, (quick, slow), strict=True):
        out.append(core.advance(600_000))
    assert same(in_order(emitted[0]), in_order(emitted[1]))
    assert len(in_order(emitted[0]).keys) == 4
    quick.settle()
    slow.settle()
    assert np.array_equal(quick.buffer, slow.buffer)
    assert quick.deliveries == slow.deliveries == 5
    assert quick.weights().weight[0] != 16.0


def test_a_late_spike_acts_when_it_can_and_is_counted():
    text = run_table() + table("groups", id="e", count=2, model="nodes.lif_delta") + table(
        "synapses", pre="e.0", post="e.1", weight="16 mV", delay="1.5 ms", synapse="nodes.stdp",
        params='{ W_max = "20 mV" }')  # fmt: skip
    for swift in (False, True):
        core = Core(place(net(text)).neuron_part(1))
        core.advance(100)
        late = np.array([1 << 32, 101 << 32], np.int64)
        if swift:
            emission, _ = core.duty(130, late.tobytes(), b"", b"", None)
        else:
            core.admit(late)
            emission = core.advance(130)
        assert core.late == 1
        assert core.deliveries == 2
        assert emission.first == 101


# -- what a config says -----------------------------------------------------------------------------------

HEAD = run_table() + "".join(
    table("groups", id=id, count=2, model=model) for id, model in (("e", "nodes.lif"), ("c", "own_chip"))
)
ONE = {"pre": "e.0", "post": "e.1", "weight": "10 pA", "delay": "1 ms"}


STDP = {"synapse": "nodes.stdp"}
TO_CHIP = {"post": "c.1", "weight": 1}


@pytest.mark.parametrize(("keys", "says"), [
    ({"receptor": "inn"}, "'e.1' has no receptor 'inn'; it has ex, in"),
    ({"synapse": "stdp"}, "does not import: No module named 'stdp'; did you mean 'nodes.stdp'?"),
    ({"synapse": "nodes.nope"}, "does not import: No module named 'nodes.nope'"),
    ({"synapse": "nodes.lif"}, "'nodes.lif' is no synapse type"),
    ({"params": "{ tau_plus = \"3 ms\" }"}, "'params' goes with a synapse type; name it as synapse = \"…\""),
    ({**STDP, "params": '{ tau_pls = "3 ms" }'}, "nodes.stdp has no parameter 'tau_pls'; did you mean 'tau_"),
    ({**STDP, "params": '{ tau_plus = "0 ms" }'}, "tau_plus = 0 ms is out of bounds; it must be > 0 ms"),
    ({**STDP, "params": '{ W_max = "30 mV" }'}, "'30 mV' is voltage; this must be current"),
    ({**STDP, "params": '{ W_max = "-30 pA" }'}, "W_max must not be 0 and have the sign of the weights"),
    ({**STDP, **TO_CHIP}, "'c.1' is of a model that owns its synapses; they cannot be nodes.stdp"),
    ({**TO_CHIP, "receptor": "learnt"}, "'c.1' has no receptor 'learnt'; it has input, learn"),
])  # fmt: skip
def test_a_mistake_is_said_in_one_line(keys, says):
    with pytest.raises(InputError) as caught:
        net(HEAD + table("synapses", **{**ONE, **keys}))
    assert says in str(caught.value)
    assert str(caught.value).startswith("test.toml:1")


OWN = """
import math
from neurobus.model import Model, Param, State, Synapse

{fading}
class Silent(Synapse):
    pass

class Odd(Synapse):
    dendritic, modulators = True, ("dopamine",)
    def arrive(t, back, j, w, z, c, g, y):
        return w[j]
"""


def test_a_type_of_ones_own_as_the_readme_has_it(chip):
    """Built from nodes/README.md, and what its spikes come to, by hand."""
    readme = (Path(__file__).parents[2] / "nodes" / "README.md").read_text()
    fading = readme.partition("```python\n")[2].partition("```")[0]
    (chip / "own_types.py").write_text(OWN.format(fading=fading))
    own = {**ONE, "params": "{ loss = 0.5 }"}
    network = net(HEAD + table("synapses", **own, synapse="own_types.Fading"))
    assert network.kinds.params[0]["loss"].tolist() == [0.5]
    type_ = load_synapse("own_types.Fading")
    z, w, c = np.zeros((2, 1)), np.array([8.0]), np.array([0.5, 500.0])
    acts = [type_.arrive(t, t, 0, w, z, c, np.zeros(0), np.zeros(0)) for t in (1.0, 1.0, 1.0, 1e6)]
    assert acts == pytest.approx([8, 4, 2, 8])
    for name, says in (("Silent", "has no 'arrive'"), ("Odd", "cannot have a dendritic delay")):
        with pytest.raises(InputError, match=says):
            net(HEAD + table("synapses", **ONE, synapse=f"own_types.{name}"))


def test_a_model_that_is_a_synapse_type():
    with pytest.raises(InputError, match="is a synapse type; it stands as synapse"):
        net(table("neurons", id="a", model="nodes.stdp"))


def test_receptors_by_name_and_by_sign():
    text = "".join([
        HEAD,
        table("synapses", **ONE),
        table("synapses", **{**ONE, "weight": "-10 pA"}),
        table("synapses", **{**ONE, "weight": "-10 pA"}, receptor="ex"),
        table("synapses", **{**ONE, "weight": "10 pA"}, receptor="in"),
        table("synapses", **{**ONE, "weight": -10, "post": "c.0"}),
    ])  # fmt: skip
    network = net(text)
    assert network.synapses.receptor[network.synapses.post == 1].tolist() == [0, 1, 0, 1]
    assert network.synapses.receptor[network.synapses.post == 2].tolist() == [0]
    part = place(network, 4).neuron_part(0)
    assert part.target.tolist() == [1, 3, 1, 3]
