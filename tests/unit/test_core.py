"""The core and the conductor's rule together, in one process: any packing and any order of answers give
the same spikes, looking ahead is exact, rest is exact, and a dumped core goes on as if nothing had been."""

from __future__ import annotations

import random

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurobus.node.core import Core
from neurobus.node.interface import Emission, joined
from neurobus.node.setup import ring_slots
from neurobus.node.source_core import SourceCore
from neurobus.placement import place
from neurobus.wire.bus import NEVER
from tests.helpers import Ensemble, cores_of, in_order, lock_step, net, run_table, same, table
from tests.naive import naive_keys

STEPS = 600


# -- random networks ----------------------------------------------------------------------------------


@st.composite
def networks(draw: st.DrawFn, electrical: bool = True):
    """Small lively networks of both models, and pokes into them as (step, neuron, weight)."""
    n_exp, n_delta = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    shortest = draw(st.sampled_from(["0.1 ms", "0.5 ms", "1 ms", "1.5 ms"]))
    delay = draw(st.sampled_from([shortest, f'{{ uniform = ["{shortest}", "4 ms"] }}']))
    weight = draw(st.sampled_from([80, 400, 1500]))
    drive = draw(st.sampled_from(["0 pA", "370 pA", "400 pA", "600 pA"]))
    start = f'V_m = {{ uniform = ["-70 mV", "-56 mV"] }}, I_e = {{ uniform = ["0 pA", "{drive}"] }}'
    params = f"{{ {start} }}" if drive != "0 pA" else "{}"
    kept = {"record_potentials": '["e"]'} if draw(st.booleans()) else {}
    delta = draw(st.sampled_from(["0 mV", "0.5 mV", "3 mV"]))
    told = {"junction_delta": draw(st.sampled_from(["0 mV", "0.05 mV", "2 mV"]))}
    if draw(st.booleans()):
        told["potential_delay"] = draw(st.sampled_from(["0.1 ms", "0.4 ms", "1.2 ms", "6 ms"]))
    tables = [
        run_table(seed=draw(st.integers(0, 1000)), potential_delta=delta, **kept, **told),
        table("groups", id="e", count=n_exp, model="nodes.lif", params=params),
        table("groups", id="d", count=n_delta, model="nodes.lif_delta", params=params),
    ]
    optional = [
        table("sources", id="p", kind="poisson", count=2, rate="200 Hz")
        + table("synapses", pre="p", post="e", rule="all_to_all", weight=f"{weight} pA", delay=delay),
        table("sources", id="m", kind="metronome", period="11 ms", start="0.1 ms")
        + table("synapses", pre="m", post="d", rule="all_to_all", weight="9 mV", delay=delay),
        table("sources", kind="background", target="e", rate="1500 Hz", weight="60 pA"),
        table("sources", kind="current", target="e.0", amplitude="500 pA", start="7 ms", stop="31.3 ms"),
        table("electrical", a="e.0", b="d.0", conductance="8 nS"),
        table("electrical", a=f"e.{n_exp - 1}", b="d.0", conductance="5 nS") if n_exp > 1 else "",
    ]
    for pre, post, w in (("e", "e", f"{weight} pA"), ("e", "d", "2 mV"), ("d", "e", f"-{weight} pA")):
        rule = {"rule": "fixed_probability", "probability": 0.6, "allow_self": "true"}
        optional.append(table("synapses", pre=pre, post=post, weight=w, delay=delay, **rule))
    tables += [
        text for text in optional if draw(st.booleans()) and (electrical or "[[electrical]]" not in text)
    ]
    poke = st.tuples(
        st.integers(0, STEPS - 1), st.sampled_from(["e.0", "d.0"]), st.sampled_from([3e3, 20, -50])
    )
    return net("".join(tables)), draw(st.lists(poke, max_size=3))


