"""Neurons that become boards and come back, in real runs.

Boards are simulated (the real firmware in simavr; skipped where the tools are missing, in CI a failure) or of
paper (`tests.paper_board`: the same protocol in Python). What is asked is the same: no spike lost, none
doubled, and the run says what happened.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import termios
import time
from pathlib import Path

import psutil
import pytest

from neurobus.bridge.holders import holder
from neurobus.events import Stimulus
from neurobus.log import read
from neurobus.wire import bus as wire
from neurobus.wire import link
from tests.helpers import Cluster, Ended, run_table, spikes_in, table, until

calm = pytest.mark.calm


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


def owner(cluster: Cluster, neuron: str = "m") -> str | None:
    return cluster.status().get(neuron, {}).get("owner")


def bridge_of(cluster: Cluster) -> int:
    """The bridge's pid."""
    with open(cluster.folder / "bridge.lock") as lock:
        return int(lock.read())


def whole(done: Ended, log: Path, neuron: str = "m") -> list[int]:
    """Nothing lost, nothing doubled, as the epochs tell, and in the log. The neuron's spike times. What a
    bridge that overslept says of a neuron that was taken from it is dropped: the process has told it."""
    summary = done.summary
    assert (summary["lost"], summary["duplicates"], summary["silent"]) == (0, 0, [])
    overslept = any("the bridge has been silent" in note for note in summary["notes"])
    assert overslept or summary["dropped"] == 0, summary["notes"]
    times = [t for t, name in spikes_in(log) if name == neuron]
    doubled = sorted({t for t in times if times.count(t) > 1})
    assert times and not doubled, (doubled, summary["notes"])
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
    assert attached["gap_ms"] >= 0
    assert until(lambda: owner(cluster), what="the board to own it").startswith("board 000000B0 (")
    until(lambda: boards_now()[0]["spikes"] > 15, what="spikes of the board")
    (now,) = boards_now()
    assert now["link"]["round_trip_ms"] > 0 and now["link"]["credit"] > 0
    assert now["late"] or not now["disagreements"], "the same inputs in time are the same spikes"
    done = neurobus("detach", "m")
    assert done.returncode == 0, done.stderr
    until(lambda: owner(cluster) is None, what="the process to own its neuron")
    time.sleep(0.3)
    ended = cluster.stop()
    times = whole(ended, log)
    assert len(times) >= now["spikes"]
    name = "board 000000B0 (ttySIM0)"
    notes = ended.summary["notes"]
    assert notes[0].startswith(f"m is {name} from ")
    returned = [note for note in notes if note.startswith(f"m came back from {name} at ")]
    assert returned and all("none lost" in note for note in returned), notes


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
@pytest.mark.parametrize("clock", ["wall", "virtual"])
def test_a_board_that_returns_at_another_port_takes_its_neuron_back(
    config, run, launch, attach, boards_now, table_of, tmp_path, clock
):
    path, log, alone = config(network()), tmp_path / "moved.mcap", tmp_path / "alone.mcap"
    boards = table_of("simulated")
    cluster = launch(
        path, "--clock", clock, *(["--pace", "1"] if clock == "virtual" else []), "--record", log
    )
    attach(boards.ports[0])
    names = [Path(boards.ports[0]).name, "ttySIM70", "ttySIM71"]
    for before, after in itertools.pairwise(names):
        until(
            lambda before=before: owner(cluster) == f"board 000000B0 ({before})", what="the board to own it"
        )
        time.sleep(0.3)
        boards.unplug()
        until(lambda: owner(cluster) is None, what="the shadow to own the neuron")
        boards.plug(name=after)
        assert not os.path.lexists(Path(boards.ports[0]).with_name(before))
    until(lambda: owner(cluster) == "board 000000B0 (ttySIM71)", what="the board to take its neuron back")
    time.sleep(0.3)
    # On a busy machine a board may seem silent for a moment, by the clock on the wall.
    until(lambda: boards_now()[0]["stage"] == "owns the neuron", what="the board to own it yet")
    (now,) = boards_now()
    assert (now["port"], now["board"]) == (boards.ports[0], "000000B0")
    assert now["hand_overs"] >= 3 and now["losses"] >= now["unplugged"] == 2
    done = cluster.stop()
    whole(done, log)
    returned = [note for note in done.summary["notes"] if "came back" in note]
    assert len(returned) >= 2 and all("none lost" in note for note in returned)
    if clock == "virtual":
        assert sum("(unplugged" in note for note in returned) >= 2
        last = spikes_in(log)[-1][0]
        run(path, "--clock", "virtual", "--for", f"{last} ns", "--record", alone)
        assert [s for s in spikes_in(log) if s[0] < last] == [s for s in spikes_in(alone) if s[0] < last]


