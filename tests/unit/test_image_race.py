"""A neuron that learns as a board is given it: each field there and back; its life goes on as it was."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurobus.bridge.image import CHIPS, Lif, Race, State, chip_for
from neurobus.loading import load
from neurobus.node.core import Core
from neurobus.node.interface import STEP_BITS
from neurobus.node.shadow import KeptInputs
from neurobus.placement import place
from neurobus.wire import link
from neurobus.wire.link import RACE_PARAMS
from tests.fake_board import RaceChip
from tests.helpers import inputs_of, net, run_table, table

INPUTS, SLOT = 12, 256
KINDS = {"input": INPUTS, "elder": 2, "younger": 2, "foreign": 4, "teach": 1, "learn": 1, "reset": 1}


def text(**params: object) -> str:
    given_ = ", ".join(f'{name} = "{value}"' for name, value in params.items())
    found = run_table(seed=4, dt="0.125 ms")
    found += table(
        "neurons", id="a", model="nodes.race", params=f"{{ V_th = 900{', ' * bool(given_)}{given_} }}"
    )
    # Sources before and behind: a synapse's place on the chip is not its place in the network.
    for kind, count in reversed(KINDS.items()):
        found += table("groups", id=kind, count=count, model="nodes.lif")
        found += table(
            "synapses", pre=kind, post="a", rule="all_to_all", receptor=kind, weight=0, delay="1 ms"
        )
    return found


def reader(**params: object) -> tuple[Core, Race, dict[str, list[int]]]:
    network = net(text(**params))
    core = Core(place(network).neuron_part(0))
    part = core.part
    image = Race(part.model.prepare(part.params, part.dt_ns * 1e-6), core.weights().receptor)
    return core, image, {kind: [int(i) for i in network.groups[kind]] for kind in KINDS}


def state_of(core: Core) -> State:
    return State(core.k, core.state[:, 0].copy(), core.weights().weight, core.synapse_states()[0].copy())


def course(rng: random.Random, group: dict[str, list[int]], slots: int) -> list[tuple[int, int]]:
    """Stamps and sources of a course; rivals fire when they like."""
    found = []
    for begin in range(1, slots * SLOT, SLOT):
        found.append((begin, group["reset"][0]))
        if rng.random() < 0.6:
            found.append((begin + 4, group["teach"][0]))
        if rng.random() < 0.8:
            found.append((begin + 200, group["learn"][0]))
        for source in group["input"]:
            if rng.random() < 0.8:
                found.append((begin + 8 + 8 * rng.randrange(16), source))
        for kind in ("elder", "younger", "foreign"):
            for source in group[kind]:
                if rng.random() < 0.4:
                    found.append((begin + rng.randrange(20, 255), source))
    return sorted(found)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(20, 12 * SLOT))
def test_a_neuron_that_learns_goes_on_bit_for_bit(seed, at):
    rng = random.Random(seed)
    core, image, group = reader()
    end = 16 * SLOT
    keys = np.array([stamp << STEP_BITS | source for stamp, source in course(rng, group, 16)])
    pokes = sorted((rng.randrange(end), 0, float(rng.randrange(-500, 500))) for _ in range(6))
    book = KeptInputs()
    core.admit(keys)
    book.keep(keys, pokes)
    for poke in pokes:
        core.poke(*poke)
    core.advance(at)
    board = RaceChip.of(image.pack(state_of(core)))
    synapses = core.weights()
    inputs, left = inputs_of(core, book, image.number, at)
    fired = []
    while board.tick < end:
        for number in inputs.get(board.tick, ()):
            board.input(number)
        for tick, _, weight in left:
            if tick == board.tick:
                board.kick(image.kick(weight))
        if board.step():
            fired.append(board.tick)
    assert fired == (core.advance(end).keys >> STEP_BITS).tolist()
    back, truth = image.unpack(board.now()[image.state_at :], synapses.weight), state_of(core)
    assert image.pack(back) == image.pack(truth) == board.now()
    assert np.array_equal(back.weight, truth.weight) and np.array_equal(back.marks, truth.marks)
    assert not back.waiting


def test_they_do_learn_in_this_test():
    core, _, group = reader()
    keys = np.array([s << STEP_BITS | i for s, i in course(random.Random(2), group, 16)])
    core.admit(keys)
    assert len(core.advance(16 * SLOT).keys) > 3
    assert np.unique(core.weights().weight).size > 4


levels = st.lists(st.integers(0, 16), min_size=INPUTS, max_size=INPUTS)
weights = st.lists(st.integers(0, 127), min_size=INPUTS, max_size=INPUTS)


@given(
    st.data(), st.integers(0, 2**32 - 1), weights, levels,
    st.tuples(*[st.integers(0, 65535)] * 2, st.integers(1, 65535)), st.tuples(*[st.integers(-1, 65534)] * 2),
    st.lists(st.booleans(), min_size=7, max_size=7), st.sampled_from([0, 5, 6]),
)  # fmt: skip
def test_every_field_comes_back_as_it_was(data, tick, weight, level, sums, times, truths, order):
    _, image, _ = READER
    is_open, *flags = truths
    began = data.draw(st.integers(0, tick))
    names = ("inhibited", "mine", "mate", "earlier", "foreign", "virgin")
    r = dict(zip(names, map(float, flags), strict=True))
    r |= dict(zip(("V", "S", "threshold"), sums, strict=True)) | dict(
        zip(("fired", "claim"), times, strict=True)
    )
    r |= {"began": began if is_open else -1, "closed": 0 if is_open else began, "order": order, "rank": 2}
    assert tuple(load("nodes.race").states()) == Race.ROWS
    state = State(
        tick, np.array([float(r[name]) for name in Race.ROWS]), np.zeros(image.n), np.zeros(image.n)
    )
    state.weight[image.order[:INPUTS]], state.marks[image.order[:INPUTS]] = weight, level
    packed = image.pack(state)
    assert len(packed) == image.size
    back = image.unpack(packed[image.state_at :], state.weight)
    assert back.tick == tick and np.array_equal(back.rows, state.rows)
    assert np.array_equal(back.weight, state.weight) and np.array_equal(back.marks, state.marks)
    assert RACE_PARAMS.unpack(packed) == {
        "inputs": 12, "elders": 14, "youngers": 16, "foreign": 20, "teachers": 21, "learns": 22,
        "synapses": 23, "V_th": 900, "shift": 3, "attract": 3, "repel": 4, "top": 16, "level": 3,
        "start": 8, "delay": 8,
    }  # fmt: skip


READER = reader()


def test_a_weight_that_the_chip_does_not_have_keeps_its_value():
    core, image, _ = reader()
    state = state_of(core)
    others = image.order[INPUTS:]
    state.weight[others] = 2.5
    assert np.array_equal(
        image.unpack(image.pack(state)[image.state_at :], state.weight).weight, state.weight
    )
    assert len(image.whole(state.weight)) == INPUTS


def test_an_image_tells_when_inputs_have_been_taken_already():
    core, image, _ = reader()
    for give in (lambda board: board.input(0), lambda board: board.input(22), lambda board: board.kick(1)):
        board = RaceChip.of(image.pack(state_of(core)))
        give(board)
        assert image.unpack(board.now()[image.state_at :], state_of(core).weight).waiting
        board.step()
        assert not image.unpack(board.now()[image.state_at :], state_of(core).weight).waiting


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"level": "0.75 ms"}, "power of two"),
        ({"start": "40 ms"}, "start = 320, in ticks of dt: 255 at most"),
        ({"delay": "32 ms"}, "delay = 256"),
    ],
)
def test_what_the_chip_cannot_hold_is_refused(params, word):
    with pytest.raises(ValueError, match=word):
        reader(**params)


@pytest.mark.parametrize("weight", [0.5, 128.0, -1.0])
def test_weights_that_are_none_of_its_own_are_refused(weight):
    core, image, _ = reader()
    state = state_of(core)
    state.weight[image.order[3]] = weight
    with pytest.raises(ValueError, match="whole, from 0 to 127"):
        image.pack(state)


def test_a_board_that_is_too_small_says_what_it_holds():
    _, image, _ = READER
    assert image.fits(24, 12) is None
    assert (
        image.fits(20, 10)
        == "23 synapses, 12 of them plastic; this board holds 10 plastic ones, the inputs, beside any others"
    )


def test_chips_are_those_of_the_link_and_know_their_models():
    assert {"lif": Lif, "race": Race} == CHIPS and set(CHIPS) < set(link.CHIP)
    for chip in CHIPS.values():
        assert chip_for(chip.model) is chip and chip.model in chip.takes
        assert tuple(load(chip.model).states()) == chip.ROWS
    assert load("nodes.chip").receptors.index("plastic") == Lif.PLASTIC
    assert chip_for("nodes.compete") is None
