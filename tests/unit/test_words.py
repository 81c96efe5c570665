from __future__ import annotations

import pytest

from neurobus.words import counted, number, some


@pytest.mark.parametrize(
    ("n", "noun", "text"),
    [
        (1, "neuron", "1 neuron"),
        (0, "neuron", "0 neurons"),
        (1234567, "spike", "1,234,567 spikes"),
        (2, "process", "2 processes"),
        (2, "synapse", "2 synapses"),
        (3, "pass", "3 passes"),
    ],
)
def test_one_and_many(n: int, noun: str, text: str) -> None:
    assert counted(n, noun) == text


def test_some_of_many() -> None:
    assert some(["a", "b"]) == "a, b"
    assert some(list("abcdefg"), 3) == "a, b, c, …"
    assert number(12345.678, ",.1f") == "12,345.7"