@settings(max_examples=40, deadline=None)
@given(networks(), st.integers(0, 1 << 30))
def test_any_packing_gives_the_same_spikes(drawn, seed):
    network, pokes = drawn
    expected = lock_step(network, STEPS, pokes)
    for per_process in (1, 2, 7, len(network.ids)):
        ensemble = Ensemble(network, per_process, shuffle=random.Random(seed))
        for poke in pokes:
            ensemble.poke(*poke)
        assert same(ensemble.run(STEPS).emission, expected)


@settings(max_examples=12, deadline=None)
@given(networks(electrical=False), st.sampled_from([1, 3]))
def test_spikes_are_those_of_every_update_of_every_neuron_in_plain_python(drawn, per_process):
    network, pokes = drawn
    expected = naive_keys(network, STEPS, pokes)
    assert lock_step(network, STEPS, pokes).keys.tolist() == expected
    ensemble = Ensemble(network, per_process)
    for poke in pokes:
        ensemble.poke(*poke)
    assert ensemble.run(STEPS).emission.keys.tolist() == expected


def test_the_networks_above_are_lively():
    """A property over silent networks would say nothing."""
    spikes = samples = 0

    @settings(max_examples=30, deadline=None, database=None, derandomize=True)
    @given(networks())
    def count(drawn):
        nonlocal spikes, samples
        emission = lock_step(drawn[0], STEPS, drawn[1])
        spikes, samples = spikes + len(emission.keys), samples + len(emission.sample_keys)

    count()
    assert spikes > 200
    assert samples > 200


@settings(max_examples=25, deadline=None)
@given(networks(), st.integers(1, STEPS - 1), st.sampled_from([1, 3]))
def test_a_run_in_two_pieces_is_the_run_in_one(drawn, cut, per_process):
    """Snapshots of all processes at one step, through msgpack, as `--resume` takes them."""
    network, pokes = drawn
    whole = lock_step(network, STEPS, pokes)
    first = Ensemble(network, per_process)
    for poke in pokes:
        if poke[0] < cut:
            first.poke(*poke)
    first.run(cut)
    # A snapshot must be taken with nothing under way between processes: it is in their inboxes.
    for p in range(len(first.cores)):
        assert first.schedule.take(p) == (b"", b"", b"", None)
    second = Ensemble(network, per_process, msgpack.unpackb(msgpack.packb(first.states())))
    for poke in pokes:
        if poke[0] >= cut:
            second.poke(*poke)
    second.run(STEPS)
    assert same(in_order([first.emission, second.emission]), whole)


# -- looking ahead ------------------------------------------------------------------------------------


def twin(core: Core) -> Core:
    """Another core in the same state."""
    other = Core(core.part)
    other.restore(core.dump())
    return other


@settings(max_examples=40, deadline=None)
@given(networks(), st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=3, max_size=20))
def test_look_says_exactly_when_advance_emits(drawn, moves):
    network, _ = drawn
    plan = place(network, len(network.ids))
    for number in range(len(plan.processes)):
        if plan.is_source(number):
            continue
        core = Core(plan.neuron_part(number))
        again = False
        for length, hears in moves:
            if hears:
                core.admit(
                    np.array(
                        [core.k + 1 << 32 | int(network.synapses.pre[0]) if len(network.synapses.pre) else 0],
                        np.int64,
                    )
                )
                again = False
            step = core.look(again)
            acts, again = core.acts, True
            assert step > core.k
            probe = twin(core)
            assert not probe.advance(min(step - 1, core.k + 3000))
            if acts:
                emission = probe.advance(step)
                assert emission.first == step
                assert set((emission.keys >> 32).tolist()) <= {step}
            core.advance(core.k + length)


def test_look_leaves_the_committed_state_alone():
    core = one_core('[[neurons]]\nid = "a"\nmodel = "nodes.lif"\nparams = { I_e = "500 pA" }')
    before = core.buffer.copy()
    assert core.look() > 0
    assert np.array_equal(core.buffer, before)
    assert (core.k, core.deliveries) == (0, 0)


