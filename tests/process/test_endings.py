"""How runs end: by themselves, by Ctrl-C, by a full disk."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from neurobus.bus.peer import Endpoints, Peer
from neurobus.cluster import folder as folders
from neurobus.cluster.launcher import Launch, Launcher
from neurobus.cluster.options import Options
from neurobus.log import read
from tests.helpers import ended, run_table, spikes_in, table, until

ROOT = Path(__file__).parents[2]
ONE = run_table(snapshot_every="0 s") + table(
    "neurons", id="a", model="nodes.lif", params='{ I_e = "450 pA" }'
)
PACE = {"wall": [], "virtual": ["--pace", "1"]}
BOTH = pytest.mark.parametrize("clock", ["wall", "virtual"])


@BOTH
def test_a_run_of_given_length_ends_by_itself(config, run, clock):
    done = run(config(ONE), "--clock", clock, "--for", "250 ms")
    assert done.code == 0
    assert done.summary["model_s"] == 0.25
    assert done.summary["interrupted"] is False
    assert done.summary["spikes"] > 5


@BOTH
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_one_signal_stops_politely_with_a_summary(config, launch, tmp_path, clock, number, code):
    log = tmp_path / "log.mcap"
    cluster = launch(config(ONE), "--clock", clock, *PACE[clock], "--record", log)
    until(lambda: spikes_in(log), what="a spike in the log")
    cluster.process.send_signal(number)
    done = cluster.end()
    assert done.code == code
    assert done.summary["interrupted"] is (code == 130)
    assert done.summary["model_s"] > 0
    assert done.summary["silent"] == []
    recorded = read(log)
    assert recorded.complete
    assert len(recorded.spikes_t) == done.summary["spikes"] > 0


@BOTH
def test_ctrl_c_of_a_terminal_reaches_everybody_and_is_as_polite(config, launch, clock):
    """A terminal signals the whole foreground group, the launcher's children included."""
    cluster = launch(config(ONE), "--clock", clock, *PACE[clock])
    time.sleep(0.2)
    os.killpg(cluster.pid, signal.SIGINT)
    done = cluster.end()
    assert (done.code, done.summary["silent"], done.summary["restarts"]) == (130, [], 0)


def test_a_free_running_network_can_be_stopped(config, launch):
    cluster = launch(config(ONE), "--clock", "virtual")
    time.sleep(0.3)  # the barrier is open, but a stop may come before the first round
    done = cluster.stop()
    assert done.code == 130
    assert done.summary["model_s"] > 0


def test_two_interrupts_stop_at_once(config, launch):
    cluster = launch(config(ONE), "--clock", "wall")
    cluster.fork_server.suspend()
    for child in cluster.fork_server.children():
        child.suspend()
    begun = time.monotonic()
    cluster.process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    cluster.process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    for child in cluster.fork_server.children():
        child.resume()
    cluster.fork_server.resume()
    done = cluster.end()
    assert done.code in (4, 130)
    assert time.monotonic() - begun < 8
    assert "Traceback" not in done.err


@pytest.mark.parametrize("pause_s", [0.3, 0.7, 1.0])
def test_an_interrupt_before_the_start_leaves_nothing(config, neurobus, pause_s):
    process = neurobus.start("run", config(ONE), "--json", "--clock", "wall")
    time.sleep(pause_s)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode in (4, 130, -signal.SIGINT), (out, err)
    assert "Traceback" not in err
    until(lambda: not list(folders.runtime_dir().glob("*")), 5, "a clean folder")


def test_the_news_of_the_recorders_end_may_come_before_its_farewell(config, tmp_path):
    """They take different ways to the launcher; on a busy machine either may come first."""

    class Late(Launcher):
        def hear(self, event):
            if event.message.verb == "final" and event.origin == "recording" and not hasattr(self, "held"):
                self.held = asyncio.get_running_loop().call_later(0.5, self.hear, event)
            else:
                super().hear(event)

    log = {"path": str(tmp_path / "log.mcap")}
    options = Options(
        config_path=str(config(ONE)), clock="virtual", programs=[("neurobus.log.recording", log)]
    )
    summary = asyncio.run(Late(Launch(options, "late", 200_000_000)).run())
    assert summary.notes == []
    assert summary.observers["recording"]["spikes"] == summary.spikes > 0


HUB = """
import os, sys
from pathlib import Path
from neurobus.bus import hub
from neurobus.bus.peer import Endpoints
hub.serve(Endpoints.in_folder(Path(sys.argv[1])), lambda: print("bound", flush=True), sys.stdin.read)
"""


