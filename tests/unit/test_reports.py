"""Reports of strangers: what can be summed, printed and written as JSON is taken, and nothing else raises."""

from __future__ import annotations

import json
from dataclasses import asdict
from types import SimpleNamespace

import pytest

from neurobus.cluster import guests, reports
from neurobus.cluster.launcher import Launch, Launcher
from neurobus.cluster.options import Options
from neurobus.cluster.resume import Snapshots
from neurobus.cluster.summary import render
from neurobus.wire import bus as wire
from neurobus.wire.bus import MOST_EPOCHS, Malformed
from neurobus.wire.message import fields
from tests.helpers import final, word
from tests.unit.test_live import manifest

FINAL = {**fields(final(spikes=3, cpu_s=0.25, step=10, counts=[3], sent=(0, 3, 0)))}
ODD = [
    None,
    -1,
    2**63,
    0.5,
    float("nan"),
    "x",
    b"x",
    [],
    [b"x"],
    ["x"],
    {},
    {"x": b"x"},
    {"spikes": 1},
    [-1],
    True,
]


def a_launcher(**options: object) -> Launcher:
    launcher = Launcher(Launch(Options(**options), "x"))  # type: ignore[arg-type]
    launcher._wall, launcher._streams, launcher._epochs = True, ["a"], {"a": 0}
    launcher._programs = ["recording"]
    launcher.manifest = manifest()
    launcher.built = {"dt_ns": 100_000, "name": "x", "config": "x", "clock": "wall", "seed": 1}
    launcher.built |= {"n_neurons": 1, "ids": ["a"], "streams": ["a"], "external": []}
    launcher._snapshots, launcher.policy = Snapshots(1), SimpleNamespace(total=0)  # type: ignore[assignment]
    return launcher


def report(origin: str, verb: str, data: object) -> bytes:
    return word(wire.REPORT, origin, verb, data)


def hear(launcher: Launcher, *frames: bytes) -> int:
    """How many of them were malformed."""
    dropped = 0
    for frame in frames:
        try:
            launcher._report(wire.decode(frame))  # type: ignore[arg-type]
        except Malformed:
            dropped += 1
    return dropped


@pytest.mark.parametrize("key", FINAL)
def test_a_final_report_with_anything_in_it_is_summed_or_malformed(key):
    taken = 0
    for odd in ODD:
        launcher = a_launcher()
        taken += not hear(launcher, report("a", "final", FINAL | {key: odd}))
        launcher._sum_up()
        render(launcher.summary)
        json.dumps(asdict(launcher.summary), allow_nan=False)
    assert taken < len(ODD)


@pytest.mark.parametrize("key", ["lost", "path", "notes", "boards"])
@pytest.mark.parametrize("odd", ODD)
def test_a_farewell_with_anything_in_it_can_be_told(key, odd):
    launcher = a_launcher()
    hear(launcher, report("recording", "final", {key: odd}), report("a", "final", FINAL))
    launcher._sum_up()
    render(launcher.summary)
    json.dumps(asdict(launcher.summary), allow_nan=False)


def test_a_farewell_of_nobody_is_none():
    launcher = a_launcher()
    assert hear(launcher, report("ghost", "final", {}), report("conductor", "final", {})) == 2
    assert not launcher._farewells and launcher._conductor is None


def test_guests_and_troubles_beyond_all_measure_are_counted_and_not_kept(monkeypatch):
    monkeypatch.setattr(reports, "MOST_TOLD", 10)
    monkeypatch.setattr(guests, "MOST", 10)
    launcher = a_launcher()
    launcher.built["external"] = ["place"]
    placed = [report(name, "ready", {"pid": 1}) for name in ("place", "bridge")]
    ready = [report(f"ghost.{n}", "ready", {"pid": 1}) for n in range(30)]
    trouble = [report("a", "trouble", {"what": f"so {n}\n\x1b[2J"}) for n in range(30)]
    hands = [
        report("a", "ceded", {"claim": "b/1", "epoch": 1, "step": n, "board": "x", "errors": {}})
        for n in range(30)
    ]
    assert hear(launcher, *ready, *placed, *trouble, *hands) == 20
    hear(launcher, report("a", "final", FINAL), report("recording", "final", {}))
    launcher._sum_up()
    assert len(launcher.summary.notes) == 1 + 10 + 10 + 1
    assert f"launcher: {guests.TOO_MANY}" in launcher.summary.notes
    assert launcher.summary.notes[-1] == "41 more notes were not kept"
    assert all(note.isprintable() for note in launcher.summary.notes)
    assert len(launcher._ready) == 12


@pytest.mark.parametrize(
    "data",
    [
        {"epoch": MOST_EPOCHS, "step": 1, "board": "x"},
        {"epoch": -1, "step": 1, "board": "x"},
        {"epoch": 1, "step": 1 << 40, "board": "x"},
        {"epoch": 1, "step": 1, "board": b"x"},
        {"epoch": 1, "step": 1},
    ],
)
def test_hands_that_nobody_has_change_nothing(data):
    launcher = a_launcher()
    assert hear(launcher, report("a", "ceded", {"claim": "b/1", "errors": {}, **data})) == 1
    assert launcher._epochs == {"a": 0} and not launcher.summary.notes


def test_a_snapshot_counts_only_where_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved = report("a", "saved", {"step": 7})
    (tmp_path / "a.7.snap").touch()
    assert hear(a_launcher(snapshots=False), saved) == 1, "it would be kept in the current folder"
    state = tmp_path / "state"
    state.mkdir()
    launcher = a_launcher(state=str(state))
    assert hear(launcher, saved) == 1
    assert launcher._saved_step is None