def test_a_longer_look_reaches_the_spike_a_short_one_does_not():
    core = one_core('[[neurons]]\nid = "a"\nmodel = "nodes.lif"\nparams = { I_e = "375.001 pA" }')
    steps = [core.look(again=n > 0) for n in range(8)]
    assert core.acts
    assert steps == sorted(steps)
    assert core.advance(steps[-1]).first == steps[-1]


def test_nobody_looks_beyond_the_limit():
    core = one_core('[[neurons]]\nid = "a"\nmodel = "nodes.lif"\nparams = { I_e = "400 pA" }')
    assert core.look(limit=5) == 6
    assert not core.acts


def test_large_cores_do_not_look_ahead():
    core = one_core('[[groups]]\nid = "a"\ncount = 33\nmodel = "nodes.lif"\nparams = { I_e = "500 pA" }', 33)
    assert (core.looks_ahead, core.look(), core.acts) == (False, 1, False)


# -- rest ---------------------------------------------------------------------------------------------


def one_core(text: str, per_process: int = 1) -> Core:
    core = cores_of(place(net(text), per_process))[0]
    assert isinstance(core, Core)
    return core


PAIR = """
[[groups]]
id = "a"
count = 2
model = "{model}"
params = {{ V_m = "-60 mV" }}
[[synapses]]
pre = "a.0"
post = "a.1"
weight = "{weight}"
delay = "1.5 ms"
"""


def settle(core: Core) -> list[Emission]:
    """Emit what the core will by itself, until it is at rest for good (or clearly never will be)."""
    emitted = []
    for _ in range(500):
        for n in range(8):
            if (step := core.look(again=n > 0)) == NEVER:
                return emitted
            if core.acts:
                emitted.append(core.advance(step))
                break
    pytest.fail("never at rest")


@pytest.mark.parametrize(("model", "weight"), [("nodes.lif", "900 pA"), ("nodes.lif_delta", "14.9 mV")])
@pytest.mark.parametrize("gap", [False, True])
def test_rest_jumps_exactly(model, weight, gap):
    """A core that rests and wakes against one that makes every step."""
    text = PAIR.format(model=model, weight=weight)
    if gap:
        text += '[[electrical]]\na = "a.0"\nb = "a.1"\nconductance = "2 nS"\n'
    plan = place(net(text))
    quick, slow = Core(plan.neuron_part(1)), Core(plan.neuron_part(1))
    at = [0, 200_000, 200_010, 200_020, 600_000, 600_001]
    quick_out, slow_out = [], []
    for stamp in at:
        quick_out.append(quick.advance(stamp))
        for k in range(slow.k, stamp, 997):
            slow_out.append(slow.advance(min(k + 997, stamp)))
        for core in (quick, slow):
            core.admit(np.array([stamp + 1 << 32], np.int64))
            if gap:
                core.admit_samples(np.array([stamp + 1 << 32], np.int64), np.array([-70.0 + stamp % 7]))
        if stamp in (0, 200_020):
            quick_out += settle(quick)
    quick_out += settle(quick)
    quick_out.append(quick.advance(900_000))
    slow_out.append(slow.advance(900_000))
    assert same(joined(quick_out), joined(slow_out))
    assert np.array_equal(quick.buffer, slow.buffer)
    assert quick.deliveries == slow.deliveries == len(at)


def test_a_resting_core_takes_pokes():
    core = one_core(PAIR.format(model="nodes.lif", weight="1 pA"))
    settle(core)
    core.advance(1_000_000)
    assert core.poke(1_000_000, 0, 1e5)
    step = core.look()
    assert core.acts and step == 1_000_002, "the current acts on V one update after it arrived"
    assert core.advance(step).keys.tolist() == [step << 32]