def test_a_peer_does_not_wait_for_a_bus_that_was_killed(tmp_path):
    """Its subscriptions are queued again when the connection breaks; nobody will ever take them."""
    hub = subprocess.Popen(
        [sys.executable, "-c", HUB, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert hub.stdin and hub.stdout
    try:
        assert hub.stdout.readline() == b"bound\n"
        peer = Peer(Endpoints.in_folder(tmp_path))
        peer.subscribe(b"s/")
        peer.join("me", 30)
    finally:
        hub.kill()
        hub.wait()
        hub.stdin.close()
        hub.stdout.close()
    begun = time.monotonic()
    peer.close(40_000)
    assert time.monotonic() - begun < 20


@BOTH
def test_a_run_goes_on_without_its_state_folder(config, launch, tmp_path, clock):
    state = tmp_path / "kept"
    path = config(ONE.replace('snapshot_every = "0 s"', 'snapshot_every = "200 ms"'))
    cluster = launch(path, "--clock", clock, *PACE[clock], "--save", state)
    until(lambda: (state / "resume.json").exists(), what="a snapshot")
    shutil.rmtree(state)
    time.sleep(1.0)
    done = cluster.stop()
    assert done.code == 130, done.err
    assert done.summary["silent"] == []
    notes = [note for note in done.summary["notes"] if "snapshot not" in note]
    assert len(notes) == 1 and "No such file" in notes[0], done.summary["notes"]
    assert done.summary["state"] is None
    assert "Traceback" not in done.err


def test_a_launcher_killed_while_the_network_is_built_leaves_nothing(config, neurobus, tmp_path):
    (tmp_path / "ponderous.py").write_text(
        "import pathlib, time\n"
        "pathlib.Path(__file__).with_name('begun').touch()\n"
        "for _ in range(3000):\n"
        "    try:\n"
        "        time.sleep(0.02)\n"
        "    except Exception:\n"
        "        pass\n"
    )
    process = neurobus.start("run", config(ONE.replace("nodes.lif", "ponderous")), "--clock", "virtual")
    until(lambda: (tmp_path / "begun").exists(), what="the build")
    (fork_server,) = psutil.Process(process.pid).children()
    process.kill()
    process.communicate()
    until(lambda: not fork_server.is_running() or fork_server.status() == psutil.STATUS_ZOMBIE, 20, "its end")
    until(lambda: not list(folders.runtime_dir().glob("*")), 5, "a clean folder")


# -- a full disk --------------------------------------------------------------------------------------------

LIMIT_KB = 600
LOUD = (
    run_table(snapshot_every="0 s", neurons_per_process=50)
    + table("groups", id="n", count=50, model="nodes.lif", params='{ I_e = "9000 pA", t_ref = "0.1 ms" }')
)  # fmt: skip


def limited(config: Path, log: Path, *args: str):
    """A run whose files may not grow beyond LIMIT_KB, as on a disk that fills up."""
    python = f'ulimit -f {LIMIT_KB}; exec {sys.executable} -m neurobus run "$@"'
    timing = ("--clock", "virtual", "--pace", "1", "--for", "3 s")
    command = ["bash", "-c", python, "_", config, "--json", *timing, "--record", log, *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    return ended(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("policy", ["continue", "stop"])
def test_a_full_disk(config, run, tmp_path, policy):
    path, log = config(LOUD), tmp_path / "full.mcap"
    run(path, "--clock", "virtual", "--for", "1 ms")  # compiled kernels do not fit into the limit either
    done = limited(path, log, "--set", f"run.on_log_failure={policy}")
    assert done.code == 0, done.err
    assert "Traceback" not in done.err
    if policy == "continue":
        assert done.summary["model_s"] == 3.0
    else:
        assert done.summary["model_s"] < 2.9
    notes = " ".join(done.summary["notes"])
    assert "no room" in notes or "full" in notes or "limit" in notes, notes
    assert done.summary["observers"]["recording"]["lost"] > 0
    written = spikes_in(log)
    assert len(written) > 10_000
    # Nothing that was written is lost: without a gap up to where the disk was full.
    assert written == sorted(written)
    last = written[-1][0] - 60_000_000
    per_neuron = [t for t, name in written if name == "n.0" and t < last]
    gaps = {b - a for a, b in pairwise(per_neuron)}
    assert len(gaps) <= 2, gaps


def test_what_no_run_can_reach_is_refused(config, neurobus):
    """Beyond the longest run, or off the grid: exit code 2 and one line, nothing computed."""
    path = config(run_table(clock="virtual"), table("neurons", id="n", model="nodes.lif"))
    for given, right in (("250000 s", "beyond the longest run, 1,073,741,824 steps of 0.1 ms"),
                         ("1.05 ms", "no multiple of dt = 0.1 ms")):  # fmt: skip
        done = neurobus("run", path, "--for", given)
        assert done.returncode == 2 and done.stderr.strip().endswith(right + " (29.8 h)" * ("250" in given))
        assert "Traceback" not in done.stderr


def test_a_network_at_rest_without_an_end_waits_and_stops_when_told(config, launch):
    """Under the virtual clock nobody may run to the end of time: the first signal acts."""
    cluster = launch(config(run_table(clock="virtual"), table("neurons", id="n", model="nodes.lif")))
    time.sleep(0.5)
    cluster.process.send_signal(signal.SIGTERM)
    done = cluster.end()
    assert done.summary["silent"] == [] and done.summary["model_s"] < 1000


def test_who_does_not_answer_is_named_and_the_run_can_be_ended(config, launch):
    """The conductor names it after 5 s; a run that was told to end waits 10 s for its reports."""
    pair = ONE + table("neurons", id="b", model="nodes.lif", params='{ I_e = "450 pA" }')
    cluster = launch(config(pair), "--clock", "virtual", "--pace", "1")
    cluster.child("b").send_signal(signal.SIGSTOP)
    time.sleep(1)
    cluster.process.send_signal(signal.SIGTERM)
    done = cluster.end()
    assert done.code == 143
    assert any("no answer from b for 5 s" in note for note in done.summary["notes"])
