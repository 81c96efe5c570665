from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neurobus.events import Samples, Spikes, Stimulus
from neurobus.log import Entry, Header, Log, LogWriter, read, recover
from neurobus.log.collector import BATCH, HOLD_NS, Collector
from neurobus.log.format import Damaged, LogEvent
from neurobus.log.guests import declared
from neurobus.log.info import describe
from neurobus.log.names import only
from neurobus.wire import verbs
from neurobus.wire.bus import Malformed
from neurobus.wire.message import Control, Report

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
    collector.take(Report("n1", verbs.Trouble("late")), 13)
    collector.note(LogEvent("n1", "joined", {"t_ns": 42}), 14, 42)
    collector.take(Control("*", verbs.Stop()), 15)
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


def told(t_ns: int, pre: list[int], post: list[int], weight: list[float]) -> Report:
    columns = (np.array(pre, "<u4"), np.array(post, "<u4"), np.array(weight, "<f8"))
    return Report("p0", verbs.RecordedWeights(0, t_ns, *(column.tobytes() for column in columns)))


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
    [told(0, [1, 2], [0], [0.5]), told(0, [1], [0], [0.5, 1]),
     Report("p0", verbs.RecordedWeights(0, 0, b"", b"", b"x"))],
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


def ready(origin: str, guest: verbs.Guest | None = None) -> Report:
    return Report(origin, verbs.Ready(pid=7, epoch=9, next_step=0, guest=guest))


def joined(log: LogWriter) -> None:
    """`late` is started by hand, then `src`, a source; each fires and `late` is poked."""
    collector = Collector(log, IDS)
    collector.take(Spikes("late", 9, 0, [50]), 1_000)  # nobody has said who that is
    collector.take(ready("late", guest=verbs.Guest(True, "mV")), 1_000)
    for name in ("n3", "late", "two words"):
        collector.take(ready(name, guest=verbs.Guest(True)), 1_000)
    collector.take(ready("plain"), 1_000)
    collector.take(ready("src", guest=verbs.Guest(False)), 1_000)
    collector.take(Spikes("late", 9, 1, [100, 300]), 1_000)
    collector.take(Spikes("src", 9, 0, [200]), 1_000)
    collector.take(Spikes("n1", 0, 0, [150]), 1_000)
    collector.take(Spikes("@2", 0, 0, [400], [10]), 1_000)  # no index of the run's
    collector.take(Stimulus("late", 250, 2.0, "poke"), 1_000)
    collector.flush()


def is_whole(got: Log) -> None:
    assert got.header.ids == [*IDS, "late", "src"] and got.header.config_ids == IDS
    assert got.header.guests == {"late": True, "src": False}
    assert got.header.of_neurons.tolist() == [True] * 11 + [False]
    spikes = zip(got.spikes_t.tolist(), got.spikes_i.tolist(), strict=True)
    assert list(spikes) == [(100, 10), (150, 1), (200, 11), (300, 10)]
    assert [entry.item.neuron for entry in got.stimuli] == ["late"]


def test_who_is_started_by_hand_is_in_the_log_from_then_on(log: LogWriter, tmp_path: Path) -> None:
    joined(log)
    running = read(log.path)
    is_whole(running)
    assert not running.complete
    copy = tmp_path / "cut.mcap"
    copy.write_bytes(log.path.read_bytes())
    is_whole(recover(copy, tmp_path / "saved.mcap"))
    closed = read(log.close())
    is_whole(closed)
    assert closed.complete
    part = read(log.path, 180, 320)
    assert part.spikes_i.tolist() == [11, 10] and part.header == closed.header
    facts = describe(closed)
    assert (facts["neurons"], facts["sources"], facts["by_hand"]) == (11, 1, ["late", "src"])
    assert (facts["neuron_spikes"], facts["source_spikes"]) == (3, 1)
    few = only(closed, ["n1", "src"])
    assert few.header.ids == ["n1", "src"] and few.header.guests == {"src": False}
    assert few.header.of_neurons.tolist() == [True, False]


def test_a_lost_declaration_gives_no_index_to_another() -> None:
    header = Header("x.toml", "", 1, 100_000, "wall", ["a"], 0)
    told = [Entry(0, 0, LogEvent(id, "guest", {"id": id, "index": index, "neuron": True}))
            for id, index in (("b", 1), ("d", 3), ("a", 2), ("e", 2))]  # fmt: skip
    assert declared(header, told).ids == ["a", "b", "e"]
    assert declared(header, told[1:]).ids == ["a"]


def test_a_header_names_guests_last_or_is_damaged() -> None:
    header = Header("x.toml", "", 1, 100_000, "wall", ["a"], 0, n_neurons=1).with_guest("b", True)
    attached = {name: content for name, _, content in header.attachments()}
    assert Header.parse(header.metadata(), attached, []) == header
    false = replace(header, guests={"a": True})
    with pytest.raises(Damaged, match="started by hand"):
        Header.parse(false.metadata(), attached, [])
