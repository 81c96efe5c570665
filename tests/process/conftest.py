"""Every run here keeps its snapshots in the test's own folder; every test here starts real processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from neurobus.bridge import simboard
from tests.helpers import Cluster, Ended, ended
from tests.needs import need_simulated_boards
from tests.process.table import Boards, Paper, Simulated


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


# -- boards ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def tools() -> None:
    need_simulated_boards()
    simboard.make("rig")


@pytest.fixture
def table_of(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Boards]]:
    """`table_of("paper", n)` or `table_of("simulated", n)`."""
    made: list[Boards] = []

    def make(kind: str, n: int = 1, **more: Any) -> Boards:
        if kind == "simulated":
            request.getfixturevalue("tools")
            made.append(Simulated(n, **more))
        else:
            folder = more.pop("folder", tmp_path / "ports")
            made.append(Paper(folder, n, **more))
        return made[-1]

    yield make
    for boards in made:
        boards.close()


@pytest.fixture
def attach(neurobus) -> Callable[..., dict[str, Any]]:
    def perform(port: str, neuron: str = "m", code: int = 0, *more: object) -> Any:
        done = neurobus("attach", port, "--as", neuron, "--json", *more, timeout_s=60)
        assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout) if code == 0 else done.stderr.strip()

    return perform


@pytest.fixture
def boards_now(neurobus) -> Callable[[], list[dict[str, Any]]]:
    def perform() -> list[dict[str, Any]]:
        done = neurobus("boards", "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return perform
