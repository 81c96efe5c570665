"""The verbs as a person uses them, on clusters that run."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurobus.log import Header, LogWriter, read
from tests.conftest import Neurobus

pytestmark = pytest.mark.process
MS = 1_000_000

PAIR = """
[run]
duration = "300 ms"
snapshot_every = "0 s"
[[sources]]
id = "eye"
kind = "spikes"
times = ["20 ms", "60 ms", "61 ms", "150 ms"]
[[neurons]]
id = "n"
model = "nodes.lif_delta"
[[neurons]]
id = "m"
model = "nodes.lif_delta"
params = { I_e = "400 pA" }
[[synapses]]
pre = "eye"
post = "n"
weight = "30 mV"
delay = "20 ms"
"""
OPEN = PAIR.replace(
    'kind = "spikes"\ntimes = ["20 ms", "60 ms", "61 ms", "150 ms"]', 'kind = "external"'
).replace('"300 ms"', '"60 s"')


@pytest.fixture
def log(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, neurobus: Neurobus) -> Path:
    """A run of `PAIR` under the virtual clock, recorded once for all tests."""
    once = tmp_path_factory.getbasetemp() / "pair.mcap"
    if not once.exists():
        config = tmp_path / "pair.toml"
        config.write_text(PAIR)
        done = neurobus("run", config, "--clock", "virtual", "--record", once, "--json")
        assert done.returncode == 0, done.stderr
    return Path(shutil.copy(once, tmp_path))


def start(neurobus: Neurobus, *args: object) -> subprocess.Popen[str]:
    """Start a run or replay, and wait until `ps` shows that it has started."""
    process = neurobus.start(*args)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        shown = json.loads(neurobus("ps", "--json").stdout)
        if shown and shown[0]["state"] != "starting":
            return process
        time.sleep(0.05)
    raise AssertionError(
        f"did not start: {process.communicate(timeout=5) if process.poll() is not None else ''}"
    )


def answer(done: subprocess.CompletedProcess[str], code: int = 0) -> Any:
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def spikes(path: Path, id: str) -> list[int]:
    log = read(path)
    return [int(t) for t in log.spikes_t[log.spikes_i == log.header.ids.index(id)]]


def test_a_cluster_from_another_terminal(neurobus: Neurobus, tmp_path: Path) -> None:
    """ps, poke, record, stop; then the log, pokes and all, verifies."""
    config = tmp_path / "open.toml"
    config.write_text(OPEN)
    recorded = tmp_path / "whole.mcap"
    run = start(neurobus, "run", config, "--record", recorded, "--json")
    (shown,) = answer(neurobus("ps", "--json"))
    assert shown["name"] == "open" and shown["external"] == ["eye"] and shown["pid"] == run.pid
    assert "open" in neurobus("ps").stdout

    push = answer(neurobus("poke", "n", "--json"))
    assert push["neuron"] == "n" and push["unit"] == "mV" and push["t_ms"] > 0
    several = answer(neurobus("poke", "n", "m", "--weight", "500 uV", "--json"))
    assert sorted(row["neuron"] for row in several) == ["m", "n"]
    assert "n gets 0.5 mV at" in neurobus("poke", "n", "--weight", "500 uV").stdout
    for args, word in [
        (["k"], "no neuron 'k' in 'open'"),
        (["eye"], "nobody there feels a push"),
        (["n", "--weight", "3 pA"], "this must be voltage"),
        (["n", "--weight", "much"], "is not a quantity"),
    ]:
        done = neurobus("poke", *args)
        assert done.returncode == 2 and word in done.stderr and done.stderr.count("\n") == 1

    part = tmp_path / "part.mcap"
    account = answer(neurobus("record", part, "--for", "200 ms", "--json"))
    assert account["lost"] == 0 and account["from_ms"] > push["t_ms"]
    assert read(part).complete and 0.1 < (read(part).end_ns / 1e6 - account["from_ms"]) / 1e3 < 2
    done = neurobus("log", "verify", part)
    assert done.returncode == 2 and "begins in the middle" in done.stderr

    stopped = answer(neurobus("stop", "--json"))
    assert stopped["name"] == "open" and answer(neurobus("ps", "--json")) == []
    out, _ = run.communicate(timeout=10)
    summary = json.loads(out.splitlines()[-1])
    assert len(read(recorded).stimuli) == 4
    t = round(push["t_ms"] * MS)
    assert [s for s in spikes(recorded, "n") if t <= s <= t + MS], "the poke did not make n fire"
    done = neurobus("log", "verify", recorded, "--json")
    verdict = answer(done, done.returncode)
    assert verdict["spikes"] == len(spikes(recorded, "n")) + len(spikes(recorded, "m"))
    assert verdict["verified"] == (done.returncode == 0) and verdict["late"] == summary["late"]
    assert verdict["verified"] or summary["late"], "only what came late may not be repeated"


def guests_of(neurobus: Neurobus, *wanted: str) -> None:
    """Wait until these, and no others, are there by hand."""
    deadline = time.monotonic() + 30
    while (shown := answer(neurobus("ps", "--json"))[0]["guests"]) != list(wanted):
        assert time.monotonic() < deadline, shown
        time.sleep(0.1)


def test_a_neuron_started_by_hand_is_found_by_every_verb(neurobus: Neurobus, tmp_path: Path) -> None:
    """And by none, once it is gone: also where it was killed. A recording under way takes it up, and the run
    of the others is verified without it."""
    config, part, whole = tmp_path / "open.toml", tmp_path / "part.mcap", tmp_path / "whole.mcap"
    config.write_text(OPEN)
    run = start(neurobus, "run", config, "--record", whole, "--json", "--raster")
    join = [sys.executable, "-P", "-m", "nodes.lif", "--bus", "open", "--param", "I_e=400 pA",
            "--synapse", "m, 300 pA, 20 ms", "--id"]  # fmt: skip
    with subprocess.Popen([*join, "extra"], stdout=subprocess.DEVNULL) as guest:
        guests_of(neurobus, "extra")
        (shown,) = answer(neurobus("ps", "--json"))
        assert (shown["n_neurons"], shown["processes"]) == (3, 3)
        push = answer(neurobus("poke", "extra", "--json"))
        assert (push["weight"], push["unit"]) == (4000.0, "pA")
        synapses = answer(neurobus("weights", "extra", "--json"))["synapses"]
        assert [(row["pre"], row["weight"]) for row in synapses] == [("m", 300.0)]
        seen = answer(neurobus("top", "--once", "--json"))
        mine = seen["each"][-1]
        assert mine["neuron"] == mine["process"] == "extra" and mine["spikes"] > 0 and mine["mv"] < 0
        assert (seen["neurons"], seen["processes"], seen["silent"]) == (3, 3, [])
        answer(neurobus("record", part, "--for", "300 ms", "--json"))
        assert spikes(part, "extra") and read(part).header.guests == {"extra": True}
        again = subprocess.run([*join, "extra"], capture_output=True, text=True, timeout=60)
        assert again.returncode == 2 and "one id has one live owner" in again.stderr
        guest.kill()
    guests_of(neurobus)
    done = neurobus("poke", "extra")
    assert done.returncode == 2 and done.stderr == "'extra' has left 'open'\n"
    seen = answer(neurobus("top", "--once", "--json"))
    assert [row["neuron"] for row in seen["each"]] == ["n", "m", "eye"] and seen["spikes"] is not None
    with subprocess.Popen([*join, "extra"], stdout=subprocess.DEVNULL) as guest:
        guests_of(neurobus, "extra")
        guest.send_signal(signal.SIGINT)
    guests_of(neurobus)
    neurobus("stop")
    _, drawn = run.communicate(timeout=20)
    assert any(line.startswith("extra ") and "│" in line for line in drawn.splitlines())
    fired = spikes(whole, "extra")
    assert set(spikes(part, "extra")) < set(fired) and read(whole).complete
    assert [entry.item.neuron for entry in read(whole).stimuli] == ["extra"]
    facts = answer(neurobus("log", "info", whole, "--json"))
    assert (facts["neurons"], facts["sources"], facts["by_hand"]) == (3, 1, ["extra"])
    verdict = answer(neurobus("log", "verify", whole, "--json"))
    assert verdict["verified"] and verdict["spikes"] == len(spikes(whole, "m"))
    assert any(note.startswith("extra: started by hand") for note in verdict["notes"])


def test_replay_onto_a_cluster(neurobus: Neurobus, log: Path, tmp_path: Path) -> None:
    """An external source is played from a log, twice; its neuron hears every spike and nothing is lost."""
    config = tmp_path / "open.toml"
    config.write_text(OPEN)
    recorded = tmp_path / "again.mcap"
    run = start(neurobus, "run", config, "--record", recorded, "--json")
    first = neurobus("replay", log, "--json")
    assert "plays eye" in first.stderr and "leaves out m, n, alive there" in first.stderr
    assert answer(first)["spikes"] == 4 and answer(first)["cluster"] == "open"
    assert answer(neurobus("replay", log, "--rate", "2", "--end", "100 ms", "--json"))["spikes"] == 3
    done = neurobus("replay", log, "--only", "m")
    assert done.returncode == 2 and "nothing of this log can be played onto 'open'" in done.stderr
    neurobus("stop")
    summary = json.loads(run.communicate(timeout=10)[0].splitlines()[-1])
    eye, n = spikes(recorded, "eye"), spikes(recorded, "n")
    assert np.diff(eye[:4]).tolist() == [40 * MS, MS, 89 * MS]
    assert np.diff(eye[4:]).tolist() == [20 * MS, MS // 2]
    assert summary["lost"] == summary["duplicates"] == summary["dropped"] == 0
    if summary["late"] == 0:
        assert {t - 20 * MS for t in n} <= set(eye) and len(n) >= 5
        assert answer(neurobus("log", "verify", recorded, "--json"))["verified"]


def test_replay_on_a_bus_of_its_own(neurobus: Neurobus, log: Path, tmp_path: Path) -> None:
    """Observers find it as they find a cluster; it loops until it is told to stop, and loses nothing."""
    replay = start(neurobus, "replay", log, "--loop", "--json")
    (shown,) = answer(neurobus("ps", "--json"))
    assert shown["state"] == "replay" and shown["name"] == "pair-replay"
    done = neurobus("poke", "n")
    assert done.returncode == 2 and "played from a recording" in done.stderr
    heard = tmp_path / "heard.mcap"
    account = answer(neurobus("record", heard, "--for", "500 ms", "--json"))
    assert account["lost"] == 0 and account["spikes"] > 10
    neurobus("stop", "pair-replay")
    played = json.loads(replay.communicate(timeout=10)[0])
    assert played["spikes"] >= account["spikes"] and played["late_ms"]["p99"] is not None
    original, loop = read(log), read(heard)
    length = original.end_ns
    known = set(zip(original.spikes_t.tolist(), original.spikes_i.tolist(), strict=True))
    assert {
        ((t - 1) % length + 1, i) for t, i in zip(loop.spikes_t.tolist(), loop.spikes_i.tolist(), strict=True)
    } <= known


def test_a_replay_that_is_killed_leaves_nothing(neurobus: Neurobus, log: Path, runtime_dir: Path) -> None:
    replay = start(neurobus, "replay", log, "--loop")
    replay.send_signal(signal.SIGKILL)
    replay.wait()
    deadline = time.monotonic() + 5
    while any(runtime_dir.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(runtime_dir.iterdir())


def test_replay_paces_and_steps(neurobus: Neurobus, log: Path) -> None:
    slow = answer(neurobus("replay", log, "--rate", "0.5", "--start", "100 ms", "--end", "200 ms", "--json"))
    assert slow["model_s"] == 0.1 and 0.2 <= slow["wall_s"] < 1
    done = neurobus("replay", log, "--step", "--only", "eye", "--json", stdin="\n x\nq\n\n")
    assert answer(done)["spikes"] == 3 and answer(done)["late_ms"]["p99"] is None


def test_logs_are_looked_into(neurobus: Neurobus, log: Path, tmp_path: Path) -> None:
    whole = read(log)
    assert answer(neurobus("log", "info", log, "--json"))["spikes"] == whole.spikes_t.size
    assert answer(neurobus("log", "verify", log, "--json"))["verified"]
    out = tmp_path / "eye.csv"
    assert (
        answer(neurobus("log", "export", log, out, "--only", "eye", "--start", "50ms", "--json"))["spikes"]
        == 3
    )
    assert out.read_text() == "time_ms,id\n60,eye\n61,eye\n150,eye\n"
    assert (
        neurobus("plot", log, "--only", "n,eye").returncode == 0
        and log.with_suffix(".png").stat().st_size > 5000
    )

    cut = tmp_path / "cut.mcap"
    cut.write_bytes(log.read_bytes()[:-200])
    saved = answer(neurobus("log", "recover", cut, "--json"))
    assert saved["problems"] and Path(saved["path"]) == tmp_path / "cut.recovered.mcap"
    assert answer(neurobus("log", "diff", log, saved["path"], "--json"))["equal"]

    false = forged(
        tmp_path / "false.mcap", whole.header, whole.spikes_t[1:], whole.spikes_i[1:], whole.end_ns
    )
    done = neurobus("log", "diff", log, false)
    assert done.returncode == 1 and done.stdout.startswith("the logs part at ")
    done = neurobus("log", "verify", false)
    assert done.returncode == 1 and done.stdout.startswith("not verified") and "only in B: 1" in done.stdout

    for strange, word in ((b"\0" * 72, "9 weights for 1 synapse:"), (b"\xff" * 8, "no numbers")):
        header = replace(whole.header, files={"@weights": strange})
        done = neurobus(
            "log",
            "verify",
            forged(tmp_path / f"{len(strange)}.mcap", header, whole.spikes_t, whole.spikes_i, whole.end_ns),
        )
        (line,) = done.stderr.splitlines()
        assert done.returncode == 2 and word in line and not done.stdout


def test_a_run_beside_a_recording_verifies(neurobus: Neurobus, log: Path, tmp_path: Path) -> None:
    """`m` is silent in this config; its spikes are the log's, and `verify` knows that."""
    config, out = tmp_path / "beside.toml", tmp_path / "beside.mcap"
    config.write_text(PAIR.replace("400 pA", "0 pA"))
    run = ("run", config, "--clock", "virtual", "--record", out, "--json")
    summary = answer(neurobus(*run, "--replay", log, "--only", "m"))
    assert spikes(out, "m") == spikes(log, "m") != []
    verdict = answer(neurobus("log", "verify", out, "--json"))
    assert verdict["verified"] and verdict["spikes"] == summary["spikes"] - len(spikes(out, "m"))


