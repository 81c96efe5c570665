"""What is kept between runs is read only as it was written: snapshots and kernels."""

from __future__ import annotations

import random

import pytest

from neurobus.errors import InputError
from neurobus.node.kernel import cache, loader
from neurobus.node.sealed import KERNEL, SNAPSHOT, seal, unseal
from neurobus.node.snapshot import read_snapshot, write_snapshot

STATE = {"core": {"weight": bytes(range(256))}, "k": 7}


def test_what_is_sealed_comes_back():
    assert unseal(SNAPSHOT, seal(SNAPSHOT, b"state")) == b"state"
    assert unseal(KERNEL, seal(KERNEL, b"")) == b""
    for damaged in (b"", b"nb-snap1", seal(SNAPSHOT, b"state")[:-1], seal(KERNEL, b"state")):
        with pytest.raises(ValueError, match="it is"):
            unseal(SNAPSHOT, damaged)


def test_a_snapshot_with_any_bytes_changed_is_refused(tmp_path):
    """Two of them, one of them, cut, empty, and files of somebody else's."""
    path = write_snapshot(tmp_path, "n.0", 12, STATE)
    assert read_snapshot(tmp_path, "n.0") == read_snapshot(tmp_path, "n.0", 12) == STATE
    sound, some = path.read_bytes(), random.Random(1)
    damaged = [b"", b"\0" * 100, b"holiday photographs", sound[:-1], sound[: len(sound) // 2], sound + b"\0"]
    for _ in range(200):
        bad = bytearray(sound)
        for at in some.sample(range(len(bad)), some.choice([1, 2])):
            bad[at] ^= some.randrange(1, 256)
        damaged.append(bytes(bad))
    for bad in damaged:
        path.write_bytes(bad)
        with pytest.raises(InputError, match="cannot be resumed from: it is") as caught:
            read_snapshot(tmp_path, "n.0")
        assert "\n" not in str(caught.value)


def test_files_of_others_are_no_snapshots_of_a_neuron(tmp_path):
    write_snapshot(tmp_path, "n", 5, STATE)
    for name in ("n.snap", "n.x.snap", "n.-1.snap", "n.9.0.snap", "m.99.snap", "n.99.snap.bak", "n.7²8.snap"):
        (tmp_path / name).write_text("not ours")
    assert read_snapshot(tmp_path, "n") == STATE and read_snapshot(tmp_path, "x") is None


@pytest.mark.parametrize("spoil", [lambda data: data[:13], lambda data: b"", lambda data: data[:-1] + b"\2"])
def test_a_damaged_kernel_is_made_again(tmp_path, spoil):
    path, made = tmp_path / "lif.kernel", []

    def forged(to):
        made.append(to)
        to.write_bytes(seal(KERNEL, b"\x81\xa1a\x01"))

    forged(path)
    path.write_bytes(spoil(path.read_bytes()))
    assert loader.read(path) is None
    with pytest.raises(KeyError):  # it is made, read, and then its code is asked for
        loader._address(path, forged)
    assert made == [path, path] and loader.read(path) == {"a": 1}


def test_a_cache_folder_that_cannot_be_written_names_its_variable(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="set NEUROBUS_CACHE_DIR"), cache.alone(tmp_path / "file" / "in"):
        pass
