"""The worm's tables are what the README says, agree with each other, and build."""

from __future__ import annotations

import csv
import tomllib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from neurobus import config, network

WORM = Path(__file__).parents[2] / "configs" / "worm"
TOUCH = ["ALML", "ALMR", "AVM", "PVM", "PLML", "PLMR"]


def rows(name: str) -> list[dict[str, str]]:
    with open(WORM / name, newline="") as file:
        return list(csv.DictReader(file))


NEURONS = {row["id"]: row for row in rows("neurons.csv")}
MUSCLES = {row["id"] for row in rows("muscles.csv")}


def test_cells() -> None:
    assert len(NEURONS) == 302
    assert len(MUSCLES) == 95
    assert Counter(row["class"] for row in NEURONS.values()) == {
        "sensory": 83, "inter": 81, "motor": 116, "pharynx": 20, "other": 2}  # fmt: skip
    assert not NEURONS.keys() & MUSCLES


@pytest.mark.parametrize(
    ("files", "posts", "pairs", "sections", "autapses"),
    [
        (("chemical.csv", "chemical_inhibitory.csv"), NEURONS.keys(), 3709, 20965, 38),
        (("muscle_synapses.csv", "muscle_synapses_inhibitory.csv"), MUSCLES, 956, 5515, 0),
    ],
)
def test_chemical(files: tuple[str, str], posts: set[str], pairs: int, sections: int, autapses: int) -> None:
    excitatory, inhibitory = (rows(name) for name in files)
    links = excitatory + inhibitory
    assert len({(row["pre"], row["post"]) for row in links}) == len(links) == pairs
    assert sum(int(row["sections"]) for row in links) == sections
    assert sum(row["pre"] == row["post"] for row in links) == autapses
    assert all(int(row["sections"]) > 0 and row["post"] in posts for row in links)
    main = {name: row["transmitter"].split("+")[0] for name, row in NEURONS.items()}
    assert {main[row["pre"]] for row in inhibitory} == {"gaba"}
    assert "gaba" not in {main[row["pre"]] for row in excitatory}


@pytest.mark.parametrize(("name", "pairs"), [("electrical.csv", 1091), ("muscle_electrical.csv", 101)])
def test_each_junction_once(name: str, pairs: int) -> None:
    links = rows(name)
    assert len({frozenset((row["a"], row["b"])) for row in links}) == len(links) == pairs
    assert all(row["a"] != row["b"] for row in links)
    muscular = {frozenset((row["a"], row["b"])) for row in links if {row["a"], row["b"]} & MUSCLES}
    assert len(muscular) == (0 if name == "electrical.csv" else pairs)


def test_known_connections() -> None:
    """A few entries, read off the published matrices."""
    sections = {(row["pre"], row["post"]): int(row["sections"]) for row in rows("chemical.csv")}
    assert sections["AVDL", "AVAL"] == 37
    assert sections["ALML", "BDUL"] == 15
    junctions = {frozenset((row["a"], row["b"])): int(row["sections"]) for row in rows("electrical.csv")}
    assert junctions[frozenset(("ALMR", "AVM"))] == 16
    assert junctions[frozenset(("PVCL", "PVCR"))] == 67


def test_config_names_every_neuron_once() -> None:
    groups = tomllib.loads((WORM / "worm.toml").read_text())["groups"]
    named = [name for group in groups for name in group.get("ids", [])]
    assert named == list(NEURONS)
    assert [name for group in groups[:2] for name in group["ids"]] == TOUCH


def test_builds() -> None:
    net = network.build(config.load(WORM / "worm.toml"))
    assert net.ids == list(NEURONS)
    assert len(net.synapses.pre) == 3709
    assert len(net.junctions.a) == 1091
    assert np.count_nonzero(net.synapses.weight < 0) == 214
    assert net.min_delay >= 10


def test_builds_with_muscles_and_touch() -> None:
    switches = [f"switches.{name}=true" for name in ("muscles", "touch_nose", "touch_tail")]
    net = network.build(config.load(WORM / "worm.toml", switches))
    assert net.n_neurons == 302 + 95
    assert net.ids[net.n_neurons :] == ["nose", "tail"]
    assert len(net.synapses.pre) == 3709 + 956 + 6
    assert len(net.junctions.a) == 1091 + 101
