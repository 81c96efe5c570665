"""Neurons are named the same way everywhere."""

from __future__ import annotations

import pytest

from neurobus.errors import InputError
from neurobus.names import pick

IDS = ["AVAL", "AVAR", *(f"n.{i}" for i in range(12)), "n.3..4", "drive"]
GROUPS = {"n": list(range(2, 14)), "n#0": [3, 5], "drive": [15], "AVAL": [0]}


def chosen(*words: str) -> list[str]:
    return [IDS[i] for i in pick(words, IDS, GROUPS, "'net'")]


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        (["n.0"], ["n.0"]),
        (["AV*"], ["AVAL", "AVAR"]),
        (["n.?"], [f"n.{i}" for i in range(10)]),
        (["n.[0-2]"], ["n.0", "n.1", "n.2"]),
        (["n#0"], ["n.1", "n.3"]),
        (["n.8..11"], ["n.8", "n.9", "n.10", "n.11"]),
        (["n.3..4"], ["n.3..4"]),  # an id is that
        (["drive, n.1", "n.1,AVAR,"], ["drive", "n.1", "AVAR"]),
    ],
)
def test_what_words_mean(words: list[str], ids: list[str]) -> None:
    assert chosen(*words) == ids


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("AVAX", "no neuron 'AVAX' in 'net'; did you mean 'AVA"),
        ("zzzz", "no neuron 'zzzz' in 'net'; there are AVAL, AVAR, n.0, n.1, …"),
        ("n.8..99", "no neuron 'n.8..99' in 'net'"),
        ("n.9..8", "no neuron 'n.9..8' in 'net'"),
        ("q*", "no neuron 'q*' in 'net'"),
        (" , ", "no neuron is named"),
    ],
)
def test_what_means_nobody(word: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        chosen(word)
    assert says in str(caught.value)
