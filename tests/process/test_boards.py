"""Neurons that become boards and come back, in real runs.

Boards are simulated (the real firmware in simavr; skipped where the tools are missing, in CI a failure) or of
paper (`tests.paper_board`: the same protocol in Python). What is asked is the same: no spike lost, none
doubled, and the run says what happened.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from neurobus.bridge import hardware, simboard
from neurobus.bridge.simboard import Rig, SimBoard
from neurobus.wire import link
from tests.helpers import Cluster, Ended, run_table, spikes_in, table, until

calm = pytest.mark.calm

UNO = hardware.BOARDS["uno"]


class Paper:
    """Boards of paper."""

    def __init__(self, folder: Path, n: int, schema: int = link.SCHEMA):
        folder.mkdir(exist_ok=True)
        self.ports = [str(folder / f"ttySIM{i}") for i in range(n)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.paper_board", str(folder), str(n), str(schema)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip
        assert self.process.stdin and self.process.stdout
        assert self.process.stdout.readline() == "ready\n"

    def _do(self, verb: str, board: int) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{verb} {board}\n")
        assert self.process.stdout.readline() == "done\n"

    def unplug(self, board: int = 0) -> None:
        self._do("unplug", board)

    def plug(self, board: int = 0) -> None:
        self._do("plug", board)

    def reset(self, board: int = 0) -> None:
        self._do("reset", board)

    def press(self, board: int = 0) -> None:
        self._do("press", board)

    def deaf(self, board: int = 0) -> None:
        self._do("deaf", board)

    def hear(self, board: int = 0) -> None:
        self._do("hear", board)

    def close(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


class Simulated(Rig):
    """Boards in simavr."""

    def __init__(self, n: int):
        super().__init__([SimBoard(simboard.firmware(UNO), serial=0xB0 + i) for i in range(n)])

    def deaf(self, board: int = 0) -> None:
        self.power(False, board)

    def hear(self, board: int = 0) -> None:
        self.power(True, board)


Boards = Paper | Simulated


@pytest.fixture(scope="session")
def tools() -> None:
    lacking = simboard.missing()
    if lacking is not None:
        word = f"no simulated boards here; run: {lacking}"
        if os.environ.get("CI") == "true":
            pytest.fail(word, pytrace=False)
        pytest.skip(word)
    simboard.make("rig")


@pytest.fixture
def table_of(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Boards]]:
    """`table_of("paper", n)` or `table_of("simulated", n)`."""
    made: list[Boards] = []

    def make(kind: str, n: int = 1, **more: Any) -> Boards:
        if kind == "simulated":
            request.getfixturevalue("tools")
            made.append(Simulated(n))
        else:
            made.append(Paper(tmp_path / "ports", n, **more))
        return made[-1]

    yield make
    for boards in made:
        boards.close()


def network(model: str = "nodes.chip", delay: str = "50 ms", **run: object) -> str:
    """Three sources drive m and k; both inhibit each other and drive n."""
    return (
        run_table(seed=3, snapshot_every="0 s", **run)
        + table("sources", id="p", kind="poisson", rate="60 Hz", count=3)
        + table("neurons", id="m", model=model)
        + table("neurons", id="k", model="nodes.lif")
        + table("neurons", id="n", model="nodes.lif")
        + table("synapses", pre="p", post="m", rule="all_to_all", weight="2600 pA", delay=delay)
        + table("synapses", pre="p", post="k", rule="all_to_all", weight="2600 pA", delay=delay)
        + table("synapses", pre="m", post="k", weight="-500 pA", delay=delay)
        + table("synapses", pre="k", post="m", weight="-500 pA", delay=delay)
        + table("synapses", pre="m", post="n", weight="1800 pA", delay=delay)
        + table("synapses", pre="k", post="n", weight="1800 pA", delay=delay)
    )


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


def owner(cluster: Cluster, neuron: str = "m") -> str | None:
    return cluster.status().get(neuron, {}).get("owner")


def whole(done: Ended, log: Path, neuron: str = "m") -> list[int]:
    """Nothing lost, nothing doubled, as the epochs tell, and in the log. The neuron's spike times."""
    summary = done.summary
    assert (summary["lost"], summary["duplicates"], summary["dropped"], summary["silent"]) == (0, 0, 0, [])
    times = [t for t, name in spikes_in(log) if name == neuron]
    assert len(times) == len(set(times)) > 0
    recorded = summary["observers"]["recording"]
    assert (recorded["lost"], recorded["duplicates"]) == (0, 0)
    return times


