"""The folder of a run: whose it is, and that nobody else's is believed."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading

import pytest

from neurobus.bridge import ports
from neurobus.bus.peer import Endpoints
from neurobus.cluster import folder as folders
from neurobus.cluster.options import Options
from neurobus.errors import InputError

DEAD = 2**22 + 1


@pytest.fixture
def base(runtime_dir):
    return runtime_dir


def manifest(folder, **changes):
    facts = {"name": folder.name, "pid": os.getpid(), "config": "c.toml", "clock": "wall", "seed": 1,
             "dt_ns": 100, "endpoints": {}, "ids": ["n"], "n_neurons": 1, "streams": ["n"],
             "processes": 1, "external": [],
             "weight_units": ["mV"], "started_unix_ns": 1}  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(facts | changes))


def test_the_last_of_a_killed_run_leaves_the_next_ones_folder_alone():
    folder = folders.create("net")
    mine = os.getpid()
    assert folders.owner_of(folder) == mine
    folders.remove(folder, DEAD)
    assert folders.live(folder)
    folders.remove(folder, mine)
    assert not folder.exists()
    folders.remove(folder, mine)


def test_what_is_left_without_an_owner_is_removed(tmp_path):
    (tmp_path / "net").mkdir()
    folders.remove(tmp_path / "net", 1)
    assert list(tmp_path.iterdir()) == []


def planted(base, name="net", mode=0o700, pid=None):
    folder = base / name
    folder.mkdir()
    folder.chmod(mode)
    (folder / "pid").write_text(str(os.getpid() if pid is None else pid))
    manifest(folder)
    return folder


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o755, 0o701])
def test_a_run_folder_that_is_open_to_others_is_not_believed(base, mode):
    planted(base, mode=mode)
    for act in (folders.running, lambda: folders.find("net"), lambda: folders.find(None), ports.simulated):
        with pytest.raises(InputError, match=r"net: is open to others .* not believed"):
            act()


def test_a_run_folder_behind_a_link_is_not_believed(base, tmp_path):
    planted(tmp_path, "elsewhere")
    (base / "net").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is a symbolic link"):
        folders.running()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's folder")
def test_another_users_folders_are_not_believed(base):
    folder = planted(base)
    os.chown(folder, 12345, 12345)
    with pytest.raises(InputError, match="belongs to user 12345, not to you"):
        folders.running()
    os.chown(folder, 0, 0)
    assert [m.name for m in folders.running()] == ["net"]
    os.chown(base, 12345, 12345)
    for act in (folders.running, lambda: folders.create("net")):
        with pytest.raises(InputError, match=r"belongs to user 12345, not to you.*NEUROBUS_RUNTIME_DIR"):
            act()
    os.chown(base, 0, 0)


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_runtime_folder_in_which_others_may_write_is_not_used(base, mode):
    base.chmod(mode)
    for act in (folders.running, lambda: folders.create("net")):
        with pytest.raises(InputError, match="is open to others"):
            act()
    assert list(base.iterdir()) == []


def test_a_runtime_folder_made_by_nobody_in_particular_is_ours_alone(base, monkeypatch):
    """The place in the temporary directory, or the session's: nobody but us may even look into it."""
    monkeypatch.setattr(folders, "_is_named", lambda: False)
    base.chmod(0o755)
    with pytest.raises(InputError, match="is open to others"):
        folders.running()
    base.chmod(0o700)
    assert folders.running() == []


@pytest.mark.parametrize("what", ["link", "file", "dangling"])
def test_a_runtime_folder_that_is_none_is_one_line(base, tmp_path, monkeypatch, what):
    place = tmp_path / "run"
    place.write_text("") if what == "file" else place.symlink_to(base if what == "link" else "nowhere")
    monkeypatch.setenv("NEUROBUS_RUNTIME_DIR", str(place))
    with pytest.raises(InputError, match="NEUROBUS_RUNTIME_DIR"):
        folders.create("net")
    with pytest.raises(InputError, match="NEUROBUS_RUNTIME_DIR"):
        folders.running()


def test_the_sessions_folder_of_another_user_is_not_used(tmp_path, monkeypatch):
    monkeypatch.delenv("NEUROBUS_RUNTIME_DIR")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert folders.runtime_dir() == tmp_path / "neurobus"
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert tmp_path not in folders.runtime_dir().parents


