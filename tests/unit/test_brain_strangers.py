"""Brains with flipped bits, cut ends, or written by somebody else: read, or refused in one line."""

from __future__ import annotations

import io
import json
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurobus.classroom import brain as brains
from neurobus.errors import InputError
from tests.campaigns.logs import sound_brain
from tests.mutants import mutated_brain


@pytest.fixture
def sound(tmp_path: Path) -> bytes:
    return sound_brain(tmp_path / "sound.brain")


def with_member(sound: bytes, path: Path, name: str, content: bytes) -> Path:
    with zipfile.ZipFile(io.BytesIO(sound)) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            if info.filename != name:
                new.writestr(info.filename, old.read(info))
        new.writestr(name, content)
    return path


def test_mutants_are_read_or_refused(tmp_path: Path, sound: bytes) -> None:
    """The short form of `python -m tests.campaigns.logs --brains 500`."""
    draw, refused = random.Random(5), 0
    for n in range(120):
        path = tmp_path / "x.brain"
        mutated_brain(path, sound, draw)
        try:
            assert brains.load(path).network().n_neurons == 10, n
        except InputError as error:
            refused += 1
            assert str(error).startswith(str(path)) or "ring.toml" in str(error)
    assert refused > 40


@pytest.mark.parametrize(
    "facts",
    [
        {"seed": -1},
        {"seed": "1"},
        {"overrides": "abc"},
        {"overrides": [1]},
        {"config_name": None},
        {"facts": []},
        {"format": 2},
        {"format": None},
    ],
)
def test_facts_that_cannot_be(tmp_path: Path, sound: bytes, facts: dict[str, Any]) -> None:
    with zipfile.ZipFile(io.BytesIO(sound)) as file:
        said = json.loads(file.read("brain.json")) | facts
    with pytest.raises(InputError, match=r"no brain, or damaged|another version"):
        brains.load(with_member(sound, tmp_path / "x.brain", "brain.json", json.dumps(said).encode()))


def test_what_unpacks_to_far_more_or_claims_far_more_is_not_taken(tmp_path: Path, sound: bytes) -> None:
    huge = io.BytesIO()
    np.lib.format.write_array_header_1_0(huge, {"descr": "<f8", "fortran_order": False, "shape": (10**11,)})
    for name, content in (
        ("weights.npy", huge.getvalue()),
        ("files/zeros", bytes(80 << 20)),
        ("brain.json", b"[" * 100_000),
    ):
        with pytest.raises(InputError, match="no brain, or damaged"):
            brains.load(with_member(sound, tmp_path / "x.brain", name, content))


def test_the_version_of_its_random_streams_is_kept(tmp_path: Path, sound: bytes) -> None:
    brain = brains.load(tmp_path / "sound.brain")
    assert brain.streams == brains.STREAMS
    with zipfile.ZipFile(io.BytesIO(sound)) as file:
        said = json.loads(file.read("brain.json"))
    del said["streams"]
    old = with_member(sound, tmp_path / "x.brain", "brain.json", json.dumps(said).encode())
    assert brains.load(old).streams == 1