# -- there and back ---------------------------------------------------------------------------------------


@calm
@pytest.mark.parametrize("kind", ["paper", "simulated"])
def test_a_neuron_becomes_a_board_and_comes_back_and_nobody_notices(
    config, launch, attach, boards_now, neurobus, table_of, tmp_path, kind
):
    log = tmp_path / "whole.mcap"
    boards = table_of(kind)
    cluster = launch(config(network()), "--clock", "wall", "--record", log)
    attached = attach(boards.ports[0])
    assert attached["stage"] == "owns the neuron"
    assert attached["gap_ms"] < 100
    assert until(lambda: owner(cluster), what="the board to own it").startswith("board 000000B0 (")
    until(lambda: boards_now()[0]["spikes"] > 15, what="spikes of the board")
    (now,) = boards_now()
    assert now["link"]["round_trip_ms"] > 0 and now["link"]["credit"] > 0
    done = neurobus("detach", "m")
    assert done.returncode == 0, done.stderr
    until(lambda: owner(cluster) is None, what="the process to own its neuron")
    time.sleep(0.3)
    ended = cluster.stop()
    times = whole(ended, log)
    assert len(times) >= now["spikes"]
    name = "board 000000B0 (ttySIM0)"
    taken, *_, returned = ended.summary["notes"]
    assert taken.startswith(f"m is {name} from ")
    assert returned.startswith(f"m came back from {name} at ") and "none lost" in returned


@pytest.mark.parametrize("kind", ["paper", "simulated"])
def test_under_the_virtual_clock_a_network_with_a_board_has_the_spikes_of_one_without(
    config, run, launch, attach, table_of, tmp_path, kind
):
    path = config(network())
    without, with_board = tmp_path / "without.mcap", tmp_path / "with.mcap"
    run(path, "--clock", "virtual", "--for", "10 s", "--record", without)
    boards = table_of(kind)
    cluster = launch(path, "--clock", "virtual", "--pace", "1", "--for", "10 s", "--record", with_board)
    attach(boards.ports[0])
    time.sleep(0.6)
    boards.unplug()
    until(lambda: owner(cluster) is None, what="the shadow to own the neuron")
    boards.plug()
    until(lambda: owner(cluster), what="the board to take its neuron back")
    done = cluster.end()
    assert done.code == 0, done.err
    whole(done, with_board)
    assert spikes_in(with_board) == spikes_in(without)
    notes = done.summary["notes"]
    assert sum("m is board" in note for note in notes) >= 2 and any("m came back" in note for note in notes)


@calm
def test_a_float_neuron_becomes_its_twin_and_the_errors_are_told(config, launch, attach, table_of, tmp_path):
    log = tmp_path / "float.mcap"
    boards = table_of("paper")
    cluster = launch(config(network("nodes.lif")), "--clock", "wall", "--record", log)
    attached = attach(boards.ports[0])
    assert 0 <= attached["errors"]["a weight, pA"] <= 0.125
    assert 0 < attached["errors"]["a time constant, %"] < 0.1
    time.sleep(0.5)
    whole(cluster.stop(), log)


def test_what_no_board_can_be_is_refused_with_what_would_be_right(config, launch, attach, table_of):
    boards = table_of("paper")
    odd = table("neurons", id="d", model="nodes.lif_delta") + table(
        "neurons", id="t", model="nodes.lif", params='{ V_th = "70 mV", V_reset = "-60 mV" }'
    )
    launch(config(network() + odd), "--clock", "wall")
    assert "not a nodes.lif_delta" in attach(boards.ports[0], "d", 2)
    assert "V_th must lie within 64 mV of E_L" in attach(boards.ports[0], "t", 2)
    assert "'p.0' is a source" in attach(boards.ports[0], "p.0", 2)
    assert "no neuron 'mm'" in attach(boards.ports[0], "mm", 2)
    assert attach(boards.ports[0])["stage"] == "owns the neuron"


# -- what goes wrong ----------------------------------------------------------------------------------------