def test_boards_that_return_at_each_others_ports_are_told_apart(config, launch, attach, table_of, tmp_path):
    log = tmp_path / "swapped.mcap"
    boards = table_of("simulated", 2)
    cluster = launch(config(network()), "--clock", "virtual", "--pace", "1", "--record", log)
    attach(boards.ports[0], "m")
    attach(boards.ports[1], "k")
    one, other = (Path(port).name for port in boards.ports)
    for board in (0, 1):
        boards.unplug(board)
    until(lambda: not owner(cluster, "m") and not owner(cluster, "k"), what="the shadows to own the neurons")
    boards.plug(0, name=other)
    boards.plug(1, name=one)
    until(lambda: owner(cluster, "m") == f"board 000000B0 ({other})", what="the board to take m back")
    until(lambda: owner(cluster, "k") == f"board 000000B1 ({one})", what="the board to take k back")
    done = cluster.stop()
    for neuron in ("m", "k"):
        whole(done, log, neuron)


def test_a_port_that_comes_while_a_board_is_away_is_not_taken_for_its(
    config, launch, attach, boards_now, neurobus, table_of, tmp_path
):
    boards = table_of("simulated", 2)
    boards.unplug(1)
    cluster = launch(config(network()), "--clock", "virtual", "--pace", "1")
    attach(boards.ports[0])
    boards.unplug(0)
    until(lambda: owner(cluster) is None, what="the shadow to own the neuron")
    boards.plug(1, name="ttySIM70")
    time.sleep(0.5)
    (now,) = boards_now()
    assert (now["stage"], now["port"]) == ("away", boards.ports[0])
    assert attach(boards.ports[1], "k")["board"] == "000000B1"  # nobody holds it
    boards.plug(0)
    until(lambda: owner(cluster), what="the board to take its neuron back")
    assert owner(cluster) == f"board 000000B0 ({Path(boards.ports[0]).name})"


@calm
def test_a_killed_bridge_costs_no_spike(config, launch, attach, table_of, tmp_path):
    log = tmp_path / "killed.mcap"
    boards = table_of("paper")
    cluster = launch(config(network()), "--clock", "wall", "--record", log)
    attach(boards.ports[0])
    time.sleep(0.3)
    os.kill(bridge_of(cluster), signal.SIGKILL)
    until(lambda: owner(cluster) is None, 5, "the shadow to own the neuron")
    assert attach(boards.ports[0])["stage"] == "owns the neuron"
    time.sleep(0.3)
    done = cluster.stop()
    whole(done, log)
    assert any("the bridge has been silent" in note for note in done.summary["notes"])


