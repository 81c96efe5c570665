"""Every quick exhibit as a reader runs it, and that a claim can fail."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from neurobus import exhibits
from neurobus.config import load
from neurobus.errors import InputError
from neurobus.exhibits import Exhibit, Row, lab
from neurobus.exhibits.show import Shown, render, show
from neurobus.network import build

pytestmark = [pytest.mark.process, pytest.mark.timeout(400)]
ALL = {name: exhibits.load(name) for name in exhibits.names()}
QUICK = [name for name, exhibit in ALL.items() if exhibit.quick]
CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "papers").glob("*.toml"))


@pytest.mark.parametrize("name", QUICK)
def test_a_quick_exhibit_meets_its_numbers(name: str, neurobus, tmp_path: Path) -> None:
    done = neurobus("exhibit", name, "--json", "-o", tmp_path, timeout_s=390)
    assert done.stdout, done.stderr
    facts = json.loads(done.stdout)
    assert [row for row in facts["rows"] if row["passed"] is False] == []
    assert facts["passed"] and done.returncode == 0
    picture = Path(facts["picture"])
    assert picture == tmp_path / f"{name}.png"
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and picture.stat().st_size > 20_000


SYMMETRIC = "winnerless", ALL["winnerless"].controls[0]  # has a test of its own
CONTROLS = [(name, change) for name in QUICK for change in ALL[name].controls]


@pytest.mark.parametrize(("name", "change"), [one for one in CONTROLS if one != SYMMETRIC])
def test_a_control_fails(name: str, change: str | tuple[str, ...]) -> None:
    shown = show(name, None, [change] if isinstance(change, str) else change)
    assert not shown.passed
    assert any(row.passed is False for row in shown.rows)


def test_with_symmetric_inhibition_the_order_of_states_is_chance(neurobus, tmp_path: Path) -> None:
    """The units go on taking turns: it is their order that the exhibit judges, and that can fail. What failed
    is drawn all the same."""
    changes = [word for change in SYMMETRIC[1] for word in ("--set", change)]
    done = neurobus("exhibit", "winnerless", "--json", "-o", tmp_path, *changes, timeout_s=390)
    assert done.returncode == 1, done.stderr
    rows = {row["what"]: row for row in json.loads(done.stdout)["rows"]}
    assert rows["switches in five rings, nu = 1.5"]["passed"]
    order = rows["of these in the order of the inhibition"]
    assert order["passed"] is False and 40 < order["measured"] < 60
    assert (tmp_path / "winnerless.png").stat().st_size > 20_000


def test_a_failure_is_said_and_is_exit_code_1(neurobus, tmp_path: Path) -> None:
    done = neurobus("exhibit", "thorpe", "--set", "groups.cell.params.mod=1.0", "-o", tmp_path, timeout_s=390)
    assert done.returncode == 1 and "✗ response to the order it was set for" in done.stdout
    assert "failed, 1 run" in done.stdout


@pytest.mark.parametrize("name", ALL)
def test_an_exhibit_says_what_it_claims(name: str) -> None:
    exhibit = ALL[name]
    assert issubclass(exhibit, Exhibit)
    assert exhibit.title and exhibit.claim.endswith(".") and exhibit.source
    listed = (Path(__file__).parents[2] / "configs" / "papers" / "README.md").read_text()
    assert f"| `{name}` |" in listed, "the table in configs/papers/README.md lacks it"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_of_a_paper_builds_and_says_how_to_run_it(path: Path) -> None:
    network = build(load(path))
    assert network.config.run.clock == "virtual"
    assert "neurobus exhibit " in path.read_text().partition("[run]")[0]


def test_the_list(neurobus) -> None:
    done = neurobus("exhibit", "--json")
    assert [fact["name"] for fact in json.loads(done.stdout)] == list(ALL)
    assert all(name in neurobus("exhibit").stdout for name in ALL)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["gap_juntion"], "no exhibit 'gap_juntion'; did you mean 'gap_junction'?"),
        (["gap_junction", "--all"], "give NAME or --all, not both"),
        (["--all", "--set", "run.seed=2"], "--set changes one exhibit; give its NAME"),
        (
            ["gap_junction", "--set", "neurons.warm.parms=1"],
            "--set neurons.warm.parms=1: unknown field 'parms'",
        ),
    ],
)
def test_what_is_wrong_is_one_line(neurobus, arguments: list[str], says: str) -> None:
    done = neurobus("exhibit", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr and done.stderr.count("\n") == 1


def test_without_a_checkout_a_clear_word(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lab.neurobus, "__file__", str(tmp_path / "site" / "neurobus" / "__init__.py"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="exhibits need a checkout of neurobus"):
        lab.papers_folder()
    (tmp_path / "configs" / "papers").mkdir(parents=True)
    assert lab.papers_folder() == tmp_path / "configs" / "papers", "the current folder may be one"


def test_rows_judge_at_their_limits() -> None:
    assert Row.near("", 1.5, 1.0, 0.5).passed and not Row.near("", 1.51, 1.0, 0.5).passed
    assert Row.between("", 2, 2, 3).passed and not Row.between("", 3.01, 2, 3).passed
    assert not Row.below("", 1, 1).passed and not Row.above("", 1, 1).passed
    assert not Row.near("", float("nan"), 0, 1).passed and not Row.between("", float("nan"), 0, 1).passed
    assert Row.near("", 52.31, 52.3, 0.5, "Hz").text() == "52.31 Hz"
    assert Row.near("", float("nan"), 0, 1, "ms").text() == "nan ms", "where there was nothing to measure"
    assert json.dumps(asdict(Row.near("", np.float64(1), np.float64(1), 0))), "numpy's numbers are welcome"
    assert Row.near("", 52.31, 52.3, 0.5, "Hz").expected == "52.3 ± 0.5 Hz"


def test_a_verdict_needs_a_judged_row() -> None:
    def shown(*rows: Row) -> Shown:
        return Shown("x", "A claim.", "A source", list(rows), 1, 0.1, None)

    good, bad, told = Row.near("a", 1, 1, 0), Row.near("b", 2, 1, 0), Row.told("c", 3.0)
    assert shown(good, told).passed and not shown(good, bad).passed and not shown(told).passed
    facts = shown(Row.near("d", float("nan"), 0, 1)).facts()
    assert json.loads(json.dumps(facts, allow_nan=False))["rows"][0]["measured"] is None
    assert "✗ b" in render(shown(good, bad)) and "failed" in render(shown(good, bad))
