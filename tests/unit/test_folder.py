"""The folder of a run, and whose it is."""

from __future__ import annotations

import os

from neurobus.cluster import folder as folders


def test_the_last_of_a_killed_run_leaves_the_next_ones_folder_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("NEUROBUS_RUNTIME_DIR", str(tmp_path))
    folder = folders.create("net")
    mine, dead = os.getpid(), 2**22 + 1
    assert folders.owner_of(folder) == mine
    folders.remove(folder, dead)
    assert folders.live(folder)
    folders.remove(folder, mine)
    assert not folder.exists()
    folders.remove(folder, mine)


def test_what_is_left_without_an_owner_is_removed(tmp_path):
    (tmp_path / "net").mkdir()
    folders.remove(tmp_path / "net", 1)
    assert not (tmp_path / "net").exists()
