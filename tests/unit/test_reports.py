"""Reports of strangers: what can be summed, printed and written as JSON is taken, and nothing else raises."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from neurobus.cluster import guests, reports
from neurobus.cluster.instructions import KeepSnapshot
from neurobus.cluster.summary import Summary, render
from neurobus.cluster.supervisor import FINAL_NS, Phase
from neurobus.wire import bus as wire
from neurobus.wire.bus import MOST_EPOCHS, Malformed
from neurobus.wire.message import fields
from tests.helpers import final, word
from tests.unit.test_supervisor import Play

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


def report(origin: str, verb: str, data: object) -> bytes:
    return word(wire.REPORT, origin, verb, data)


def hear(play: Play, *frames: bytes) -> int:
    """How many of them were malformed: by the table of verbs, or to the supervisor."""
    dropped = 0
    for frame in frames:
        try:
            event = wire.decode(frame)
        except Malformed:
            dropped += 1
        else:
            play(play.on.report(event, play.now_ns))  # type: ignore[arg-type]
    return dropped


def over(play: Play) -> Summary:
    """What the run came to, once nobody else reports."""
    while play.on.phase is not Phase.OVER:
        play.tick(2 * FINAL_NS)
    return play.on.summary


@pytest.mark.parametrize("key", FINAL)
def test_a_final_report_with_anything_in_it_is_summed_or_malformed(key):
    taken = 0
    for odd in ODD:
        play = Play().running()
        hear(play, report("a", "final", FINAL | {key: odd}))
        taken += play.on.members["a"].final is not None
        summary = over(play)
        render(summary)
        json.dumps(asdict(summary), allow_nan=False)
    assert taken < len(ODD)


@pytest.mark.parametrize("key", ["lost", "path", "notes", "boards"])
@pytest.mark.parametrize("odd", ODD)
def test_a_farewell_with_anything_in_it_can_be_told(key, odd):
    play = Play().running()
    hear(play, report("recording", "final", {key: odd}), report("a", "final", FINAL))
    summary = over(play)
    render(summary)
    json.dumps(asdict(summary), allow_nan=False)


def test_a_farewell_of_nobody_is_none():
    play = Play().running()
    hear(play, report("ghost", "final", {}), report("conductor", "final", {}))
    assert "ghost" not in play.on.members
    summary = over(play)
    assert "ghost" not in summary.observers and summary.rounds is None


def test_guests_and_troubles_beyond_all_measure_are_counted_and_not_kept(monkeypatch):
    monkeypatch.setattr(reports, "MOST_TOLD", 10)
    monkeypatch.setattr(guests, "MOST", 10)
    play = Play()
    play.built.manifest.external = ["place"]
    play.running()
    placed = [report(name, "ready", {"pid": 1}) for name in ("place", "bridge")]
    ready = [report(f"ghost.{n}", "ready", {"pid": 1}) for n in range(30)]
    trouble = [report("a", "trouble", {"what": f"so {n}\n\x1b[2J"}) for n in range(30)]
    hands = [
        report("a", "ceded", {"claim": "b/1", "epoch": 1, "step": n, "board": "x", "errors": {}})
        for n in range(30)
    ]
    assert hear(play, *ready, *placed, *trouble, *hands) == 0
    assert len(play.on.members.guests) == 12
    hear(play, report("a", "final", FINAL), report("b", "final", FINAL), report("recording", "final", {}))
    notes = over(play).notes
    assert f"launcher: {guests.TOO_MANY}" in notes
    assert notes[-1] == "41 more notes were not kept"
    assert len([note for note in notes if note.startswith("a: so") or " is x from " in note]) == 9 + 10
    assert all(note.isprintable() for note in notes)


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
    play = Play().running()
    hear(play, report("a", "ceded", {"claim": "b/1", "errors": {}, **data}))
    assert play.on.members["a"].epoch == 0 and not play.on.summary.notes


def test_a_snapshot_counts_only_where_it_is():
    play = Play().running()
    saved = [report(name, "saved", {"step": 7}) for name in ("a", "b")]
    hear(play, *saved)
    assert not any(isinstance(order, KeepSnapshot) for order in play.done)
    play.written.add(7)
    hear(play, *saved)
    assert KeepSnapshot(7, first=True) in play.done
