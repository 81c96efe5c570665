"""What was under way at a snapshot: what its senders kept against what its receivers had heard."""

from __future__ import annotations

import numpy as np
import pytest

from neurobus.node.core import Core
from neurobus.node.cut import Sent, capture_more, unheard
from neurobus.node.process import Process
from neurobus.node.role import Role
from neurobus.node.wall import WallProcess
from neurobus.placement import place
from tests.helpers import net, run_table, table

S = 1000


def keys(*steps: int, neuron: int = 3) -> np.ndarray:
    return np.array(steps, np.int64) << 32 | neuron


def kept(*batches: tuple[int, int, np.ndarray], at: tuple[int, int] | None) -> list[tuple]:
    """Batches as they come back from a snapshot's file."""
    sent = Sent(list(batches), [], at and (*at, 0))
    return Sent.restored(sent.dump(S)).spikes


@pytest.mark.parametrize(
    ("heard", "found", "lost"),
    [
        ((0, 12), [], 0),
        ((0, 11), [990], 0),
        ((0, 10), [980, 990], 0),
        ((0, 8), [980, 990], 2),  # two were sent before anything was kept
        ((0, 13), [], 0),  # heard what is stamped later, too
        ((1, 1), [], 0),  # of a later life of the sender
    ],
)
def test_what_was_not_heard_is_felt_and_what_was_not_kept_is_lost(heard, found, lost):
    batches = kept((0, 10, keys(980)), (0, 11, keys(990, 1001)), at=(0, 12))
    columns, missing = unheard(heard, batches, (0, 12))
    assert [int(k) >> 32 for column in columns for k in column[0]] == found
    assert missing == lost


def test_a_new_life_counts_from_zero():
    batches = kept((0, 7, keys(900)), (1, 0, keys(950)), (1, 1, keys(960)), at=(1, 2))
    columns, lost = unheard((0, 7), batches, (1, 2))
    assert [int(k) >> 32 for column in columns for k in column[0]] == [900, 950, 960]
    assert lost == 0
    assert unheard((1, 1), batches, (1, 2))[1] == 0
    assert unheard((0, 7), batches[:1], (1, 2))[1] == 2


def test_where_a_board_counts_nothing_is_said_to_be_lost():
    columns, lost = unheard((2, 4), kept((2, 4, keys(999)), at=None), None)
    assert [len(column[0]) for column in columns] == [1]
    assert lost == 0


def test_samples_that_came_after_are_sorted_in():
    core = {"k": S, "keys": keys(990).tobytes(), "sample_keys": keys(995).tobytes(),
            "sample_mv": np.array([-61.0]).tobytes()}  # fmt: skip
    capture_more(core, keys(980), keys(994, 1001), np.array([-60.0, -50.0]))
    assert np.frombuffer(core["keys"], np.int64).tolist() == keys(980, 990).tolist()
    assert np.frombuffer(core["sample_keys"], np.int64).tolist() == keys(994, 995).tolist()
    assert np.frombuffer(core["sample_mv"]).tolist() == [-60.0, -61.0]


def test_a_resumed_neuron_fires_by_the_spike_that_nobody_had_heard():
    network = net(
        run_table()
        + table("neurons", id="a", model="nodes.lif")
        + table("neurons", id="b", model="nodes.lif")
        + table("synapses", pre="a", post="b", weight="4000 pA", delay="10 ms")
    )

    def receiver() -> Process:
        role = Role("b", ["b"], [1], network.dt_ns, True, spikes_heard=["a"], index_of={"a": 0}, n_ids=2)
        return WallProcess(role, Core(place(network, 1).neuron_part(1)))

    before = receiver()
    before.prepare()
    before.core.advance(S)
    state = before.state()
    sent = Sent([(0, 5, keys(970, neuron=0))], [], (0, 6, 0)).dump(S)
    after = receiver()
    after.restore(state, same_run=False)
    after.recover(state["ledgers"], {"a": sent})
    emitted = after.core.advance(S + 200).keys >> 32
    assert [int(k) for k in emitted] == [1085]  # 970 + 100, and 15 steps to rise
    assert after.status()["lost"] == 5
    assert (after.status()["late"], after.status()["deliveries"]) == (0, 1)


def test_figures_begin_anew_with_a_run_and_go_on_with_a_life():
    network = net(run_table() + table("neurons", id="b", model="nodes.lif", params='{ I_e = "900 pA" }'))

    def life() -> Process:
        return WallProcess(Role("b", ["b"], [0], network.dt_ns, True), Core(place(network, 1).neuron_part(0)))

    first = life()
    first.core.late, first.core.deliveries = 2, 7
    first.outbox.count(keys(1, 2, 3, 4))
    first.inbox.ledger.accept("x", 0, 3, 1)
    state = first.state()
    resumed, restarted = life(), life()
    resumed.restore(state, same_run=False)
    restarted.restore(state, same_run=True)
    figures = [(s["spikes"], s["deliveries"], s["late"], s["lost"]) for s in
               (resumed.status(), restarted.status())]  # fmt: skip
    assert figures == [(0, 0, 0, 0), (4, 7, 2, 3)]
    assert (resumed.outbox.counts(), restarted.outbox.counts()) == ([0], [4])
