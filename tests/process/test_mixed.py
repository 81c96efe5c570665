"""Brains of processes and boards: neurons that learn become boards and come back in the middle of a course,
and not one weight, spike or answer is another than without boards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurobus.classroom import brain
from neurobus.log import read
from tests.conftest import Neurobus
from tests.helpers import Cluster, run_table, spikes_in, table, until
from tests.process.table import Boards
from tests.process.test_boards import owner
from tests.process.test_train import SLOW, THIRTY, learnt, progress, reference

Table = Callable[..., Boards]


def begun(neurobus: Neurobus, out: Path, *args: object, config: str = THIRTY) -> Cluster:
    return Cluster(neurobus.start("train", config, "--passes", 1, "-o", out, "--json", *args))


def attached(
    neurobus: Neurobus, boards: Boards, *neurons: str, lag: str | None = None
) -> list[dict[str, Any]]:
    words = [word for neuron in neurons for word in ("--as", neuron)] + (["--lag", lag] if lag else [])
    done = neurobus("attach", *boards.ports, *words, "--json", timeout_s=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return found if isinstance(found, list) else [found]


def boards_of(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What there is to tell of each board at the end of a run, by neuron."""
    return {row["neuron"]: row for row in summary["observers"]["bridge"]["boards"]}


def notes_of(summary: dict[str, Any], neuron: str) -> list[str]:
    return [note for note in summary["notes"] if note.startswith(f"{neuron} ")]


@pytest.mark.calm  # a simulated board that gets no time falls silent, and is lost and taken back
def test_readers_on_boards_learn_what_readers_without_boards_learn(
    neurobus: Neurobus, table_of: Table, tmp_path: Path, state_dir: Path
) -> None:
    course = ("--train", 260, "--test", 40, "--pace", 1)
    out, log = tmp_path / "mixed.brain", tmp_path / "mixed.mcap"
    boards = table_of("simulated", 2, chip="race")
    cluster = begun(neurobus, out, *course, "--record", log)
    now = attached(neurobus, boards, "reader.4", "reader.13")
    assert [(board["neuron"], board["chip"]) for board in now] == [
        ("reader.4", "race"),
        ("reader.13", "race"),
    ]
    assert progress(state_dir) < 150, "attached so late that little was learnt on a board"
    until(lambda: progress(state_dir) > 160, 60, "the board to have learnt")
    assert neurobus("detach", "reader.4").returncode == 0
    until(lambda: owner(cluster, "reader.4") is None, what="the process to own its neuron")
    end = cluster.end(100)
    assert end.code == 0, end.err
    said = end.summary
    assert (said["lost"], said["late"], said["duplicates"], said["tested"]) == (0, 0, 0, 40)
    W, accuracy = reference(260, 40)
    assert np.array_equal(learnt(out), W)
    assert W[4].any() and W[13].any()
    assert said["accuracy"] == pytest.approx(accuracy, abs=1e-6)
    taken, *_, returned = notes_of(said, "reader.4")
    assert taken.startswith("reader.4 is board ")
    assert returned.endswith("(detached): none lost, no spike late, its weights the same")
    rows = boards_of(said)
    assert rows.keys() == {"reader.4", "reader.13"} and rows["reader.13"]["stage"] == "owns the neuron"
    for board in rows.values():
        assert board["spikes"] > 0
        assert (board["weighed"], board["weights_off"]) == (64, 0)
        assert (board["disagreements"], board["mended"]) == (0, 0)

    alone = tmp_path / "alone.brain"
    without = begun(neurobus, alone, *course[:4], "--record", tmp_path / "alone.mcap").end(100)
    assert without.code == 0, without.err
    assert np.array_equal(brain.load(out).weights, brain.load(alone).weights)
    assert spikes_in(log) == spikes_in(tmp_path / "alone.mcap")
    assert said["accuracy"] == without.summary["accuracy"]


def test_a_cable_pulled_while_it_learns_costs_no_weight(
    neurobus: Neurobus, table_of: Table, tmp_path: Path, state_dir: Path
) -> None:
    out, log, calm = tmp_path / "pulled.brain", tmp_path / "pulled.mcap", tmp_path / "calm.mcap"
    boards = table_of("paper", chip="race")
    course = ("--train", 220, "--test", 0, "--set", 'run.record_weights=["reader"]',
              "--set", "run.weight_interval=500 ms")  # fmt: skip
    cluster = begun(neurobus, out, *course, "--pace", 0.5, "--record", log)
    attached(neurobus, boards, "reader.7")
    boards.unplug()
    until(lambda: owner(cluster, "reader.7") is None, what="the shadow to own the neuron")
    boards.plug()
    until(lambda: owner(cluster, "reader.7"), what="the board to take its neuron back")
    end = cluster.end(100)
    assert end.code == 0, end.err
    assert np.array_equal(learnt(out), reference(220, 0)[0])
    assert sum("reader.7 is board" in note for note in end.summary["notes"]) >= 2, (
        "a silent board on a busy machine may come and go once more"
    )
    assert begun(neurobus, tmp_path / "calm.brain", *course, "--record", calm).end(100).code == 0
    with_board, without = (read(path).weights for path in (log, calm))
    assert np.unique(with_board.t).size == 15 and np.array_equal(with_board.t, without.t)
    assert np.array_equal(with_board.weight, without.weight), "a board's weights are told by its shadow"


