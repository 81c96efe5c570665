"""Which process hosts which neurons, and that each is told exactly what acts on its own."""

from __future__ import annotations

import numpy as np
import pytest

from neurobus.errors import InputError
from neurobus.network.recorded import RECORDED, with_recorded
from neurobus.placement import place
from tests.helpers import Ensemble, lock_step, net, same, table

TEXT = """
[run]
record_potentials = ["e.1"]
[[groups]]
id = "e"
count = 5
model = "nodes.lif"
params = { I_e = { uniform = ["380 pA", "500 pA"] } }
[[neurons]]
id = "d"
model = "nodes.lif_delta"
[[neurons]]
id = "late"
model = "nodes.lif"
[[sources]]
id = "m"
kind = "metronome"
period = "3 ms"
count = 2
[[sources]]
kind = "current"
target = "e.3"
amplitude = "10 pA"
start = "2 ms"
stop = "4 ms"
[[synapses]]
pre = "e"
post = "e"
rule = "all_to_all"
weight = { choice = ["30 pA", "-20 pA"] }
delay = { uniform = ["1 ms", "2 ms"] }
[[synapses]]
pre = "m.0"
post = "d"
weight = "1 mV"
delay = "2 ms"
[[electrical]]
a = "e.0"
b = "d"
conductance = "1 nS"
[[electrical]]
a = "e.4"
b = "e.0"
conductance = "2 nS"
"""


@pytest.fixture
def network():
    return net(TEXT)


@pytest.mark.parametrize("per_process", [1, 2, 3, 100])
def test_everybody_has_one_place(network, per_process):
    plan = place(network, per_process)
    members = np.concatenate([process.members for process in plan.processes])
    assert sorted(members.tolist()) == list(range(len(network.ids)))
    for process in plan.processes:
        assert 1 <= len(process.members) <= per_process
        assert len(set(network.model_of[process.members].tolist())) == 1
        assert (plan.process_of[process.members] == process.number).all()
        assert plan.number_of[process.name] == process.number
        assert process.single == (process.name in network.ids)
    assert plan.stream_of[network.ids.index("e.0")] == {1: "e.0", 2: "@1", 3: "@1", 100: "@1"}[per_process]


def test_neurons_of_a_model_go_together_wherever_they_stand(network):
    plan = place(network, 100)
    ids = [[network.ids[i] for i in process.members] for process in plan.processes]
    assert ids == [["d"], ["late", "e.0", "e.1", "e.2", "e.3", "e.4"], ["m.0", "m.1"]]
    assert [process.name for process in plan.processes] == ["d", "@1", "@2"]
    assert [plan.is_source(p) for p in range(3)] == [False, False, True]


@pytest.mark.parametrize(
    ("processes", "sizes"),
    [(3, [6, 1, 2]), (4, [3, 3, 1, 2]), (5, [2, 2, 2, 1, 2]), (9, [1] * 9), (30, [1] * 9)],
)
def test_a_number_of_processes(network, processes, sizes):
    plan = place(network, processes=processes)
    assert sorted(len(process.members) for process in plan.processes) == sorted(sizes)


def test_too_few_processes_for_the_models(network):
    with pytest.raises(InputError, match=r"run\.processes = 2, but the network has 3 models"):
        place(network, processes=2)


@pytest.mark.parametrize("per_process", [1, 2, 100])
def test_each_synapse_is_in_the_process_of_its_target_once(network, per_process):
    plan = place(network, per_process)
    found = []
    for process in plan.processes:
        if plan.is_source(process.number):
            continue
        part = plan.neuron_part(process.number)
        K = len(part.index)
        for pre in range(len(network.ids)):
            for j in range(part.row[pre], part.row[pre + 1]):
                receptor, local = divmod(int(part.target[j]), K)
                assert receptor == (part.weight[j] < 0 and len(part.model.receptors) > 1)
                found.append((pre, int(part.index[local]), float(part.weight[j]), int(part.delay[j])))
    expected = zip(
        network.synapses.pre.tolist(),
        network.synapses.post.tolist(),
        network.synapses.weight.tolist(),
        network.synapses.delay.tolist(),
        strict=True,
    )
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("per_process", [1, 100])
def test_each_junction_acts_on_both_sides(network, per_process):
    plan = place(network, per_process)
    found = set()
    for process in plan.processes:
        if plan.is_source(process.number):
            continue
        part = plan.neuron_part(process.number)
        for other in range(len(network.ids)):
            for m in range(part.coupling.row[other], part.coupling.row[other + 1]):
                at = part.coupling.order[m]
                local = int(np.searchsorted(part.coupling.at, at, side="right")) - 1
                found.add(
                    (
                        network.ids[part.index[local]],
                        network.ids[other],
                        float(part.coupling.weight[at]),
                        float(part.coupling.transfer[3, at]),
                    )
                )
    assert found == {
        ("e.0", "d", 1.0, -70.0),
        ("d", "e.0", 1.0, -70.0),
        ("e.4", "e.0", 2.0, -70.0),
        ("e.0", "e.4", 2.0, -70.0),
    }


