"""A neuron's process on a bus that does as it is told."""

from __future__ import annotations

import time

from neurobus.cluster.prewarm import ScriptedBus
from neurobus.events import Spikes
from neurobus.node.core import Core
from neurobus.node.process import now_ns
from neurobus.node.role import Role
from neurobus.node.virtual import VirtualProcess
from neurobus.node.wall import WallProcess
from neurobus.placement import place
from neurobus.wire import bus as wire
from neurobus.wire import verbs
from neurobus.wire.bus import NEVER
from neurobus.wire.message import Control
from tests.helpers import net, run_table, table

DRIVEN = (
    run_table()
    + table("neurons", id="a", model="nodes.lif")
    + table("neurons", id="b", model="nodes.lif", params='{ I_e = "900 pA" }')
    + table("synapses", pre="a", post="b", weight="1 pA", delay="1 ms")
)


def test_nobody_stays_by_the_bus_while_an_act_is_due():
    """Between two spikes of its own a neuron may wait in ZeroMQ's call for more, but not past that."""
    network = net(DRIVEN)
    role = Role("b", ["b"], [1], network.dt_ns, True, spikes_heard=["a"], index_of={"a": 0, "b": 1}, n_ids=2)
    process = WallProcess(role, Core(place(network, 1).neuron_part(1)))
    begun = now_ns()

    def traffic():
        yield []
        yield [wire.encode(Control(wire.EVERYONE, verbs.Start(begun, None, None)))]
        for n in range(60):
            yield [wire.encode(Spikes("a", 0, n, [now_ns() - begun]))]
            for _ in range(4):
                time.sleep(0.0005)
                yield []
        yield [wire.encode(Control("b", verbs.Exit()))]

    waits = []

    class Bus(ScriptedBus):
        def linger(self):
            waits.append(process.wakes_at_s is not None or process.next_step >= NEVER)
            return super().linger()

    process.run(Bus(traffic(), wire.topic(wire.HELLO, "b")))
    assert process.outbox.spikes_sent > 3
    assert all(waits)


def test_a_word_that_calls_the_neuron_out_of_compiled_code_does_not_make_it_miss_its_time(tmp_path):
    """Compiled code knows when to act next. When a snapshot is asked for, nothing goes back to it."""
    network = net(DRIVEN)
    role = Role("b", ["b"], [1], network.dt_ns, True, spikes_heard=["a"], index_of={"a": 0, "b": 1}, n_ids=2,
                snapshots=tmp_path)  # fmt: skip
    process = WallProcess(role, Core(place(network, 1).neuron_part(1)))
    begun = now_ns()

    def traffic():
        yield []
        yield [wire.encode(Control(wire.EVERYONE, verbs.Start(begun, None, None)))]
        while now_ns() - begun < 20_000_000_000 and not asked:
            time.sleep(0.001)
            yield []
        yield []
        yield [wire.encode(Control("b", verbs.Exit()))]

    class Bus(ScriptedBus):
        def receive(self):
            # The timer has rung, and the process is back in compiled code, when it hears of the snapshot.
            if process.started and process.wakes_at_s is None and not asked:
                asked.append(True)
                return wire.encode(Control(wire.EVERYONE, verbs.TakeSnapshot(10**6)))
            if asked:
                armed.append(process.wakes_at_s is not None)
            return super().receive()

    asked: list[bool] = []
    armed: list[bool] = []
    process.run(Bus(traffic(), wire.topic(wire.HELLO, "b"), attended=True))
    assert asked and armed[0]


def test_nobody_lingers_before_it_has_joined():
    network = net(DRIVEN)
    role = Role("b", ["b"], [1], network.dt_ns, False, spikes_heard=["a"], index_of={"a": 0, "b": 1}, n_ids=2)
    process = VirtualProcess(role, Core(place(network, 1).neuron_part(1)))
    conversed, sent = [], []

    class Bus(ScriptedBus):
        def send(self, data):
            sent.append(data[:1])
            super().send(data)

        def converse(self, handle):
            conversed.append(wire.REPORT in sent)
            super().converse(handle)

    script = [[], [], [wire.encode(Control("b", verbs.Exit()))]]
    process.run(Bus(iter(script), wire.topic(wire.HELLO, "b")))
    assert conversed and all(conversed)


def test_one_that_never_joined_ends_when_its_bus_has_gone():
    """Started by hand as the cluster ends: nobody will ever pass on its hello."""
    network = net(DRIVEN)
    role = Role("b", ["b"], [1], network.dt_ns, True, spikes_heard=["a"], index_of={"a": 0, "b": 1}, n_ids=2)
    process = WallProcess(role, Core(place(network, 1).neuron_part(1)))
    asked = []

    class Deaf(ScriptedBus):
        def send(self, data):
            assert data[:1] == wire.HELLO
            if over:
                asked.append(data)
                assert len(asked) < 5, "for ever"

    over: list[bool] = []

    def ended() -> bool:
        """Asked twice: the second time the bus has gone."""
        calls.append(1)
        over.extend([True] * (len(calls) > 1))
        return bool(over)

    calls: list[int] = []
    process.run(Deaf(iter(lambda: [], None), b"h/"), stop_when=ended)
    assert over and not asked


def test_a_child_writes_nothing_that_its_parent_has_prepared():
    """A table bound again in each child is memory that none of them shares."""
    network = net(DRIVEN)
    role = Role("b", ["b"], [1], network.dt_ns, True, spikes_heard=["a"], index_of={"a": 0, "b": 1}, n_ids=2)
    process = WallProcess(role, Core(place(network, 1).neuron_part(1)))
    process.prepare()
    bound = dict(process.core.t.bound)
    assert "stream_rows" in bound
    process.prepare()
    assert all(process.core.t.bound[name] is array for name, array in bound.items())
    process.become(1, True)
    process.prepare()
    assert process.core.t.bound["stream_rows"] is not bound["stream_rows"], "other accounts, other rows"
