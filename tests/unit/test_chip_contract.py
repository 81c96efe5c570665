"""What holds for every chip that a board can be: a new one in `CHIPS` is taken up and tested as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neurobus.bridge.image import CHIPS, Chip, State
from neurobus.loading import load
from neurobus.model import Model
from neurobus.node.core import Core
from neurobus.placement import place
from neurobus.wire import link
from tests.helpers import net, run_table, table

AVR = Path(__file__).parents[2] / "firmware/avr"
ALL = pytest.mark.parametrize("chip", CHIPS.values(), ids=list(CHIPS))


@ALL
def test_every_part_of_it_is_there(chip: type[Chip]) -> None:
    assert chip.kind in link.CHIP and {chip.params, chip.state} <= set(link.LAYOUTS)
    for suffix in ("c", "h"):
        assert (AVR / f"chip_{chip.kind}.{suffix}").exists()
    assert f"LINK_CHIP_{chip.kind.upper()}" in (AVR / f"chip_{chip.kind}.h").read_text()
    assert chip.model in chip.takes
    assert all(issubclass(load(name), Model) for name in chip.takes)
    assert [other for other in CHIPS.values() if set(chip.takes) & set(other.takes)] == [chip]


@ALL
def test_a_neuron_goes_into_its_image_and_comes_back(chip: type[Chip]) -> None:
    """One of its model at its defaults, with three synapses at each receptor."""
    model = load(chip.model)
    assert issubclass(model, Model)
    synapses = "".join(
        table("synapses", pre="p", post="a", rule="all_to_all", delay="1 ms", receptor=receptor,
              weight=f"0 {model.weight_unit}".strip())
        for receptor in model.receptors
    )  # fmt: skip
    neuron = table("groups", id="a", count=1, model=chip.model)
    inputs = table("sources", id="p", kind="metronome", count=3, period="1 s")
    core = Core(place(net(run_table(dt="0.5 ms") + neuron + inputs + synapses)).neuron_part(0))
    core.advance(50)
    found = core.weights()
    held = chip(model.prepare(core.part.params, core.part.dt_ns * 1e-6), found.receptor)
    marks = core.synapse_states()[0].copy() if core.synapse_states().size else np.zeros(held.n)
    state = State(core.k, core.state[:, 0].copy(), found.weight, marks)
    image = held.pack(state)
    assert len(image) == held.size and sorted(held.number.tolist()) == list(range(held.n))
    assert held.fits(held.room, held.n_plastic) is None
    assert held.fits(held.room - 1, held.n_plastic) is not None or held.room == 0
    back = held.unpack(image[held.state_at :], found.weight)
    assert back.tick == state.tick and not back.waiting
    assert held.pack(back) == image
    assert np.array_equal(back.weight, state.weight) and np.array_equal(back.marks, state.marks)


@ALL
def test_what_one_update_feels_does_not_depend_on_the_order_of_kicks(chip: type[Chip]) -> None:
    given = [5, -3, 40_000, -70_000, 2]
    sent = chip.kicks(given)
    assert sorted(sent) == sorted(chip.kicks(given[::-1]))
    assert all(-32768 <= kick <= 32767 for kick in sent)