@calm
def test_a_bridge_and_a_process_that_both_overslept_tell_each_spike_once(
    config, launch, attach, table_of, tmp_path
):
    """They wake together: the bridge tells what waited at the port as the process takes its neuron back."""
    log, rng = tmp_path / "overslept.mcap", random.Random(5)
    boards = table_of("paper")
    busy = network().replace("60 Hz", "110 Hz")
    cluster = launch(config(busy), "--clock", "wall", "--record", log)
    attach(boards.ports[0])
    both = [psutil.Process(bridge_of(cluster)), until(lambda: cluster.child("m"), what="the process of m")]
    for _ in range(10):
        until(lambda: owner(cluster), what="the board to own the neuron")
        time.sleep(0.1)
        for process in both:
            process.suspend()
        time.sleep(rng.uniform(0.11, 0.14))
        rng.shuffle(both)
        for process in both:
            process.resume()
            time.sleep(rng.uniform(0, 0.003))
        time.sleep(0.1)
    until(lambda: owner(cluster), what="the board to own the neuron")
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
    assert "'m' is leased to board 000000B0" in attach(boards.ports[1], "m", 2)
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
def test_a_port_that_vanishes_while_it_is_asked_is_said_so(config, launch, neurobus, table_of):
    boards = table_of("paper")
    launch(config(network()), "--clock", "wall")
    boards.deaf()
    attaching = neurobus.start("attach", boards.ports[0], "--as", "m", "--json")
    # A bridge that has only just been started may not answer yet, and then `boards` says so.
    until(lambda: neurobus("boards", "--json").stdout.strip() not in ("", "[]"), what="the port to be opened")
    boards.unplug()
    _, err = attaching.communicate(timeout=30)
    assert attaching.returncode == 2
    assert "unplugged" in err and "Traceback" not in err


@calm
def test_the_button_reaches_the_shadow_and_the_log(config, launch, attach, table_of, tmp_path):
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


@pytest.mark.parametrize("kind", ["paper", "simulated"])
def test_under_the_virtual_clock_a_press_is_a_poke_like_any_other(
    config, run, launch, attach, boards_now, neurobus, table_of, tmp_path, kind
):
    """Stamped by the conductor, felt by board and shadow in the same update, recorded, and repeated."""
    path, log, calm_log = config(network()), tmp_path / "pressed.mcap", tmp_path / "calm.mcap"
    boards = table_of(kind)
    cluster = launch(path, "--clock", "virtual", "--pace", "1", "--record", log)
    attach(boards.ports[0])
    pokes = 0
    while pokes < 5:
        # One that comes while the contacts bounce yet, in the board's time, is no press.
        boards.press()
        give_up = time.monotonic() + 2
        while boards_now()[0]["pokes"] == pokes and time.monotonic() < give_up:
            time.sleep(0.05)
        pokes = boards_now()[0]["pokes"]
        time.sleep(0.15)
    time.sleep(0.5)
    until(lambda: owner(cluster), what="the board to own its neuron")
    (now,) = boards_now()
    assert (now["disagreements"], now["mended"]) == (0, 0)
    done = cluster.stop()
    whole(done, log)
    stimuli = [entry.item for entry in read(log).stimuli]
    assert [(s.neuron, s.origin) for s in stimuli] == [("m", "board-000000B0")] * now["pokes"]
    assert len({s.t_ns for s in stimuli}) == now["pokes"] and min(s.t_ns for s in stimuli) > 0
    verified = neurobus("log", "verify", log)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    end = read(log).end_ns
    run(path, "--clock", "virtual", "--for", f"{end} ns", "--record", calm_log)
    assert spikes_in(calm_log) != spikes_in(log), "no press has done anything"


