from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neurobus.events import Control, Report, Samples, Spikes, Stimulus
from neurobus.log import Header, LogWriter, read
from neurobus.log.recorder import BATCH, HOLD_NS, Collector
from neurobus.wire.bus import Malformed

IDS = [f"n{k}" for k in range(10)]


@pytest.fixture
def log(tmp_path: Path) -> LogWriter:
    return LogWriter(tmp_path / "x.mcap", Header("x.toml", "", 1, 100_000, "wall", IDS, 0))


def test_single_spikes_wait_for_each_other_but_not_for_long(log: LogWriter) -> None:
    collector = Collector(log, IDS)
    assert collector.due_ns() is None
    collector.take(Spikes("n3", 0, 0, [100]), 1_000)
    collector.take(Spikes("n4", 0, 0, [200]), 6_000)
    assert log.messages == 0 and collector.due_ns() == 1_000 + HOLD_NS
    collector.tick(999 + HOLD_NS)
    assert log.messages == 0
    collector.tick(1_000 + HOLD_NS)
    assert log.messages == 1 and collector.due_ns() is None
    got = read(log.close())
    assert (got.spikes_t.tolist(), got.spikes_i.tolist()) == ([100, 200], [3, 4])
    assert got.receipt.tolist() == [1_000, 6_000]


def test_a_hundred_spikes_make_a_message(log: LogWriter) -> None:
    collector = Collector(log, IDS)
    for k in range(2 * BATCH + 1):
        collector.take(Spikes("n0", 0, k, [k]), k)
    assert log.messages == 2
    collector.flush()
    assert read(log.close()).spikes_t.tolist() == list(range(2 * BATCH + 1))


def test_arrays_are_written_as_they_come(log: LogWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[object] = []
    monkeypatch.setattr(log, "spikes", lambda *columns: taken.extend(columns))
    collector = Collector(log, IDS)
    t, i = np.arange(150), np.arange(150, dtype=np.uint32) % 10
    collector.take(Spikes("p0", 0, 0, t, i), 77)  # type: ignore[arg-type]
    assert taken[0] is t and taken[1] is i and taken[2] == 77
    log.close()


def test_all_kinds_of_events(log: LogWriter) -> None:
    collector = Collector(log, IDS)
    collector.take(Spikes("p0", 0, 0, [500, 700], [1, 2]), 10)
    collector.take(Samples("n5", 0, 0, [600], [-60.5]), 11)
    collector.take(Stimulus("n1", 650, 3.0), 12)
    collector.take(Report("n1", "restart", {}), 13)
    collector.take(Report("n1", "late", {"t_ns": 42}), 14)
    collector.take(Control("*", "stop"), 15)
    collector.take(Spikes("p0", 0, 2, [], [], last=True), 16)
    collector.flush()
    got = read(log.close())
    assert (got.spikes_i.tolist(), got.samples.v_mv.tolist(), got.samples.i.tolist()) == (
        [1, 2],
        [-60.5],
        [5],
    )
    assert [entry.t_ns for entry in got.events] == [700, 42]
    assert (collector.spikes, collector.samples, collector.stimuli, collector.events) == (2, 1, 1, 2)


def told(t_ns: object, pre: list[int], post: list[int], weight: list[float]) -> Report:
    columns = {"pre": np.array(pre, "<u4"), "post": np.array(post, "<u4"), "weight": np.array(weight, "<f8")}
    return Report("p0", "recorded", {"t_ns": t_ns, **{name: c.tobytes() for name, c in columns.items()}})


def test_weights_are_taken_once(log: LogWriter) -> None:
    """One that died after it had told, and before that was known, tells the same again."""
    collector = Collector(log, IDS)
    for report in (told(0, [1, 2], [0, 0], [0.5, 1.5]), told(10, [1, 2], [0, 0], [0.6, 1.6]),
                   told(10, [1, 2], [0, 0], [0.6, 1.6]), told(20, [], [], [])):  # fmt: skip
        collector.take(report, 7)
    got = read(log.close())
    assert collector.weights == 4 and got.weights.t.tolist() == [0, 0, 10, 10] and not got.events
    assert got.weights.weight.tolist() == [0.5, 1.5, 0.6, 1.6] and collector.t_ns == 20


@pytest.mark.parametrize(
    "report",
    [told(None, [1], [0], [0.5]), told(0, [1, 2], [0], [0.5]), told(0, [1], [0], [0.5, 1]),
     Report("p0", "recorded", {}),
     Report("p0", "recorded", {"t_ns": 0, "pre": [1], "post": [0], "weight": [1]})],
)  # fmt: skip
def test_weights_that_are_none_are_malformed(log: LogWriter, report: Report) -> None:
    collector = Collector(log, IDS)
    with pytest.raises(Malformed):
        collector.take(report, 0)
    log.close()


def test_weights_of_strangers_are_counted(log: LogWriter) -> None:
    collector = Collector(log, IDS)
    collector.take(told(0, [1, 10], [0, 0], [0.5, 1.5]), 0)
    assert collector.unknown == {"p0": 2} and log.messages == 0
    log.close()


def test_what_names_no_neuron_is_counted(log: LogWriter) -> None:
    collector = Collector(log, IDS)
    collector.take(Spikes("stranger", 0, 0, [1, 2]), 0)
    collector.take(Spikes("p0", 0, 0, [1], [10]), 0)
    collector.take(Spikes("p0", 0, 0, [1, 2], [1]), 0)
    collector.take(Samples("p1", 0, 0, [1], [0.0], [-1]), 0)
    collector.flush()
    assert collector.unknown == {"stranger": 2, "p0": 3, "p1": 1} and log.messages == 0
    log.close()