@pytest.mark.calm
def test_a_weight_that_went_wrong_on_a_board_is_found(
    neurobus: Neurobus, table_of: Table, tmp_path: Path, state_dir: Path
) -> None:
    """The first pixel is never bright: no spike would tell."""
    out = tmp_path / "wrong.brain"
    boards = table_of("paper", 2, chip="race")
    cluster = begun(neurobus, out, "--train", 160, "--test", 0, "--pace", 0.5)
    attached(neurobus, boards, "reader.4", "reader.13")
    until(lambda: progress(state_dir) > 80, 60, "something to have been learnt")
    boards.spoil(0)
    boards.spoil(1)  # one is detached, the other weighed at the end: on a busy machine that is soon
    assert neurobus("detach", "reader.4").returncode == 0
    until(lambda: owner(cluster, "reader.4") is None, what="the process to own its neuron")
    end = cluster.end(100)
    assert end.code == 0, end.err
    *_, returned = notes_of(end.summary, "reader.4")
    assert returned.endswith(", 1 of its 64 weights not the same")
    for board in boards_of(end.summary).values():
        assert (board["weighed"], board["weights_off"]) == (64, 1)
    assert np.array_equal(learnt(out), reference(160, 0)[0])


def test_the_wrong_firmware_is_refused_with_the_right_one(config, launch, attach, table_of, tmp_path) -> None:
    text = (
        run_table()
        + table("neurons", id="r", model="nodes.race")
        + table("neurons", id="m", model="nodes.lif")
    )
    text += table("neurons", id="c", model="nodes.compete")
    text += table("sources", id="p", kind="poisson", rate="60 Hz")
    text += table("synapses", pre="p", post="m", weight="900 pA", delay="5 ms")
    text += table("synapses", pre="p", post="r", receptor="input", weight=0, delay="5 ms")
    launch(config(text), "--clock", "wall")
    said = attach(table_of("paper").ports[0], "r", 2)
    assert (
        "'r' is a nodes.race, which the chip 'race' can be; this board runs 'lif': make firmware CHIP=race"
        in said
    )
    assert "neurobus flash PORT" in said and said.endswith("--chip race")
    race = table_of("paper", chip="race", folder=tmp_path / "others").ports[0]
    assert "make firmware CHIP=lif" in attach(race, "m", 2)
    assert "this board is a nodes.race; 'c' is a nodes.compete" in attach(race, "c", 2)


@pytest.mark.calm
def test_by_the_wall_clock_they_learn_the_same(
    neurobus: Neurobus, table_of: Table, tmp_path: Path, state_dir: Path
) -> None:
    """Tick for tick the same course, so slow that neither a bus nor a line nor a busy machine is late."""
    text = Path(SLOW).read_text()
    for short, long in (("1.25 ms", "5 ms"), ("10 ms", "40 ms"), ("250 ms", "1 s"), ("320 ms", "1.28 s")):
        text = text.replace(f'"{short}"', f'"{long}"')
    (tmp_path / "slower.toml").write_text(text.replace("count = 30", "count = 10"))
    boards = table_of("simulated", 2, chip="race")
    for attempt in range(2):  # a machine under load may be late; then it says so
        out = tmp_path / f"wall{attempt}.brain"
        cluster = begun(neurobus, out, "--train", 12, "--test", 2, config=str(tmp_path / "slower.toml"))
        attached(neurobus, boards, "reader.4", "reader.7", lag="18 ms")
        until(lambda: progress(state_dir) > 8, 60, "the board to have learnt")
        assert neurobus("detach", "reader.4").returncode == 0
        end = cluster.end(100)
        assert end.code == 0, end.err
        said, rows = end.summary, boards_of(end.summary)
        late = said["late"] + said["lost"] + sum(row["late"] + row["mended"] for row in rows.values())
        if not late:
            break
    assert said["lost"] == 0
    if late:
        pytest.skip(f"this machine was late twice, {late} spikes at last: it promises nothing then")
    assert np.array_equal(learnt(out), reference(12, 2, readers=10)[0])
    told = {n: (row["weighed"], row["weights_off"]) for n, row in rows.items()}
    assert told == dict.fromkeys(("reader.4", "reader.7"), (64, 0))
    assert any(row["spikes"] for row in rows.values()), "no board has spoken"
    assert notes_of(said, "reader.4")[1].endswith(", its weights the same")
