"""Weights that a chip cannot hold: refused at their line, or told with the size of the error."""

from __future__ import annotations

import numpy as np
import pytest

from neurobus.classroom.brain import with_weights
from neurobus.cli.poke import felt
from neurobus.cluster import join
from neurobus.config import load
from neurobus.describe import describe
from neurobus.errors import InputError
from neurobus.network import build
from neurobus.network.held import grains, inexact
from neurobus.node.core import Core
from neurobus.node.twin import make_twin
from neurobus.placement import place
from nodes.chip import Chip
from tests.helpers import net, run_table, table


def chip(weight: str, model: str = "nodes.chip", count: int = 1, **more: object) -> str:
    return (
        run_table(seed=2, dt="0.1 ms")
        + table("neurons", id="a", model=model)
        + table("groups", id="p", model="nodes.lif", count=count)
        + table("synapses", pre="p", post="a", rule="all_to_all", weight=weight, delay="1 ms", **more)
    )


@pytest.mark.parametrize(
    ("weight", "more", "word"),
    [
        ("9000 pA", {}, "a weight of 9000 pA: the chip's largest is 8191.75 pA; raise I_max"),
        ("-40000 pA", {}, "a weight of -40000 pA: the chip's largest is 8191.75 pA"),
        ("8191.9 pA", {}, "a weight of 8191.9 pA: the chip's largest"),
        ("-5 pA", {"receptor": "ex"}, "a weight of -5 pA: at receptor 'ex' it is >= 0"),
        ("5 pA", {"receptor": "in"}, "a weight of 5 pA: at receptor 'in' it is <= 0"),
        ("-1 pA", {"receptor": "plastic"}, "a weight of -1 pA: a plastic synapse excites"),
        (
            '{ normal = ["8000 pA", "500 pA"] }',
            {"count": 99},
            "chip's largest is 8191.75 pA; raise I_max; clip",
        ),
    ],
)
def test_a_weight_that_a_chip_cannot_hold_is_refused_at_its_line(weight, more, word):
    with pytest.raises(InputError, match=word) as refused:
        net(chip(weight, **more))
    assert str(refused.value).startswith("test.toml:")


@pytest.mark.parametrize("weight", ["0.5", "-1", "128"])
def test_a_weight_of_a_race_is_a_whole_number_of_a_byte(weight):
    with pytest.raises(
        InputError, match=f"a weight of {weight}: weights of inputs are whole numbers from 0 to"
    ):
        net(chip(weight, "nodes.race", receptor="input"))
    assert net(chip("127", "nodes.race", receptor="input")).synapses.weight.tolist() == [127]


def test_in_a_csv_it_is_refused_at_the_rows_line(tmp_path):
    (tmp_path / "w.csv").write_text("pre,post,weight [pA]\np,a,10\nnobody,a,1\np,a,8192\n")
    text = chip("1 pA").partition("[[groups]]")[0] + table("neurons", id="p", model="nodes.lif")
    (tmp_path / "net.toml").write_text(
        text + table("synapses", csv="w.csv", delay="1 ms", ignore_unknown="true")
    )
    with pytest.raises(InputError, match=r"w\.csv:4: a weight of 8192 pA"):
        build(load(tmp_path / "net.toml", ()))


def test_what_is_rounded_is_told_with_the_error():
    assert inexact(net(chip("1200.25 pA"))) == []
    (word,) = inexact(net(chip("0.1 pA", count=3)))
    assert word.startswith("nodes.chip: 3 weights rounded to the chip's unit (0.25 pA), by up to 0.1 pA: ")
    assert word.endswith("0.1 acts as 0; 3 act as 0")
    noisy = chip("1 pA") + table("sources", kind="background", target="a", rate="9 Hz",
                                 weight="17000 pA")  # fmt: skip
    (word,) = [word for word in describe(net(noisy))["warnings"] if "background" in word]
    assert "by up to 616 pA: 17000 acts as 16383.8" in word


def test_background_acts_as_told():
    noisy = chip("1 pA") + table("sources", kind="background", target="a", rate="9 Hz",
                                 weight="0.6 pA")  # fmt: skip
    core = Core(place(net(noisy)).neuron_part(0))
    assert core.t.bound["noise_weight"].tolist() == [0.5]


def test_a_brains_weights_are_looked_at_too():
    built = net(chip("10 pA"))
    assert with_weights(built, np.array([20.0])).synapses.weight.tolist() == [20]
    with pytest.raises(InputError, match=r"the synapse p\.0 → a: a weight of 9000 pA: the chip's largest"):
        with_weights(built, np.array([9000.0]))


def test_parameters_that_a_chip_cannot_hold_are_refused_by_check_already():
    text = chip("1 pA").replace(
        'model = "nodes.chip"\n', 'model = "nodes.chip"\nparams = { I_e = "1e6 pA" }\n'
    )
    with pytest.raises(InputError, match=r"test.toml:7: .* I_e must be below 8 mV C_m / dt"):
        net(text)


