"""Which snapshot is whole."""

from __future__ import annotations

import json

import pytest

from neurobus.cluster.options import Options
from neurobus.cluster.resume import Snapshots, keep

FACTS = {"clock": "virtual", "name": "x", "seed": 1}


def test_a_snapshot_counts_once_every_process_has_written_it(tmp_path):
    options, kept = Options(state=str(tmp_path)), Snapshots(2)
    assert not kept.saved("a", 10)
    assert not kept.saved("a", 10), "one that tells it twice is one"
    assert not kept.saved("b", 20)
    for name in ("a.10.snap", "b.10.snap", "b.20.snap"):
        (tmp_path / name).write_bytes(b"")
    assert kept.saved("b", 10)
    keep(options, 10, FACTS, kept.step is None)
    kept.kept(10)
    assert json.loads((tmp_path / "resume.json").read_text()) == {
        "step": 10, "clock": "virtual", "name": "x", "seed": 1}  # fmt: skip
    assert not kept.saved("c", 10)
    assert kept.saved("a", 20)
    keep(options, 20, FACTS, kept.step is None)
    kept.kept(20)
    assert sorted(path.name for path in tmp_path.glob("*.snap")) == ["b.20.snap"]


def test_where_there_is_no_room_the_one_before_stays(tmp_path):
    options, kept = Options(state=str(tmp_path)), Snapshots(1)
    kept.saved("a", 10)
    keep(options, 10, FACTS, kept.step is None)
    kept.kept(10)
    (tmp_path / "a.10.snap").write_bytes(b"")
    (tmp_path / ".resume.tmp").mkdir()  # a file that cannot be written
    assert kept.saved("a", 20)
    with pytest.raises(OSError):
        keep(options, 20, FACTS, kept.step is None)
    assert kept.step == 10
    assert json.loads((tmp_path / "resume.json").read_text())["step"] == 10
    assert (tmp_path / "a.10.snap").exists()
