"""The leak check of conftest.py sees what it is there to see."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Leaks, Neurobus

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_a_tidy_test_leaves_nothing(runtime_dir: Path) -> None:
    leaks = Leaks(runtime_dir)
    with (runtime_dir / "snapshot").open("w") as file:
        file.write("plain files may stay")
    subprocess.run([sys.executable, "-c", ""], check=True)
    assert leaks.settled() == []


@pytest.mark.skipif(sys.platform != "linux", reason="open files are listed on Linux only")
def test_sees_an_open_fd(runtime_dir: Path) -> None:
    leaks = Leaks(runtime_dir)
    read, write = os.pipe()
    assert len(leaks.fds()) == 2
    os.close(read)
    os.close(write)
    assert leaks.fds() == []


def test_sees_a_socket_file(runtime_dir: Path) -> None:
    leaks = Leaks(runtime_dir)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(runtime_dir / "bus"))
    assert leaks.settled(0) == [f"socket file {runtime_dir / 'bus'}"]
    (runtime_dir / "bus").unlink()


def test_sees_a_child(runtime_dir: Path) -> None:
    leaks = Leaks(runtime_dir)
    child = subprocess.Popen(SLEEP, env={})
    assert [process.pid for process in leaks.processes()] == [child.pid]
    child.kill()
    child.wait()
    assert leaks.processes() == []


@pytest.mark.parametrize("known_by", ["environment", "command line"])
def test_sees_a_process_whose_parent_is_gone(runtime_dir: Path, known_by: str) -> None:
    leaks = Leaks(runtime_dir)
    how = f"{SLEEP}" if known_by == "environment" else f"{[*SLEEP, str(runtime_dir)]}, env={{}}"
    parent = f"import subprocess as s; print(s.Popen({how}, stdout=s.DEVNULL).pid)"
    orphan = int(subprocess.run([sys.executable, "-c", parent], check=True, stdout=subprocess.PIPE).stdout)
    (found,) = leaks.processes()
    assert found.pid == orphan
    found.kill()
    assert leaks.settled() == []


def test_a_command_left_running_is_killed(tmp_path: Path) -> None:
    (tmp_path / "neurobus.py").write_text("import time; print('up', flush=True); time.sleep(60)")
    command = Neurobus(cwd=tmp_path)
    process = command.start()
    assert process.stdout is not None and process.stdout.readline() == "up\n"
    command.close()
    assert process.returncode == -9


def test_a_command_that_does_not_end_fails_with_its_output(tmp_path: Path) -> None:
    (tmp_path / "neurobus.py").write_text("import time; print('stuck here', flush=True); time.sleep(60)")
    command = Neurobus(cwd=tmp_path)
    with pytest.raises(pytest.fail.Exception, match="stuck here"):
        command("run", timeout_s=0.5)
    command.close()