def test_a_float_neuron_that_a_chip_would_be_another_neuron_is_refused():
    core = Core(place(net(chip("-5 pA", "nodes.lif", receptor="ex"))).neuron_part(0))
    with pytest.raises(Exception, match="a weight of -5 pA: at receptor 'ex' it is >= 0"):
        make_twin(core, "nodes.chip")
    core = Core(place(net(chip("8000.1 pA", "nodes.lif"))).neuron_part(0))
    _, errors = make_twin(core, "nodes.chip")
    assert 0 < errors["a weight, pA"] < 0.13


def test_a_state_beyond_the_chips_is_told_at_the_hand_over():
    core = Core(place(net(chip("4000 pA", "nodes.lif"))).neuron_part(0))
    twin, _ = make_twin(core, "nodes.chip")
    p, adopted = twin.part.params, twin.part.model.adopted
    state = {"V": np.array([-10.0]), "I_ex": np.array([50.0]), "I_in": np.array([-1.0]), "r": np.array([0.0])}
    assert adopted(p, state)[1] == {}
    beyond = state | {"V": np.array([-70.0]), "I_ex": np.array([20000.0])}
    held, errors = adopted(p, beyond)
    assert errors["I_ex at the hand-over, pA"] == pytest.approx(20000 - 16384, abs=1)
    assert errors["V at the hand-over, mV"] == pytest.approx(6.0, abs=1e-3)
    assert held[1, 0] == 0xFFFFFF


def test_a_poke_is_told_as_it_is_felt():
    found = grains(net(chip("10 pA")))
    assert found == [(0.25, 65535), None]
    assert felt(found[0], 20_000.0) == 65535 * 0.25 == -felt(found[0], -1e300)
    assert (felt(found[0], 0.6), felt(found[1], 0.6)) == (0.5, 0.6)


@pytest.mark.parametrize(
    ("amplitude", "model", "refused"),
    [("25000 pA", "nodes.chip", True), ("-21000 pA", "nodes.chip", True), ("19000 pA", "nodes.chip", False),
     ("25000 pA", "nodes.lif", False)],
)  # fmt: skip
def test_a_current_that_a_chip_cannot_hold_is_refused(amplitude, model, refused):
    text = chip("1 pA", model) + table("sources", kind="current", target="a", amplitude=amplitude)
    if not refused:
        assert net(text).currents
        return
    with pytest.raises(
        InputError, match=r"test.toml:\d+: a current of .* pA: nodes.chip holds -20[.0-9]+ to 20[.0-9]+ pA"
    ):
        net(text)


def electrode(amplitude, **when):
    return table("sources", kind="current", target="a", amplitude=amplitude, **when)


@pytest.mark.parametrize(
    ("first", "second", "refused"),
    [
        ({}, {}, True),
        ({"stop": "5 ms"}, {"start": "5 ms"}, False),
        ({"stop": "5.1 ms"}, {"start": "5 ms"}, True),
    ],
)
def test_currents_that_overlap_are_held_to_their_sum(first, second, refused):
    text = (
        chip("1 pA")
        + electrode("15000 pA", **first)
        + electrode("-9000 pA")
        + electrode("15000 pA", **second)
    )
    if not refused:
        assert len(net(text).currents) == 3
        return
    with pytest.raises(
        InputError, match=r"test.toml:\d+: with the others on 'a', a current of 21000 pA: nodes.chip"
    ):
        net(text)
    assert net(text.replace("nodes.chip", "nodes.lif")).currents


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"weight": "1 pA"}, True),
        ({"weight": "30000 pA", "transfer": "sigmoid"}, True),
        ({"weight": "19000 pA", "transfer": "sigmoid"}, False),
    ],
)
def test_potentials_that_drive_a_chip_beyond_its_bounds_are_told(more, told):
    text = chip("1 pA") + table("neurons", id="far", model="nodes.lif")
    sigmoid = {"threshold": "-50 mV", "slope": "1 mV"} if "transfer" in more else {}
    words = inexact(net(text + table("graded", pre="far", post="a", **more, **sigmoid)))
    assert [
        word.startswith("currents of junctions and graded synapses into a are bounded") for word in words
    ] == ([True] * told)
    junction = table("electrical", a="far", b="a", conductance="1 nS")
    assert len(inexact(net(text + junction))) == 1 and not inexact(net(text))


@pytest.mark.parametrize(
    ("synapse", "word"),
    [("p, 9000 pA, 1 ms", "a weight of 9000 pA: the chip's largest"), ("p, -5 pA, 1 ms, ex", "is >= 0")],
)
def test_a_neuron_started_by_hand_is_held_to_the_same(synapse, word):
    given = [(0, 9000.0, 10, 0)] if "9000" in synapse else [(0, -5.0, 10, 0)]
    p = {name: np.array([param.value]) for name, param in Chip.params().items()}
    with pytest.raises(InputError, match=word):
        join._require_held(Chip, "nodes.chip", p, given, [synapse])


def test_what_a_neuron_started_by_hand_rounds_is_told(capsys):
    p = {name: np.array([param.value]) for name, param in Chip.params().items()}
    join._require_held(Chip, "nodes.chip", p, [(0, 0.1, 10, 0), (1, 5.0, 10, 0)], ["", ""])
    assert "by up to 0.1 pA: 0.1 acts as 0" in capsys.readouterr().err
    join._require_held(Chip, "nodes.chip", p, [], [])
    assert capsys.readouterr().err == ""
