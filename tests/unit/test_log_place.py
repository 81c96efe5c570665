"""Where a log may be written: nothing is destroyed, and nobody writes where another does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from neurobus.classroom import brain as brains
from neurobus.errors import InputError
from neurobus.log import LogWriter, read, recover
from neurobus.log.place import kept, require_free
from tests.mutants import HEADER, craft


def test_what_is_there_is_kept_unless_it_is_a_log_and_overwrite_is_said(tmp_path: Path) -> None:
    log, thesis = craft(tmp_path / "x.mcap"), tmp_path / "thesis.mcap"
    thesis.write_text("chapter one")
    before = log.read_bytes()
    for path, overwrite, word in ((log, False, "--overwrite"), (thesis, False, "--overwrite"),
                                  (thesis, True, "no log, so it is kept")):  # fmt: skip
        with pytest.raises(InputError, match=word):
            require_free(path, overwrite)
        with pytest.raises(InputError, match=word):
            LogWriter(path, HEADER, overwrite)
        with pytest.raises(InputError, match=word):
            recover(log, path, overwrite) if path != log else require_free(path, overwrite)
    assert (log.read_bytes(), thesis.read_text()) == (before, "chapter one")
    LogWriter(log, HEADER, overwrite=True).close()
    assert read(log).spikes_t.size == 0


@pytest.mark.parametrize("name", ["x.csv", "config.toml", "x", "missing/x.mcap", ".", "x.mcap/y.mcap"])
def test_what_is_no_place_for_a_recording_is_refused_and_nothing_is_made(tmp_path: Path, name: str) -> None:
    craft(tmp_path / "x.mcap")
    with pytest.raises(InputError):
        require_free(tmp_path / name, overwrite=True)
    assert os.listdir(tmp_path) == ["x.mcap"]


def test_a_second_writer_is_refused_and_spoils_nothing(tmp_path: Path) -> None:
    log = LogWriter(tmp_path / "x.mcap", HEADER)
    log.spikes([10], [0], 5)
    for attempt in (lambda: LogWriter(log.path, HEADER, overwrite=True), lambda: require_free(log.path, True),
                    lambda: recover(craft(tmp_path / "y.mcap"), log.path, overwrite=True)):  # fmt: skip
        with pytest.raises(InputError, match="another program"):
            attempt()
    log.spikes([20], [0], 6)
    assert read(log.close()).spikes_t.tolist() == [10, 20]
    require_free(log.path, True)


def test_a_log_that_is_played_is_not_recorded_over(tmp_path: Path) -> None:
    path = craft(tmp_path / "x.mcap")
    with kept(path), kept(path), pytest.raises(InputError, match="another program"):
        LogWriter(path, HEADER, overwrite=True)
    assert read(path).complete


def test_recovering_from_what_is_not_there_leaves_the_other_alone(tmp_path: Path) -> None:
    path = craft(tmp_path / "x.mcap")
    before = path.read_bytes()
    with pytest.raises(InputError, match="No such file"):
        recover(tmp_path / "missing.mcap", path, overwrite=True)
    assert path.read_bytes() == before


def test_a_brain_is_written_over_a_brain_alone(tmp_path: Path) -> None:
    old = tmp_path / "x.brain"
    old.write_text("no brain")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="there already"):
            brains.require_free(old, overwrite)
    brains.Brain("x.toml", "", {}, [], 1, brains.np.empty(0)).save(old)
    with pytest.raises(InputError, match="--overwrite"):
        brains.require_free(old, False)
    brains.require_free(old, True)
    brains.require_free(tmp_path / "new.brain", False)