def test_pokes_of_any_size_are_felt_by_board_and_process_alike(
    config, launch, attach, boards_now, table_of, neurobus, tmp_path
):
    """Also many in one update, which saturate in sum."""
    path, log = config(network()), tmp_path / "poked.mcap"
    boards = table_of("paper")
    begun = time.monotonic()  # under this pace model time is never ahead of what has passed since
    cluster = launch(path, "--clock", "virtual", "--pace", "1", "--record", log)
    attach(boards.ports[0])
    r = random.Random(5)
    with cluster.peer() as peer:
        peer.join("pokes")
        for _ in range(25):
            t_ns = round((time.monotonic() - begun) * 1e4 + r.randrange(200, 400)) * 100_000
            for _ in range(r.choice((1, 2, 5))):
                weight = r.choice((9_000.0, r.uniform(-1e6, 1e6), r.uniform(-1, 1)))
                peer.send(wire.encode(Stimulus("m", t_ns, weight, "test")))
            time.sleep(0.02)
    until(lambda: read(log).end_ns > t_ns, 60, "the last poke to have been felt")
    (now,) = boards_now()
    assert (now["disagreements"], now["mended"]) == (0, 0)
    done = cluster.stop()
    whole(done, log)
    assert len(read(log).stimuli) > 25
    verified = neurobus("log", "verify", log)
    assert verified.returncode == 0, verified.stdout + verified.stderr


# -- the line ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["paper", "simulated"])
def test_a_board_whose_line_another_program_changed_is_back_by_itself(
    config, launch, attach, boards_now, table_of, kind
):
    """Its rate, which a simulated board's line heeds; its mode, which spoils any."""
    boards = table_of(kind)
    cluster = launch(config(network()), "--clock", "virtual", "--pace", "1")
    attach(boards.ports[0])
    line = os.open(boards.ports[0], os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    settings = termios.tcgetattr(line)
    if kind == "paper":
        settings[3] |= termios.ICANON | termios.ECHO
        settings[0] |= termios.ICRNL | termios.ISTRIP
    else:
        settings[4] = settings[5] = termios.B9600
    termios.tcsetattr(line, termios.TCSANOW, settings)
    os.close(line)

    def set_again() -> bool:
        (now,) = boards_now()
        return now["line_set_again"] + now["unplugged"] == 1  # some modes make reading look like the end

    until(set_again, what="the line to be set again")
    spikes = boards_now()[0]["spikes"]
    until(lambda: boards_now()[0]["spikes"] > spikes, what="the board to go on")
    done = cluster.stop()
    assert (done.summary["lost"], done.summary["duplicates"], done.summary["silent"]) == (0, 0, [])


def test_who_reads_the_port_is_named_and_the_board_not_taken(config, launch, neurobus, table_of):
    boards = table_of("paper")
    launch(config(network()), "--clock", "virtual", "--pace", "1")
    with subprocess.Popen(["cat", boards.ports[0]], stdout=subprocess.DEVNULL) as cat:
        try:
            until(lambda: holder(boards.ports[0]) is not None, what="cat to have the port")
            done = neurobus("attach", boards.ports[0], "--as", "m")
            word = f"held by process {cat.pid} (cat); end that first"
            assert done.returncode == 2 and word in done.stderr, done.stderr
        finally:
            cat.kill()


def test_boards_with_one_serial_number_are_told_apart(config, launch, neurobus, table_of):
    boards = table_of("simulated", 2)
    at = boards.eeprom(0).index((0xB0).to_bytes(4, "little"))
    boards.set_eeprom((0xB0).to_bytes(4, "little"), 1, at)
    boards.reset(1)
    cluster = launch(config(network()), "--clock", "virtual", "--pace", "1")
    done = neurobus("attach", *boards.ports, "--as", "m", "--as", "k", timeout_s=90)
    assert done.returncode == 0, done.stderr
    (told,) = [line for line in done.stderr.splitlines() if "has the serial number of" in line]
    neuron, number = told.partition(":")[0], told.split()[-4]
    names = {"m": "000000B0", "k": "000000B0"} | {neuron: number}
    assert len(set(names.values())) == 2
    for board in (0, 1):
        boards.unplug(board)
    until(lambda: not owner(cluster, "m") and not owner(cluster, "k"), what="the shadows to own the neurons")
    boards.plug(0, name=Path(boards.ports[1]).name)
    boards.plug(1, name="ttySIM60")
    for name, board in names.items():
        until(
            lambda n=name, b=board: f"board {b} " in (owner(cluster, n) or ""), what=f"{board} to be {name}"
        )
    cluster.stop()
