"""A prewarmed neuron lives its whole life and leaves nothing of it."""

from __future__ import annotations

import os
import signal

import pytest

from neurobus.cluster import prewarm
from neurobus.node.core import Core
from neurobus.node.role import Role
from neurobus.placement import place
from neurobus.wire import bus as wire
from neurobus.wire import verbs
from neurobus.wire.message import Report
from tests.helpers import net, run_table, table

PAIR = (
    run_table()
    + table("neurons", id="a", model="nodes.lif", params='{ I_e = "500 pA" }')
    + table("neurons", id="b", model="nodes.lif")
    + table("synapses", pre="a", post="b", weight="900 pA", delay="1 ms")
    + table("electrical", a="a", b="b", conductance="1 nS")
)


def reports(monkeypatch):
    """The list that takes what a prewarmed life reports."""
    told = []

    class Witness(prewarm.ScriptedBus):
        def send(self, data):
            super().send(data)
            if data.startswith(wire.REPORT):
                told.append(wire.decode(data))

    monkeypatch.setattr(prewarm, "ScriptedBus", Witness)
    return told


@pytest.mark.parametrize("wall", [True, False])
def test_every_life_is_lived_to_its_end(wall, monkeypatch):
    network = net(PAIR)
    plan = place(network, 1)
    role = Role("b", ["b"], [1], network.dt_ns, wall, spikes_heard=["a"], samples_heard=["a"],
                index_of={"a": 0, "b": 1}, n_ids=2, sends_samples=True)  # fmt: skip
    grown, told = [], reports(monkeypatch)

    def grow():
        grown.append(Core(plan.neuron_part(1)))
        return grown[-1]

    before = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    times = prewarm.REPEATS
    prewarm.live(role, grow, times)
    after = os.listdir("/proc/self/fd") if before else []
    assert len(after) == len(before)
    assert len(grown) == times
    assert all(isinstance(report, Report) for report in told)
    said = [report.message.verb for report in told]
    assert said.count("ready") == said.count("final") == said.count("status") == times
    assert all(core.k > 0 for core in grown)


@pytest.mark.parametrize("wall", [True, False])
def test_a_state_that_overflowed_is_told_at_the_end(wall, monkeypatch):
    network = net(PAIR)
    role = Role("b", ["b"], [1], network.dt_ns, wall, spikes_heard=["a"], index_of={"a": 0, "b": 1}, n_ids=2)
    told = reports(monkeypatch)

    def grow():
        core = Core(place(network, 1).neuron_part(1))
        core.state[0] = float("nan")
        return core

    prewarm.live(role, grow, 1)
    words = [report.message.what for report in told if isinstance(report.message, verbs.Trouble)]
    assert [word.split(" and ")[0] for word in words] == ["the state of b overflowed"]


@pytest.mark.parametrize("dt", ["1 ns", "10 ns", "1 s"])
def test_a_life_ends_whatever_a_step_lasts(dt):
    """The clock on the wall never outruns it: a step of 10 ns takes longer than that to compute."""
    alone = run_table(dt=dt) + table("neurons", id="a", model="nodes.lif")
    network = net(alone)
    plan = place(network, 1)
    role = Role("a", ["a"], [0], network.dt_ns, True, index_of={"a": 0}, n_ids=1)
    child = os.fork()
    if child == 0:  # who never ends is ended
        signal.alarm(60)
        prewarm.live(role, lambda: Core(plan.neuron_part(0)), prewarm.REPEATS)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_two_neurons_do_not_wait_for_the_lives_of_three_hundred():
    """Many share what a dozen lives have warmed, as the worm's do; few would wait longer than they save."""
    assert prewarm.repeats(1) == prewarm.repeats(2) == prewarm.repeats(prewarm.FEW - 1) == 1
    assert prewarm.repeats(prewarm.FEW) == prewarm.repeats(302) == prewarm.REPEATS == 12
