"""Every run here keeps its snapshots in the test's own folder; every test here starts real processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import Cluster, Ended, ended


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.process)


@pytest.fixture(autouse=True)
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEUROBUS_STATE_DIR", str(tmp_path / "states"))
    return tmp_path / "states"


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Path]:
    """Writes a config, and the files it names, into the test's folder."""

    def write(*tables: str, name: str = "net.toml", **files: str) -> Path:
        for stem, text in files.items():
            (tmp_path / stem.replace("__", ".")).write_text(text)
        (tmp_path / name).write_text("".join(tables))
        return tmp_path / name

    return write


@pytest.fixture
def run(neurobus) -> Callable[..., Ended]:
    """`run(config, *arguments)` to its end; the run must succeed unless `code` says otherwise."""

    def perform(config: Path, *args: object, code: int = 0, timeout_s: float = 60) -> Ended:
        done = neurobus("run", config, "--json", *args, timeout_s=timeout_s)
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return ended(done.returncode, done.stdout, done.stderr)

    return perform


@pytest.fixture
def launch(neurobus) -> Callable[..., Cluster]:
    """`launch(config, *arguments)`: a run past its start barrier."""
    return lambda config, *args: Cluster(neurobus.start("run", config, "--json", *args))
