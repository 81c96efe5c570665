"""[hand_over] [hand_over_lost] [unplugged] [silent] A neuron changes hands: its time without an owner.

From the process to the board nobody is without an owner by construction; what can be seen is how long a spike
of the new owner was held back. When the cable is pulled, or the board loses its power, it is the time until
the process says that it owns its neuron.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

from neurobus.wire import bus as wire
from neurobus.wire.message import Report
from tests.bench.desk import Desk, desk
from tests.bench.figure import Figure, spread

ROUNDS = 5
UNPLUGGED_MS, SILENT_MS = 20.0, 100.0

CONFIG = """
[run]
snapshot_every = "0 s"
[[neurons]]
id = "m"
model = "nodes.chip"
[[neurons]]
id = "n"
model = "nodes.lif"
[[sources]]
id = "p"
kind = "poisson"
rate = "100 Hz"
count = 3
[[synapses]]
pre = "p"
post = "m"
rule = "all_to_all"
weight = "4000 pA"
delay = "40 ms"
[[synapses]]
pre = "m"
post = "n"
weight = "100 pA"
delay = "40 ms"
"""


def measure() -> list[Figure]:
    gaps, pulled, silent = [], [], []
    with desk(CONFIG) as table:
        for _ in range(ROUNDS):
            table.attach(["m"])
            time.sleep(0.5)
            gaps.append(table.boards()[0]["gap_ms"])
            table.verb("detach", "m")
            time.sleep(0.2)
        table.attach(["m"])
        for _ in range(ROUNDS):
            pulled.append(_until_owned(table, table.rig.unplug))
            table.rig.plug()
            _until_back(table)
            silent.append(_until_owned(table, lambda: table.rig.power(False)))
            table.rig.power(True)
            _until_back(table)
        summary = table.stop()
    wrong = summary["lost"] + summary["duplicates"] + summary["dropped"]
    notes = {"hand_overs": 2 * ROUNDS + 4 * ROUNDS, "spikes": summary["spikes"]}
    return [
        Figure("hand_over", max(gaps), "ms without an owner", "0", max(gaps) == 0,
               more={"spread": spread(gaps), "what": "a spike of the board held back for so long at most"}),
        Figure("hand_over_lost", wrong, "spikes lost or doubled", "0", wrong == 0, more=notes),
        Figure("unplugged", median(pulled), "ms until the shadow owns", f"≤ {UNPLUGGED_MS:g}",
               max(pulled) <= UNPLUGGED_MS, more={"spread": spread(pulled)}),
        Figure("silent", median(silent), "ms until the shadow owns", f"≤ {SILENT_MS:g}",
               max(silent) <= SILENT_MS, more={"spread": spread(silent)}),
    ]  # fmt: skip


def _until_owned(table: Desk, do: Callable[[], None]) -> float:
    """Milliseconds from the deed to the process's word."""
    peer = table.peer()
    try:
        peer.subscribe(wire.topic(wire.REPORT, "m"))
        peer.join("bench")
        begun = time.monotonic()
        do()
        give_up = begun + 5
        while (left := give_up - time.monotonic()) > 0:
            data = peer.wait(left)
            if data is not None and data.startswith(wire.REPORT):
                event = wire.decode(data)
                if isinstance(event, Report) and event.message.verb == "owner":
                    return (time.monotonic() - begun) * 1000
    finally:
        peer.close()
    raise TimeoutError("the process did not take its neuron back")


def _until_back(table: Desk) -> None:
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up:
        if table.boards()[0]["stage"] == "owns the neuron":
            time.sleep(0.3)
            return
        time.sleep(0.1)
    raise TimeoutError("the board did not take its neuron back")
