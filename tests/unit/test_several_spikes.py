"""Several spikes of one neuron, or source, in one step: equal ones, each counted and each delivered."""

from __future__ import annotations

import random

import numpy as np
import pytest

from neurobus.errors import InputError
from neurobus.model import MOST_PER_STEP
from neurobus.node.core import Core
from neurobus.node.source_core import SourceCore
from neurobus.placement import place
from tests.helpers import Ensemble, cores_of, lock_step, net, run_table, same, table

STEPS = 100
STRONG = """
[run]
dt = "1 ms"
[[groups]]
id = "a"
ids = ["x", "y"]
model = "nodes.adex"
params = { I_e = { choice = ["20000 pA", "60000 pA"] } }
[[neurons]]
id = "n"
model = "nodes.lif"
[[synapses]]
pre = "a"
post = "n"
rule = "all_to_all"
weight = "10 pA"
delay = "1 ms"
"""


def multiplicities(keys) -> list[int]:
    return np.unique(keys, return_counts=True)[1].tolist()


@pytest.mark.parametrize(
    ("model", "params"),
    [
        ("nodes.adex", '{ I_e = "20000 pA" }'),
        ("nodes.eif", '{ I_e = "20000 pA", t_ref = "0 ms" }'),
        ("nodes.eif", '{ I_e = "20000 pA", t_ref = "0.3 ms" }'),
        ("nodes.izhikevich", '{ I_e = "400 pA" }'),
    ],
)
def test_a_state_that_is_reset_several_times_in_a_step_spikes_as_often(model, params):
    """A step of 0.1 ms has one spike at most here, and as many altogether as one of 1 ms."""

    def spikes(dt, steps):
        network = net(run_table(dt=dt) + table("neurons", id="n", model=model, params=params))
        return lock_step(network, steps).keys

    coarse, fine = spikes("1 ms", STEPS), spikes("0.1 ms", 10 * STEPS)
    assert max(multiplicities(coarse)) > 1 == max(multiplicities(fine))
    assert len(coarse) == pytest.approx(len(fine), rel=0.01)


def test_each_is_delivered_whatever_the_packing():
    network = net(STRONG)
    expected = lock_step(network, STEPS)
    assert max(multiplicities(expected.keys)) > 2
    for per_process in (1, 2, 3):
        ensemble = Ensemble(network, per_process, shuffle=random.Random(per_process)).run(STEPS)
        assert same(ensemble.emission, expected)
        step, source = expected.keys >> 32, expected.keys & 0xFFFFFFFF
        heard = np.sum((step < STEPS) & (source != network.ids.index("n")))
        assert sum(core.deliveries for core in ensemble.cores) == heard


def test_three_at_once_act_as_one_of_thrice_the_weight():
    def current(times, weight):
        text = run_table(duration="20 ms") + table("neurons", id="n", model="nodes.lif")
        network = net(
            text
            + table("sources", id="s", kind="spikes", times=str(times).replace("'", '"'))
            + table("synapses", pre="s", post="n", weight=f"{weight} pA", delay="1 ms")
        )
        core = next(c for c in cores_of(place(network)) if isinstance(c, Core))
        return core, next(iter(network.times))

    (thrice, source), (once, _) = current(["1 ms"], 20), current(["1 ms"], 60)
    thrice.admit(np.array([10 << 32 | source] * 3, np.int64))
    once.admit(np.array([10 << 32 | source], np.int64))
    for core in (thrice, once):
        core.advance(40)
    assert thrice.deliveries == 3 and once.deliveries == 1
    assert np.array_equal(thrice.state, once.state) and thrice.state[0, 0] > 0


def test_a_source_may_fire_several_times_and_is_poked_besides():
    network = net(
        table("sources", id="s", kind="spikes", times='["1 ms"]')
        + table("neurons", id="n", model="nodes.lif")
        + table("synapses", pre="s", post="n", weight="1 pA", delay="1 ms")
    )
    (source,) = network.times
    network.times[source] = np.array([10, 10, 10, 12], np.int64)
    core = next(c for c in cores_of(place(network)) if isinstance(c, SourceCore))
    core.poke(9, source, 1.0)
    assert (core.advance(20).keys >> 32).tolist() == [10, 10, 10, 10, 12]


def test_more_than_can_be_told_ends_the_run_with_a_word():
    text = run_table(dt="1 ms") + table("neurons", id="n", model="nodes.eif",
                                        params='{ I_e = "1e8 pA", t_ref = "0 ms" }')  # fmt: skip
    (core,) = cores_of(place(net(text)))
    with pytest.raises(InputError, match=f"n .* more than {MOST_PER_STEP} spikes in a step of 1 ms"):
        core.advance(10)
