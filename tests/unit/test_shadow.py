"""A neuron under a lease: what is withheld, what agrees, what comes back, what a board has to feel."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from neurobus.node.core import Core
from neurobus.node.interface import STEP_BITS
from neurobus.node.shadow import Comparison, KeptInputs
from neurobus.placement import place
from tests.helpers import net, run_table, table

steps = st.lists(st.integers(1, 300), unique=True, max_size=40).map(sorted)


@given(steps, st.integers(0, 300), st.integers(0, 300), st.randoms())
def test_every_spike_is_published_once_whenever_the_board_fails(truth, told, heard_to, rng):
    """The board published what it fired up to `heard_to`, of which it confirmed `told`; then it was gone."""
    heard_to = max(told, heard_to)
    one = Comparison()
    theirs = [step for step in truth if step <= heard_to]
    cut = rng.randrange(len(truth) + 1)
    one.fired(truth[:cut])
    half = rng.randrange(len(theirs) + 1)
    one.heard(theirs[:half])
    sure = min(told, theirs[half] - 1) if half < len(theirs) else told
    assert one.compare(sure, truth[cut] - 1 if cut < len(truth) else 300) == ([], [])
    one.heard(theirs[half:])
    one.fired(truth[cut:])
    assert one.compare(told, 300) == ([], [])
    assert sorted(theirs + one.withheld()) == truth
    assert one.disagreements == 0


@given(steps, steps, st.integers(0, 300))
def test_spikes_of_one_side_alone_are_counted_once_the_board_has_told_them(mine, theirs, told):
    one = Comparison()
    one.fired(mine)
    one.heard(theirs)
    alone = one.compare(told, 300)
    assert alone == (
        [step for step in mine if step <= told and step not in theirs],
        [step for step in theirs if step <= told and step not in mine],
    )
    assert one.disagreements == sum(map(len, alone))
    assert one.agreed == len([step for step in mine if step in theirs and step <= told])
    assert one.compare(told, 300) == ([], [])


def test_inputs_are_those_whose_effect_may_still_come():
    one = KeptInputs()
    for stamp in (30, 10, 20):
        one.keep(np.array([stamp << STEP_BITS | 7]), [])
    one.keep(np.empty(0, np.int64), [(12, 0, 1.0), (25, 0, 2.0)])
    keys, pokes = one.inputs(25, 10)
    assert [key >> STEP_BITS for key in keys.tolist()] == [20, 30]
    assert pokes == [(25, 0, 2.0)]


NET = (
    run_table(seed=4)
    + table("neurons", id="a", model="nodes.lif", params='{ I_e = "300 pA" }')
    + table("groups", id="p", count=6, model="nodes.lif")
    + table("synapses", pre="p", post="a", rule="all_to_all", weight="600 pA",
            delay='{ uniform = ["1 ms", "9 ms"] }')
)  # fmt: skip


@given(st.integers(0, 2**32), st.integers(200, 900))
def test_a_neuron_put_where_another_stands_goes_on_as_it_does(seed, at):
    """State and inputs as a shadow gives them to a board, or a board to its shadow: the same spikes after."""
    rng = random.Random(seed)
    plan = place(net(NET))
    one, other = Core(plan.neuron_part(0)), Core(plan.neuron_part(0))
    given_: list[tuple[int, int]] = sorted((rng.randrange(1, 1500), rng.randrange(1, 7)) for _ in range(150))
    pokes = sorted((rng.randrange(1500), 0, rng.uniform(-500, 3000)) for _ in range(6))
    book = KeptInputs()
    keys = np.array([stamp << STEP_BITS | source for stamp, source in given_])
    one.admit(keys)
    book.keep(keys, pokes)
    for poke in pokes:
        one.poke(*poke)
    one.advance(at)
    kept, left = book.inputs(at, one.part.max_delay)
    other.load_state(at, one.state.copy(), one.weights().weight, one.synapse_states(), kept, left)
    assert np.array_equal(one.advance(2000).keys, other.advance(2000).keys)
    assert np.array_equal(one.state, other.state)