@calm
@pytest.mark.parametrize(
    ("kind", "what", "back", "why"),
    [
        ("paper", "unplug", "plug", "unplugged"),
        ("simulated", "unplug", "plug", "unplugged"),
        ("paper", "reset", None, "the board was reset (external)"),
        ("paper", "deaf", "hear", "the board has been silent for"),
    ],
)
def test_a_board_that_is_gone_costs_no_spike_and_takes_its_neuron_back(
    config, launch, attach, table_of, tmp_path, kind, what, back, why
):
    log = tmp_path / "gone.mcap"
    boards = table_of(kind)
    cluster = launch(config(network()), "--clock", "wall", "--record", log)
    attach(boards.ports[0])
    time.sleep(0.4)
    until(lambda: owner(cluster), what="the board to own the neuron")
    getattr(boards, what)()
    until(lambda: owner(cluster) is None, what="the shadow to own the neuron")
    if back is not None:
        time.sleep(0.2)
        getattr(boards, back)()
    until(lambda: owner(cluster), what="the board to take its neuron back")
    time.sleep(0.3)
    done = cluster.stop()
    whole(done, log)
    # On a busy machine a board may seem silent at other times too.
    assert [n for n in done.summary["notes"] if f"({why}" in n and "came back" in n and "none lost" in n]


@calm
def test_a_killed_bridge_costs_no_spike(config, launch, attach, table_of, tmp_path):
    log = tmp_path / "killed.mcap"
    boards = table_of("paper")
    cluster = launch(config(network()), "--clock", "wall", "--record", log)
    attach(boards.ports[0])
    time.sleep(0.3)
    with open(cluster.folder / "bridge.lock") as lock:
        bridge = int(lock.read())
    os.kill(bridge, signal.SIGKILL)
    until(lambda: owner(cluster) is None, 5, "the shadow to own the neuron")
    assert attach(boards.ports[0])["stage"] == "owns the neuron"
    time.sleep(0.3)
    done = cluster.stop()
    whole(done, log)
    assert any("the bridge has been silent" in note for note in done.summary["notes"])


@calm
def test_a_killed_shadow_is_restarted_and_lends_its_neuron_again(
    config, launch, attach, boards_now, table_of
):
    boards = table_of("paper")
    cluster = launch(config(network()), "--clock", "wall")
    attach(boards.ports[0])
    cluster.kill("m")
    until(lambda: (now := boards_now()) and now[0]["hand_overs"] >= 2, what="the second hand-over")
    done = cluster.stop()
    assert done.summary["restarts"] == 1
    assert done.summary["silent"] == []


@calm
def test_one_neuron_has_one_board_and_a_port_one_neuron(config, launch, attach, boards_now, table_of):
    boards = table_of("paper", 2)
    launch(config(network()), "--clock", "wall")
    attach(boards.ports[0])
    assert "'m' is on loan to board 000000B0" in attach(boards.ports[1], "m", 2)
    assert f"{boards.ports[0]} is 'm' already" in attach(boards.ports[0], "k", 2)
    attach(boards.ports[1], "k")
    assert [board["neuron"] for board in boards_now()] == ["m", "k"]


@calm
def test_a_board_of_another_schema_and_ports_that_are_none_are_refused(
    config, launch, attach, table_of, tmp_path
):
    boards = table_of("paper", schema=link.SCHEMA ^ 1)
    launch(config(network()), "--clock", "wall")
    assert "reflash it with 'neurobus flash" in attach(boards.ports[0], "m", 2)
    assert "no such port" in attach(str(tmp_path / "ttyNONE"), "m", 2)
    plain = tmp_path / "plain"
    plain.write_text("no terminal")
    assert "not a serial port" in attach(str(plain), "m", 2)
    boards.unplug()
    assert "no such port" in attach(boards.ports[0], "m", 2)


@calm
def test_a_port_that_vanishes_while_it_is_asked_is_said_so(config, launch, neurobus, boards_now, table_of):
    boards = table_of("paper")
    launch(config(network()), "--clock", "wall")
    boards.deaf()
    attaching = neurobus.start("attach", boards.ports[0], "--as", "m", "--json")
    until(boards_now, what="the port to be opened")
    boards.unplug()
    _, err = attaching.communicate(timeout=30)
    assert attaching.returncode == 2
    assert "unplugged" in err and "Traceback" not in err


@calm
def test_the_button_reaches_the_shadow_and_the_log(config, launch, attach, table_of, tmp_path):
    from neurobus.log import read

    log = tmp_path / "pressed.mcap"
    boards = table_of("paper")
    cluster = launch(config(network()), "--clock", "wall", "--record", log)
    attach(boards.ports[0])
    for _ in range(3):
        boards.press()
        time.sleep(0.3)
    whole(cluster.stop(), log)
    stimuli = read(log).stimuli
    assert 1 <= len(stimuli) <= 3