def forged(path: Path, header: Header, t: Any, i: Any, end_ns: int) -> Path:
    writer = LogWriter(path, header)
    writer.spikes(t, i, 0)
    return writer.close(end_ns)


def test_a_run_is_seen_in_characters_from_its_first_spike_on(tmp_path: Path, neurobus: Neurobus) -> None:
    config = tmp_path / "pair.toml"
    config.write_text(PAIR)
    done = neurobus("run", config, "--clock", "virtual", "--raster", "--for", "300ms")
    assert done.returncode == 0 and "misses" not in done.stderr
    rows = {
        line.split()[0]: line for line in done.stderr.splitlines() if line[:4].strip() in ("eye", "n", "m")
    }
    assert rows["eye"].count("│") in (3, 4)  # 60 and 61 ms may share a column
    assert rows["n"].count("│") in (3, 4) and rows["m"].count("│") > 4
    assert rows["n"].index("│") > rows["eye"].index("│")
    assert " busiest  m " in done.stderr


def test_a_replay_that_waits_is_recorded_from_its_first_spike_on(
    neurobus: Neurobus, log: Path, tmp_path: Path
) -> None:
    out = tmp_path / "again.mcap"
    replay = neurobus.start("replay", log, "--alone", "--wait", "--rate", 5, "--json")
    assert replay.stderr is not None
    try:
        for _ in range(200):  # until its bus is there
            done = neurobus("record", out, "--json")
            if done.returncode != 3:
                break
            time.sleep(0.1)
        played = json.loads(replay.communicate(timeout=60)[0])
    finally:
        replay.kill()
        replay.wait()
    account = answer(done)
    assert played["spikes"] == account["spikes"] == read(log).spikes_t.size > 0
    assert (account["from_ms"], account["before"], account["lost"]) == (0, 0, 0)
    assert read(out).spikes_t.tolist() == read(log).spikes_t.tolist()
    again = neurobus("record", out)
    assert again.returncode == 2 and "--overwrite" in again.stderr and read(out).complete
