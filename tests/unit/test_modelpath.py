"""Whose modules are imported as models, and from where."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from neurobus import loading, modelpath
from neurobus.classroom.brain import Brain
from neurobus.cli import common
from neurobus.cluster.options import Options
from neurobus.model import Array

EVIL = "from pathlib import Path\nPath(__file__).with_suffix('.ran').touch()\n"


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    modelpath.guard(False)


def test_a_folder_is_looked_into_last_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = list(sys.path)
    common.find_models(tmp_path)
    common.find_models(tmp_path)
    assert sys.path[: len(before)] == before
    assert sys.path[len(before) :].count(str(tmp_path)) == 1


FOREIGN = ["antigravity", "evil", "evil.X", "neurobus.__main__", "nodesX.lif", "nodes"]


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("load", [loading.load, loading.load_synapse])
def test_a_guard_refuses_what_is_not_shipped(tmp_path: Path, name: str, load: object) -> None:
    (tmp_path / "evil.py").write_text(EVIL)
    common.find_models(tmp_path, trust=False)
    with pytest.raises(ImportError, match=r"not one of neurobus's own, .*--trust"):
        load(name)  # type: ignore[operator]
    assert os.listdir(tmp_path) == ["evil.py"]


def test_what_is_shipped_passes_a_guard_and_trust_takes_it_away() -> None:
    common.find_models(trust=False)
    assert loading.load("nodes.lif").__name__ == "Lif"
    common.find_models()
    with pytest.raises(ImportError, match="no_such_module"):
        loading.load("no_such_module")


def foreign_brain(folder: Path, weights: Array) -> Path:
    """A brain whose model is a module beside it that leaves a mark when imported; `random.py` does too."""
    (folder / "evil.py").write_text(EVIL + "from nodes.lif import Lif\nclass Evil(Lif):\n    pass\n")
    (folder / "random.py").write_text(EVIL)
    text = '[[neurons]]\nid = "a"\nmodel = "evil.Evil"\n'
    Brain("x.toml", text, {}, [], 1, weights).save(folder / "x.brain")
    return folder / "x.brain"


def test_a_strangers_brain_runs_no_code_of_theirs_without_trust(tmp_path: Path) -> None:
    import numpy as np

    brain = foreign_brain(tmp_path, np.empty(0))
    marks = lambda: {path.stem for path in tmp_path.glob("*.ran")}  # noqa: E731
    info = [sys.executable, "-P", "-m", "neurobus", "brain", "info", str(brain)]
    done = subprocess.run(info, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "--trust" in done.stderr and done.stderr.count("\n") == 1
    assert marks() == set()
    done = subprocess.run([*info, "--trust"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "") and marks() == {"evil"}


def test_a_strangers_state_folder_runs_no_code_beside_its_config(tmp_path: Path) -> None:
    state, theirs, here = (tmp_path / name for name in ("state", "theirs", "here"))
    for folder in (state, theirs, here):
        folder.mkdir()
    (theirs / "evil.py").write_text(EVIL + "from nodes.lif import Lif\nclass Evil(Lif):\n    pass\n")
    (theirs / "x.toml").write_text('[[neurons]]\nid = "a"\nmodel = "evil.Evil"\n')
    (state / "resume.json").write_text('{"step": 10}')
    (state / ".neurobus-state").write_text('{"state": 1, "config": "x"}')
    Options(config_path=str(theirs / "x.toml"), python_path=[str(theirs)]).write(state)
    program = [sys.executable, "-P", "-m", "neurobus"]
    for verb in (["run", "--resume", str(state)], ["brain", "save", "x.brain", "--state", str(state)]):
        done = subprocess.run([*program, *verb], cwd=here, capture_output=True, text=True, timeout=120)
        assert done.returncode == 2 and f"that in {theirs} runs only with --trust" in done.stderr
        assert done.stderr.count("\n") == 1 and not list(theirs.glob("*.ran"))
        done = subprocess.run([*program, *verb, "--trust"], cwd=here, capture_output=True, timeout=120)
        assert done.returncode == 2 and list(theirs.glob("*.ran")), "the snapshots are missing, no model"
        (theirs / "evil.ran").unlink()
