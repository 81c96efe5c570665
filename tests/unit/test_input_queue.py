"""What waits to be sent to a board: the order, the messages, and what a running board has room for."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from neurobus.bridge.input_queue import KICK_LEAD_S, LEAD_S, MOST_SYNAPSES, InputQueue
from neurobus.wire import link

DT_S = 0.001
INPUTS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5), st.booleans()))


def filled(inputs: list[tuple[int, int, bool]]) -> InputQueue:
    queue = InputQueue()
    for tick, value, is_kick in inputs:
        (queue.kick if is_kick else queue.spike)(tick, value)
    return queue


def flat(messages: list[tuple[link.Message, dict[str, Any]]]) -> list[tuple[int, bool, int]]:
    """(update, whether a kick, synapse or weight), in the order sent."""
    found = []
    for message, values in messages:
        if message is link.KICK:
            found.append((values["tick"], True, values["weight"]))
        else:
            assert 1 <= len(values["synapses"]) <= MOST_SYNAPSES
            found += [(values["tick"], False, synapse) for synapse in values["synapses"]]
    return found


@given(INPUTS, st.integers(0, 32), st.integers(0, 32))
def test_all_that_acts_before_is_sent_sorted_spikes_before_kicks(inputs, before, kicks_before):
    sent = flat(filled(inputs).take(before, kicks_before))
    due = [
        (tick, is_kick, value)
        for tick, value, is_kick in inputs
        if tick < (kicks_before if is_kick else before)
    ]
    # Those of one update and kind go in the order in which they were given.
    assert sent == sorted(due, key=lambda one: one[:2])


@given(INPUTS, st.integers(0, 32))
def test_what_is_not_due_is_sent_later_and_once(inputs, before):
    queue = filled(inputs)
    sent = flat(queue.take(before, before)) + flat(queue.take(100, 100))
    assert sorted(sent) == sorted((tick, is_kick, value) for tick, value, is_kick in inputs)
    assert queue.take(100, 100) == []


def test_the_kicks_of_one_update_are_gathered():
    queue = filled([(3, 4, True), (3, 5, True), (4, 1, True)])
    queue.gather = lambda weights: [sum(weights)]
    assert flat(queue.take(9, 9)) == [(3, True, 9), (4, True, 1)]


def test_a_running_board_is_sent_what_it_has_room_for_the_earliest_first():
    queue = filled([(tick, 0, False) for tick in (10, 11, 12, 13)])
    assert flat(queue.due(0, DT_S, holds=2)) == [(10, False, 0), (11, False, 0)]
    assert queue.due(10, DT_S, holds=2) == []
    assert queue.due_s(DT_S, holds=2) == 11 * DT_S  # when the first has acted
    assert flat(queue.due(11, DT_S, holds=2)) == [(12, False, 0)]


def test_spikes_of_one_update_are_not_torn_apart_for_room():
    queue = filled([(10, synapse, False) for synapse in range(5)])
    assert len(flat(queue.due(0, DT_S, holds=2))) == 5


def test_what_comes_late_takes_no_room():
    queue = filled([(5, 0, False), (20, 1, False)])
    assert flat(queue.due(10, DT_S, holds=1)) == [(5, False, 0)]
    assert flat(queue.due(10, DT_S, holds=1)) == [(20, False, 1)]


def test_what_has_a_long_delay_waits_here_and_a_kick_longer():
    queue = filled([(1000, 0, False), (1000, 7, True)])
    spike_s, kick_s = 1000 * DT_S - LEAD_S, 1000 * DT_S - KICK_LEAD_S
    assert queue.due_s(DT_S, holds=9) == spike_s
    assert queue.due(int((spike_s - 0.01) / DT_S), DT_S, holds=9) == []
    assert flat(queue.due(round(spike_s / DT_S), DT_S, holds=9)) == [(1000, False, 0)]
    assert queue.due_s(DT_S, holds=9) == kick_s
    assert flat(queue.due(round(kick_s / DT_S), DT_S, holds=9)) == [(1000, True, 7)]
    assert queue.due_s(DT_S, holds=9) == float("inf")