def test_who_runs_and_where_the_bus_is_is_not_read_from_the_manifest(base):
    folder = folders.create("net")
    manifest(
        folder, name="../../etc", pid=DEAD, endpoints={"inward": "tcp://evil:1", "outward": "x", "tap": "y"}
    )
    (found,) = folders.running()
    assert (found.name, found.pid, found.bus) == ("net", os.getpid(), Endpoints.in_folder(folder))
    folders.remove(folder)


@pytest.mark.parametrize(
    "changes",
    [{"ids": "n"}, {"ids": ["n", "m"]}, {"n_neurons": 5}, {"n_neurons": -1}, {"dt_ns": 0}, {"dt_ns": "1"},
     {"streams": None}, {"pid": "1"}, {"levels_mv": [1]}],
)  # fmt: skip
def test_a_manifest_of_other_types_is_none(base, changes):
    folder = folders.create("net")
    manifest(folder, **changes)
    assert folders.running() == []
    (folder / "manifest.json").write_text("[" * 100_000)
    assert folders.running() == []
    folders.remove(folder)


@pytest.mark.parametrize("pid", ["0", "1", "-1", "-4711", "", "²", "1e3", str(2**31), str(10**30), str(DEAD)])
def test_no_group_and_no_init_process_is_taken_for_a_run(base, pid):
    folder = planted(base, pid=pid)
    assert not folders.live(folder) and folders.running() == []


def test_signals_go_to_processes_alone(monkeypatch):
    monkeypatch.setattr(os, "kill", lambda pid, number: pytest.fail(f"signalled {pid}"))
    assert not any(folders.alive(pid) for pid in (1, 0, -1, -os.getpid()))


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell when a process was born")
def test_a_number_given_to_another_process_is_not_the_run(base):
    folder = planted(base, pid=f"{os.getpid()} 1")
    assert not folders.live(folder) and folders.create("net") == folder and folders.live(folder)
    folders.remove(folder)


def test_only_what_a_run_left_behind_is_replaced(base):
    stale = planted(base, "net", pid=DEAD)
    (stale / "tap").touch()
    assert folders.create("net") == stale and os.listdir(stale) == ["pid"]
    kept = planted(base, "docs", pid=DEAD)
    (kept / "thesis").mkdir()
    assert folders.create("docs") == base / "docs-2" and (kept / "thesis").is_dir()
    (base / "own").mkdir()
    (base / "own" / "thesis").touch()
    assert folders.create("own") == base / "own-2" and (base / "own" / "thesis").exists()


def test_of_many_that_want_one_name_each_gets_a_folder(base, monkeypatch):
    """All have seen the folder of a dead run before the first of them acts; nobody's new one is removed."""
    for _ in range(10):
        planted(base, "net", pid=DEAD)
        gate, got = threading.Barrier(6), []
        alive = folders.alive

        def seen(pid, alive=alive, gate=gate):
            if not gate.broken and pid == DEAD:
                with contextlib.suppress(threading.BrokenBarrierError):
                    gate.wait(0.05)
            return alive(pid)

        monkeypatch.setattr(folders, "alive", seen)
        threads = [threading.Thread(target=lambda to=got: to.append(folders.create("net"))) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(f.name for f in got) == ["net", *(f"net-{n}" for n in range(2, 7))]
        assert all(folders.live(folder) for folder in got)
        for folder in got:
            folders.remove(folder)
    assert list(base.iterdir()) == []


def test_stop_does_not_signal_who_has_the_number_now(base, neurobus):
    """The launcher is gone, and its number is another process's."""
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        folder = planted(base, pid=f"{sleeper.pid} 1")
        manifest(folder, pid=sleeper.pid)
        done = neurobus("stop", "net")
        assert done.returncode == 3 and sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()


def test_no_verb_imports_what_a_run_folder_names(base, neurobus, tmp_path):
    """`record`, `show` and `brain save` on a planted run whose options name a folder with code in it."""
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    config = '[[neurons]]\nid = "n"\nmodel = "evil"\n'
    (tmp_path / "evil.toml").write_text(config)
    folder = folders.create("net")
    manifest(folder, t0_ns=1, groups={"g": [0]})
    with socket.socket(socket.AF_UNIX) as there:
        there.bind(str(folder / "tap"))
        Options(config_path=str(tmp_path / "evil.toml"), python_path=[str(tmp_path)]).write(folder)
        for verb in (["record", tmp_path / "x.mcap", "--for", "1 ms"], ["show", "7"],
                     ["brain", "save", tmp_path / "x.brain"]):  # fmt: skip
            done = neurobus(*verb, timeout_s=90)
            assert not (tmp_path / "ran").exists(), verb
            assert "Traceback" not in done.stderr
    folders.remove(folder)
