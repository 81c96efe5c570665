"""The rank-order decoder: sum of mod^rank w in the order of arrival, once per volley."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tests.helpers import Ensemble, net, run_table, same, table

W = [3.0, 1.0, 2.0, -0.5]


def network(times_ms: list[list[float]], neurons: int = 1, **params: object):
    given = {"mod": 0.5, "V_th": "'100 mV'", "t_reset": "'20 ms'"} | params
    text = run_table(record_potentials="['cell']", potential_delta="0 mV", potential_interval="0.1 ms")
    text += table("groups", id="cell", model="nodes.rank_order", count=neurons,
                  params="{ " + ", ".join(f"{k} = {v}" for k, v in given.items()) + " }")  # fmt: skip
    for n, times in enumerate(times_ms):
        text += table("sources", id=f"s{n}", kind="spikes", times=str([f"{t} ms" for t in times]))
        text += table(
            "synapses", pre=f"s{n}", post="cell", rule="all_to_all", weight=f"{W[n]} mV", delay="1 ms"
        )
    return net(text)


def response(times_ms: list[list[float]], to_ms: float = 18, **params: object) -> float:
    return Ensemble(network(times_ms, **params)).run(round(to_ms * 10)).final_mv()[0]


def test_the_sum_over_ranks():
    assert response([[1], [2], [3], [4]]) == 3 + 0.5 * 1 + 0.25 * 2 - 0.125 * 0.5
    assert response([[4], [3], [2], [1]]) == -0.5 + 0.5 * 2 + 0.25 * 1 + 0.125 * 3
    assert response([[1], [9], [9.1], [15]]) == 3 + 0.5 * 1 + 0.25 * 2 - 0.125 * 0.5, "only the order counts"
    assert response([[4], [3], [2], [1]], mod=1.0) == response([[1], [2], [3], [4]], mod=1.0) == 5.5


def test_simultaneous_inputs_share_their_rank():
    assert response([[1], [2], [2], [3]]) == 3 + 0.5 * (1 + 2) - 0.125 * 0.5


def test_silence_ends_a_volley():
    assert response([[1, 40], [2, 41], [3], [4]], 60) == 3 + 0.5
    assert response([[1], [2], [3], [4]], 60) == 0.0
    assert response([[1, 22], [2], [3], [4]], 24) == 3.9375 + 0.0625 * 3, (
        "21 ms after the first, 18 after the last"
    )


def test_it_fires_once_a_volley_and_again_in_the_next():
    emission = Ensemble(network([[1, 50], [2, 51], [3, 52], [4, 53]], V_th="'3.2 mV'")).run(800).emission
    cell = emission.keys[(emission.keys & 0xFFFFFFFF) == 0] >> 32
    assert cell.tolist() == [30, 520]
    assert len(Ensemble(network([[4], [3], [2], [1]], V_th="'3.2 mV'")).run(800).emission.keys) == 4, "inputs"


@pytest.mark.parametrize("per_process", [2, 7])
def test_any_packing_and_any_order_of_answers(per_process):
    rng = np.random.default_rng(1)
    times = [np.unique(np.round(rng.uniform(1, 190, 12), 1)).tolist() for _ in W]
    built = network(times, neurons=5, V_th="{ uniform = ['2 mV', '5 mV'] }", mod="{ uniform = [0.3, 0.9] }")
    alone = Ensemble(built).run(2000).emission
    assert len(alone.keys) > 40
    assert same(alone, Ensemble(built, per_process, shuffle=random.Random(1)).run(2000).emission)


def test_a_saved_state_goes_on():
    rng = np.random.default_rng(2)
    times = [np.unique(np.round(rng.uniform(1, 190, 12), 1)).tolist() for _ in W]
    built = network(times, V_th="'3 mV'")
    whole = Ensemble(built).run(2000)
    first = Ensemble(built).run(777)
    rest = Ensemble(built, states=first.states()).run(2000)
    assert whole.final_mv() == rest.final_mv()
    assert np.array_equal(np.concatenate([first.emission.keys, rest.emission.keys]), whole.emission.keys)
