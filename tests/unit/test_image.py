"""A neuron as a board is given it: handed over in the middle of its life, it goes on bit for bit."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurobus.bridge.image import Lif, State
from neurobus.node.core import Core
from neurobus.node.interface import STEP_BITS
from neurobus.node.shadow import KeptInputs
from neurobus.placement import place
from tests.fake_board import TwinChip
from tests.helpers import inputs_of, net, run_table, table

NET = (
    run_table(seed=4)
    + table("neurons", id="a", model="nodes.chip",
            params='{ I_e = "300 pA", w_max = "900 pA", A_plus = "60 pA", A_minus = "40 pA" }')
    + table("groups", id="p", count=6, model="nodes.lif")
    + table("synapses", pre="p", post="a", rule="all_to_all", weight='{ normal = ["300 pA", "600 pA"] }',
            delay='{ uniform = ["1 ms", "9 ms"] }')
    + table("synapses", pre="p", post="a", rule="all_to_all", receptor="plastic", weight="400 pA",
            delay='{ uniform = ["1 ms", "9 ms"] }')
)  # fmt: skip


def chip_of(core: Core) -> tuple[Lif, np.ndarray]:
    part, synapses = core.part, core.weights()
    constants = part.model.prepare(part.params, part.dt_ns * 1e-6)
    plastic = synapses.receptor == part.model.receptors.index("plastic")
    return Lif(constants, synapses.receptor), plastic


def state_of(core: Core) -> State:
    return State(core.k, core.state[:, 0].copy(), core.weights().weight, core.synapse_states()[0].copy())


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.integers(150, 2500))
def test_a_neuron_handed_to_a_board_goes_on_bit_for_bit(seed, at):
    rng = random.Random(seed)
    core = Core(place(net(NET)).neuron_part(0))
    chip, _ = chip_of(core)
    spikes = sorted((rng.randrange(1, 3000), rng.randrange(1, 7)) for _ in range(400))
    pokes = sorted((rng.randrange(3000), 0, float(rng.randrange(-500, 3000))) for _ in range(6))
    book = KeptInputs()
    keys = np.array([stamp << STEP_BITS | source for stamp, source in spikes])
    core.admit(keys)
    book.keep(keys, pokes)
    for poke in pokes:
        core.poke(*poke)
    core.advance(at)
    board = TwinChip.of(chip.pack(state_of(core)))
    inputs, left = inputs_of(core, book, chip.number, at)
    fired = []
    while board.tick < 3100:
        for number in inputs.get(board.tick, ()):
            board.input(number)
        for tick, _, weight in left:
            if tick == board.tick:
                board.kick(chip.kick(weight))
        if board.step():
            fired.append(board.tick)
    assert fired == (core.advance(3100).keys >> STEP_BITS).tolist()
    # And back: what the board says of itself is the state of the twin.
    back, truth = chip.unpack(board.now()[chip.state_at :], state_of(core).weight), state_of(core)
    assert back.tick == truth.tick and np.array_equal(back.rows[:4], truth.rows[:4])
    assert np.allclose(back.weight, truth.weight, atol=1e-9)
    assert chip.pack(back) == chip.pack(truth)


def test_a_state_that_does_not_fit_is_refused():
    core = Core(place(net(NET)).neuron_part(0))
    chip, _ = chip_of(core)
    state = state_of(core)
    state.rows[0] = 200.0
    with pytest.raises(ValueError, match="V"):
        chip.pack(state)


def test_an_image_tells_when_inputs_have_been_taken_already():
    core = Core(place(net(NET)).neuron_part(0))
    chip, _ = chip_of(core)
    board = TwinChip.of(chip.pack(state_of(core)))
    assert not chip.unpack(board.now()[chip.state_at :], state_of(core).weight).waiting
    board.kick(5)
    assert chip.unpack(board.now()[chip.state_at :], state_of(core).weight).waiting