def test_who_listens_to_whom(network):
    plan = place(network)
    at = plan.number_of
    assert plan.spikes_heard[at["e.0"]] == ["e.1", "e.2", "e.3", "e.4"]
    assert plan.spikes_heard[at["d"]] == ["m.0"]
    assert plan.spikes_heard[at["late"]] == []
    assert plan.samples_heard[at["e.0"]] == ["d", "e.4"]
    assert plan.samples_heard[at["d"]] == ["e.0"]
    spikes, samples = plan.targets()
    assert spikes[at["m.0"]] == [(at["d"], 20)]
    assert spikes[at["m.1"]] == []
    assert samples[at["d"]] == [(at["e.0"], network.min_delay)]
    links = {(p, q): delay for p, found in enumerate(spikes) for q, delay in found}
    for pre, post in zip(network.synapses.pre, network.synapses.post, strict=True):
        p, q = int(plan.process_of[pre]), int(plan.process_of[post])
        between = (plan.process_of[network.synapses.pre] == p) & (plan.process_of[network.synapses.post] == q)
        assert links[p, q] == network.synapses.delay[between].min()


def test_a_process_is_no_target_of_its_own(network):
    spikes, _ = place(network, 100).targets()
    assert spikes == [[], [], [(0, 20)]]


def test_potentials_are_watched_where_somebody_wants_them(network):
    plan = place(network, 100)
    part = plan.neuron_part(1)
    assert [part.ids[i] for i in part.watched] == ["e.0", "e.1", "e.4"]
    assert plan.neuron_part(0).watched.tolist() == [0]


def test_currents_go_on_and_off(network):
    part = place(network, 100).neuron_part(1)
    here = [part.ids[i] for i in part.currents.neuron]
    rows = list(zip(part.currents.step.tolist(), here, part.currents.pa.tolist(), strict=True))
    assert rows == [(20, "e.3", 10.0), (40, "e.3", -10.0)]


def test_parameters_follow_their_neuron(network):
    whole = dict(
        zip(
            (network.ids[i] for i in np.flatnonzero(network.model_of == 1)),
            network.params[1]["I_e"],
            strict=True,
        )
    )
    for per_process in (1, 2):
        plan = place(network, per_process)
        for process in plan.processes:
            if process.model == 1:
                part = plan.neuron_part(process.number)
                assert dict(zip(part.ids, part.params["I_e"], strict=True)).items() <= whole.items()


def test_an_external_source_has_no_process():
    board = table("sources", id="board", kind="external")
    network = net(TEXT + board + table("synapses", pre="board", post="e.0", weight="1 pA", delay="1 ms"))
    plan = place(network)
    index = network.ids.index("board")
    assert plan.external == {index}
    assert plan.process_of[index] == -1
    assert plan.stream_of[index] == "board"
    assert "board" in plan.spikes_heard[plan.number_of["e.0"]]
    assert len(plan.targets()[0]) == len(plan.processes)


# -- recorded neurons -------------------------------------------------------------------------------------


def test_recorded_neurons_beside_live_ones_go_on_as_they_did():
    text = TEXT[: TEXT.index("[[electrical]]")]
    network, dt = net(text), net(text).dt_ns
    whole = lock_step(network, 1000)
    times: dict[str, list[int]] = {"e.1": [], "late": []}
    for key in whole.keys.tolist():
        name = network.ids[key & 0xFFFFFFFF]
        if name in times:
            times[name].append((key >> 32) * dt)
    assert len(times["e.1"]) > 3
    beside = with_recorded(network, times)
    assert [beside.model_names[beside.model_of[network.ids.index(name)]] for name in times] == [
        RECORDED,
        RECORDED,
    ]
    again = Ensemble(beside, 2).run(1000)
    assert np.array_equal(again.emission.keys, whole.keys)
    assert not np.isin(beside.synapses.post, [network.ids.index(name) for name in times]).any()


def test_a_recorded_neuron_has_no_membrane():
    network = net(TEXT)
    beside = with_recorded(network, {"e.0": [1_000_000], "e.1": [], "e.3": []})
    assert len(beside.junctions.a) == 0
    assert beside.currents == []
    assert beside.potentials.recorded.tolist() == []
    assert beside.times[network.ids.index("e.0")].tolist() == [10]


def test_recording_nobody_changes_nothing_and_strangers_are_refused():
    network = net(TEXT)
    assert with_recorded(network, {}) is network
    with pytest.raises(InputError, match="'nobody' is in the recording, but not in the network"):
        with_recorded(network, {"nobody": []})


def test_the_network_here_is_lively():
    assert len(lock_step(net(TEXT), 1000).keys) > 50
    assert same(Ensemble(net(TEXT), 3).run(1000).emission, lock_step(net(TEXT), 1000))
