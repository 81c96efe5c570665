"""A neuron's process on a bus that does as it is told."""

from __future__ import annotations

import time

from neurobus.events import Control, Spikes
from neurobus.node.core import Core
from neurobus.node.rehearsal import Stage
from neurobus.node.runtime import Role, Runtime, now_ns
from neurobus.placement import place
from neurobus.wire import bus as wire
from neurobus.wire.bus import NEVER
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
    runtime = Runtime(role, Core(place(network, 1).neuron_part(1)))
    begun = now_ns()

    def traffic():
        yield []
        yield [wire.encode(Control(wire.EVERYONE, "start", {"t0_ns": begun, "stop_step": None}))]
        for n in range(60):
            yield [wire.encode(Spikes("a", 0, n, [now_ns() - begun]))]
            for _ in range(4):
                time.sleep(0.0005)
                yield []
        yield [wire.encode(Control("b", "exit"))]

    waits = []

    class Bus(Stage):
        def linger(self):
            waits.append(runtime._timer is not None or runtime._next >= NEVER)
            return super().linger()

    runtime.run(Bus(traffic(), wire.topic(wire.HELLO, "b")))
    assert runtime.spikes_sent > 3
    assert all(waits)