@pytest.mark.parametrize("extra", [
    '[[sources]]\nkind = "background"\ntarget = "a"\nrate = "0.001 Hz"\nweight = "1 pA"\n',
    '[[sources]]\nkind = "current"\ntarget = "a"\namplitude = "1000 pA"\nstart = "90 s"\n',
])  # fmt: skip
def test_what_will_still_act_is_not_at_rest(extra):
    core = one_core('[[neurons]]\nid = "a"\nmodel = "nodes.lif"\n' + extra)
    for n in range(8):
        step = core.look(again=n > 0)
        assert step < NEVER
        core.advance(step)


def test_a_neuron_below_its_threshold_comes_to_rest():
    core = one_core('[[neurons]]\nid = "a"\nmodel = "nodes.lif"\nparams = { I_e = "374 pA", V_m = "-60 mV" }')
    assert settle(core) == []
    core.advance(10_000_000)
    assert core.potential_mv() == pytest.approx(-70 + 15 * 374 / 375)


@pytest.mark.parametrize("at", [0, 3, 60, 150, 199, 5000, 30_000])
def test_a_potential_ahead_of_the_committed_step_is_what_advance_finds(at):
    """Before any look, after looks that end at rest, and at rest with an input under way."""
    params = '{ I_e = "374 pA", V_m = "-60 mV" }'
    core = one_core(f'[[neurons]]\nid = "a"\nmodel = "nodes.lif"\nparams = {params}')
    for settled in (False, True, True):
        if settled:
            settle(core)
        other = twin(core)
        other.advance(core.k + at)
        committed = core.dump()
        seen = core.potential_mv(core.k + at)
        assert seen == pytest.approx(other.potential_mv(), abs=1e-9)
        assert core.dump() == committed
        core.poke(core.k + 100, int(core.part.index[0]), -300.0)


def test_a_potential_is_not_foretold_beyond_the_next_spike():
    core = one_core('[[neurons]]\nid = "a"\nmodel = "nodes.lif"\nparams = { I_e = "500 pA" }')
    spike = core.look(through=1000)
    assert core.acts
    assert core.potential_mv(spike - 1) > -55.5
    assert core.potential_mv(spike + 400) == core.potential_mv(spike) == -70.0
    assert core.k == 0


# -- inputs, late and odd -------------------------------------------------------------------------------


def target(text: str = PAIR.format(model="nodes.lif", weight="900 pA")) -> Core:
    """The postsynaptic neuron of a pair with a delay of 15 steps."""
    return Core(place(net(text)).neuron_part(1))


def test_late_spikes_act_at_once_and_are_counted():
    on_time, late = target(), target()
    on_time.advance(15)
    on_time.admit(np.array([1 << 32], np.int64))
    late.advance(100)
    late.admit(np.array([1 << 32, 101 << 32], np.int64))
    assert (on_time.late, late.late) == (0, 1)
    late.advance(130)
    assert late.deliveries == 2


def coupled_target():
    return target(
        PAIR.format(model="nodes.lif", weight="1 pA")
        + '[[electrical]]\na = "a.0"\nb = "a.1"\nconductance = "2 nS"\n'
    )


def test_a_late_potential_is_counted():
    core = coupled_target()
    core.advance(100)
    core.admit_samples(np.array([50 << 32], np.int64), np.array([-20.0]))
    assert core.late == 1


def test_what_waits_is_not_counted_late_again():
    """Five late potentials and one in time, told one by one while the core stands still."""
    core = coupled_target()
    core.advance(100)
    for n, stamp in enumerate((50, 51, 99, 52, 53, 54)):
        core.admit_samples(np.array([stamp << 32], np.int64), np.array([-20.0 - n]))
        core.admit(np.array([stamp << 32], np.int64))
    assert core.late == 10
    core.advance(130)
    assert core.late == 10


def test_a_late_poke_acts_at_once_and_is_counted():
    core = target()
    core.advance(100)
    assert not core.poke(99, 1, 1e5)
    assert core.poke(100, 1, 1e5)
    assert core.late == 1
    assert core.advance(103).first == 102


def test_pokes_of_one_step_sum_in_one_order():
    outcomes = set()
    for weights in ([0.1, 0.2, 0.3], [0.3, 0.2, 0.1]):
        core = target()
        for weight in weights:
            core.poke(10, 1, weight)
        core.advance(50)
        outcomes.add(core.buffer.tobytes())
    assert len(outcomes) == 1


