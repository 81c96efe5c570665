"""The table of what the machine must have: one for the Makefile, for `doctor` and for tests."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from neurobus import system
from neurobus.cli.doctor import NOTE, OK, examine

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()


def rows() -> list[dict[str, str]]:
    with system.TABLE.open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_target_of_the_table_installs_what_it_needs() -> None:
    targets = {target for row in rows() for target in row["targets"].split()}
    for target in targets - {"test", "rig", "campaign"}:  # `test` calls it `system`, `rig` is a file
        line = re.search(rf"^{target}:([^#]*)", MAKEFILE, re.M)
        assert line and f"system-{target}" in line[1].split(), target
    assert "campaign-boards: install system-campaign rig" in MAKEFILE
    assert "system: system-test" in MAKEFILE and "test: install system " in MAKEFILE
    assert re.search(r"^build/sim/rig: .*\| system-rig$", MAKEFILE, re.M)


def test_what_tests_and_benchmarks_call_is_in_the_table() -> None:
    """A board's tools are used by tests, benchmarks and the campaign alike."""
    found = {need.name for need in system.needs("test")}
    boards = {need.name for need in system.needs("rig")} | {need.name for need in system.needs("firmware")}
    assert boards <= found and boards <= {need.name for need in system.needs("bench")}
    assert boards <= {need.name for need in system.needs("campaign")}
    assert "avrdude" in found


def make(tmp_path: Path, table: str, target: str) -> subprocess.CompletedProcess[str]:
    """`make system-…` with a table of its own, where nothing can be installed."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "make", "awk", "uname", "id", "printf", "test"):
        if (path := shutil.which(name)) is not None:
            (tools / name).symlink_to(path)
    (tmp_path / "table.csv").write_text(table)
    command = [str(tools / "make"), "-s", "-f", str(ROOT / "Makefile"), f"SYSTEM={tmp_path / 'table.csv'}"]
    environment = {"PATH": str(tools)}
    return subprocess.run(
        [*command, target], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )


TABLE = """name,found as,apt,brew,targets,purpose
a,sh zsh-of-nobody,one,one,test rig,nothing
b,/no/such/file nobody-has-this,two,two,test rig,nothing
c,/no/such/file,three,,bench,nothing
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("target", "code", "word"),
    [
        ("system-test", 0, "missing: two (tests that need them are skipped)"),
        ("system-rig", 2, "make rig: missing: two"),
        ("system-bench", 0, "missing: three (figures of boards are left out)"),
        ("system-demo", 0, ""),
    ],
)
def test_what_cannot_be_installed_is_said(tmp_path: Path, target: str, code: int, word: str) -> None:
    if target == "system-bench" and shutil.which("brew"):
        pytest.skip("the row is for apt")
    done = make(tmp_path, TABLE, target)
    assert done.returncode == code, done.stderr
    assert done.stderr.partition("\n")[0].strip() == word


def test_doctor_tells_from_the_same_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    found = {finding.what: finding for finding in examine()}
    for need in system.needs():
        finding = found[need.name]
        assert finding.state == (OK if need.where() else NOTE)
        assert finding.mend == ("" if need.where() else system.install_command([need]))
    assert found["avrdude"].found == "not found; needed for flashing boards"


def test_one_command_installs_all_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "_brew", lambda: False)
    monkeypatch.setattr(system.os, "geteuid", lambda: 1000)
    lacking = [need for need in system.needs("rig") if need.name in ("a C compiler", "simavr", "libelf")]
    assert system.install_command(lacking) == "sudo apt-get install gcc libc6-dev libsimavr-dev libelf-dev"
