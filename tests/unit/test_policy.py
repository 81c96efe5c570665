"""When a dead neuron is restarted."""

from __future__ import annotations

from neurobus.cluster.policy import FIRST_PAUSE_S, LONGEST_PAUSE_S, RestartPolicy


def test_pauses_double_up_to_the_longest_and_the_budget_ends():
    policy = RestartPolicy(8)
    pauses = [policy.died("a") for _ in range(9)]
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, None]
    assert (pauses[0], max(p for p in pauses if p)) == (FIRST_PAUSE_S, LONGEST_PAUSE_S)
    assert policy.total == 8


def test_the_budget_is_each_neurons_own():
    policy = RestartPolicy(1)
    assert [policy.died(name) for name in "aabb"] == [0.1, None, 0.1, None]
    assert policy.used == {"a": 1, "b": 1}
    assert policy.total == 2


def test_no_budget_is_no_restart():
    policy = RestartPolicy(0)
    assert policy.died("a") is None
    assert policy.total == 0