def test_spikes_in_any_order_and_any_batches():
    rng = random.Random(3)
    stamps = [rng.randrange(1, 400) for _ in range(200)]
    outcomes = set()
    for batch in (200, 7, 1):
        rng.shuffle(stamps)
        core = target()
        for n in range(0, len(stamps), batch):
            core.admit(np.array(stamps[n : n + batch], np.int64) << 32)
        emission = core.advance(500)
        outcomes.add((core.buffer.tobytes(), emission.keys.tobytes(), core.deliveries))
    assert len(outcomes) == 1


def test_advance_never_goes_back():
    core = target()
    core.advance(100)
    assert not core.advance(50)
    assert core.k == 100
    source = SourceCore(
        place(net('[[sources]]\nid = "m"\nkind = "metronome"\nperiod = "1 ms"')).source_part(0)
    )
    source.advance(100)
    assert not source.advance(50)


def test_a_snapshot_of_another_network_is_refused():
    with pytest.raises(ValueError, match="another network"):
        target().restore(one_core('[[groups]]\nid = "a"\ncount = 3\nmodel = "nodes.lif"', 3).dump())


def test_resume_at_drops_what_was_under_way_and_keeps_the_rest():
    text = PAIR.format(model="nodes.lif", weight="900 pA")
    text += '[[sources]]\nkind = "current"\ntarget = "a"\namplitude = "500 pA"\nstart = "5 ms"\n'
    core = target(text)
    core.advance(10)
    core.admit(np.array([11 << 32], np.int64))
    mv = core.potential_mv().tolist()
    core.resume_at(1000)
    assert core.k == 1000
    assert core.potential_mv().tolist() == mv
    assert len(core.advance(3000).keys) > 5, "the current that began meanwhile flows"
    assert core.deliveries == 0


def test_an_emission_knows_its_first_step():
    spikes, samples = np.array([7 << 32, 9 << 32], np.int64), np.array([5 << 32], np.int64)
    assert Emission().first == -1
    assert not Emission()
    assert Emission(spikes).first == 7
    assert Emission(spikes, samples, np.zeros(1)).first == 5
    assert not joined([])


def test_the_ring_holds_the_longest_delay():
    for delay in range(1, 200):
        slots = ring_slots(delay)
        assert slots & (slots - 1) == 0 and slots > delay


# -- sources ----------------------------------------------------------------------------------------------


SOURCES = """
[[sources]]
id = "p"
kind = "poisson"
count = 2
rate = "5 Hz"
[[sources]]
id = "m"
kind = "metronome"
period = "300 ms"
start = "700 ms"
stop = "1.4 s"
[[sources]]
id = "s"
kind = "spikes"
times = ["0.1 ms", "0.2 ms", "2 s"]
"""


@pytest.mark.parametrize("number", range(4))
def test_a_source_looks_exactly(number):
    core = cores_of(place(net(SOURCES)))[number]
    assert isinstance(core, SourceCore)
    seen = []
    for _ in range(400):
        step = core.look(limit=30_000)
        emission = core.advance(min(step - 1, 30_000))
        assert not emission
        if step > 30_000:
            break
        emission = core.advance(step)
        assert core.acts == bool(emission)
        seen += (emission.keys >> 32).tolist()
    whole = cores_of(place(net(SOURCES)))[number].advance(30_000)
    assert seen == (whole.keys >> 32).tolist()
    assert seen == {2: [7000, 10_000, 13_000], 3: [1, 2, 20_000]}.get(number, seen)


def test_sources_packed_are_sources_alone():
    alone, packed = Ensemble(net(SOURCES)), Ensemble(net(SOURCES), 4)
    assert same(alone.run(30_000).emission, packed.run(30_000).emission)
    assert len(alone.cores) == 4 and len(packed.cores) == 3
