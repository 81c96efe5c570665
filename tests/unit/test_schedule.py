"""The conductor's rule, step by step."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurobus.bus.schedule import Schedule
from neurobus.wire.bus import NEVER

SPIKE = (7 << 32 | 0).to_bytes(8, "little")
MV = np.array([-20.0]).tobytes()


def chain(n=3, min_delay=10, delay=10, samples=False):
    """0 → 1 → … → n - 1."""
    links = [[(p + 1, delay)] for p in range(n - 1)] + [[]]
    return Schedule(n, min_delay, links, links if samples else [[] for _ in range(n)])


def rest(schedule, *numbers):
    for p in numbers:
        schedule.answer(p, NEVER, -1, b"", b"", b"")


def test_at_the_start_everybody_may_act_at_once():
    schedule = chain()
    assert schedule.next_step() == 1
    assert schedule.round(1000) == [0, 1, 2]
    assert schedule.horizon == 10
    assert schedule.rounds == 1


def test_nobody_runs_beyond_the_limit():
    schedule = chain()
    assert schedule.round(4) == [0, 1, 2]
    assert schedule.horizon == 4
    for p in range(3):
        schedule.answer(p, 5, -1, b"", b"", b"")
    assert schedule.round(4) == []
    assert schedule.horizon == 4
    assert schedule.rounds == 1


def test_time_jumps_over_silence_to_the_first_who_acts():
    schedule = chain()
    schedule.round(10_000)
    rest(schedule, 0, 2)
    schedule.answer(1, 5000, -1, b"", b"", b"")
    assert schedule.round(10_000) == [1]
    assert schedule.horizon == 5009


def test_whoever_acts_within_the_window_goes_along():
    schedule = chain()
    schedule.round(10_000)
    for p, step in enumerate((100, 109, 110)):
        schedule.answer(p, step, -1, b"", b"", b"")
    assert schedule.round(10_000) == [0, 1]
    assert schedule.horizon == 109


def test_all_at_rest_is_the_end():
    schedule = chain()
    schedule.round(10_000)
    rest(schedule, 0, 1, 2)
    assert schedule.round(10_000) == []


@pytest.mark.parametrize("samples", [False, True])
def test_what_is_emitted_waits_for_its_targets_and_wakes_them_when_it_matters(samples):
    schedule = chain(delay=25, samples=samples)
    schedule.round(10_000)
    rest(schedule, 1, 2)
    args = (b"", SPIKE, MV) if samples else (SPIKE, b"", b"")
    schedule.answer(0, NEVER, 7, *args)
    assert schedule.next_step() == 7 + 25
    assert schedule.round(10_000) == [1]
    assert schedule.horizon == 7 + 25 + 10 - 1
    keys, sample_keys, sample_mv, stimuli = schedule.take(1)
    assert (keys, sample_keys, sample_mv, stimuli) == (*args, None)
    assert schedule.take(1) == (b"", b"", b"", None)
    assert schedule.take(2) == (b"", b"", b"", None)


def test_spikes_do_not_reach_those_who_only_hear_samples():
    schedule = Schedule(2, 10, [[], []], [[(1, 10)], []])
    schedule.round(100)
    schedule.answer(0, NEVER, 7, SPIKE, b"", b"")
    rest(schedule, 1)
    assert schedule.round(100) == []


def test_an_answer_does_not_lift_the_bound_of_what_waits():
    """1 answers, at rest, after 0 has sent it something: it must still be woken."""
    schedule = chain()
    schedule.round(1000)
    schedule.answer(0, NEVER, 3, SPIKE, b"", b"")
    rest(schedule, 1, 2)
    assert schedule.next_step() == 13
    assert schedule.round(1000) == [1]


def test_an_inbox_keeps_the_earliest_effect():
    schedule = Schedule(3, 10, [[(2, 10)], [(2, 30)], []], [[], [], []])
    schedule.round(1000)
    schedule.answer(0, NEVER, 8, SPIKE, b"", b"")
    schedule.answer(1, NEVER, 1, SPIKE, b"", b"")
    rest(schedule, 2)
    assert schedule.next_step() == 18
    schedule.round(1000)
    assert schedule.take(2)[0] == SPIKE + SPIKE


def test_inputs_for_later_do_not_slow_whoever_acts_earlier():
    schedule = chain()
    schedule.round(1000)
    schedule.answer(0, NEVER, 7, SPIKE, b"", b"")
    schedule.answer(1, 12, -1, b"", b"", b"")
    rest(schedule, 2)
    assert schedule.next_step() == 12


def test_a_stimulus_acts_in_the_first_update_nobody_has_run():
    schedule = chain()
    schedule.round(10_000)
    rest(schedule, 0, 1, 2)
    assert schedule.stimulus(1, 5, 2.5) == 10
    assert schedule.next_step() == 11
    assert schedule.round(10_000) == [1]
    assert schedule.take(1) == (b"", b"", b"", [[10, 5, 2.5]])


def test_a_stimulus_for_later_waits():
    schedule = chain()
    schedule.round(10_000)
    rest(schedule, 0, 1, 2)
    schedule.at(2, 700, 2, 1.0)
    assert schedule.round(10_000) == [2]
    assert schedule.horizon == 710


def test_the_horizon_never_goes_back():
    schedule = chain()
    schedule.round(10_000)
    rest(schedule, 1, 2)
    schedule.answer(0, 500, -1, b"", b"", b"")
    schedule.round(10_000)
    schedule.answer(0, 501, -1, b"", b"", b"")
    assert schedule.round(505) == [0]
    assert schedule.horizon == 509


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 6), st.integers(1, 12), st.integers(0, 1 << 30))
def test_nothing_arrives_after_its_time(n, min_delay, seed):
    """The law of the rule: whatever the processes do within their word, an input reaches its target before
    the target has run the first update in which it could act; and time goes on by min_delay a round."""
    rng = random.Random(seed)
    targets = [
        [(q, min_delay + rng.randrange(5)) for q in range(n) if q != p and rng.random() < 0.5]
        for p in range(n)
    ]
    schedule = Schedule(n, min_delay, targets, [[] for _ in range(n)])
    done, word, inbox = [0] * n, [1] * n, [list[int]() for _ in range(n)]
    limit, horizons = 400, [0]
    while active := schedule.round(limit):
        first = schedule.next_step()
        assert first >= min(horizons[-1] + 1, limit)
        horizons.append(schedule.horizon)
        for p in active:
            schedule.take(p)
        rng.shuffle(active)
        for p in active:
            early = [step for step in inbox[p] if step <= schedule.horizon]
            inbox[p] = []
            assert all(step > done[p] for step in early)
            lowest = min([word[p], *early])
            emits = [s for s in range(max(lowest, done[p] + 1), schedule.horizon + 1) if rng.random() < 0.1]
            done[p] = schedule.horizon
            word[p] = schedule.horizon + 1 + rng.randrange(3 * min_delay)
            schedule.answer(p, word[p], min(emits, default=-1), SPIKE if emits else b"", b"", b"")
            for q, delay in targets[p] if emits else ():
                inbox[q].append(emits[0] + delay)
    assert schedule.rounds <= -(-limit // min_delay)
