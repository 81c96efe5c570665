from __future__ import annotations

from pathlib import Path

import pytest

from neurobus.errors import InputError
from neurobus.events import Samples, Spikes
from neurobus.log import Header, Log, LogWriter, read
from neurobus.log.replay import Schedule

MS = 1_000_000


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """a and b fire together at 10 ms, a again at 20 ms, the sample lies at 15 ms; the run ends at 30 ms."""
    ids = ["a", "b", "exc.0", "exc.1"]
    header = Header("x.toml", "", 1, 100_000, "wall", ids, 0, groups={"exc": [2, 3], "ab": [0, 1]})
    writer = LogWriter(tmp_path / "x.mcap", header)
    writer.spikes([10 * MS, 10 * MS, 20 * MS, 25 * MS], [1, 0, 0, 3], 0)
    writer.samples([15 * MS], [1], [-65.0], 0)
    return read(writer.close(end_ns=30 * MS))


def test_everything_is_taken_once_and_when_it_is_due(log: Log) -> None:
    schedule = Schedule(log)
    assert schedule.next_due_ns() == 10 * MS and schedule.take(10 * MS - 1) == []
    assert schedule.take(10 * MS) == [Spikes("a", 0, 0, [10 * MS]), Spikes("b", 0, 0, [10 * MS])]
    assert schedule.take(10 * MS) == [] and schedule.next_due_ns() == 15 * MS
    assert schedule.take(99 * MS) == [
        Spikes("a", 0, 1, [20 * MS]),
        Spikes("exc.1", 0, 0, [25 * MS]),
        Samples("b", 0, 0, [15 * MS], [-65.0]),
    ]
    assert schedule.next_due_ns() is None and schedule.take(10**12) == []
    ends = [(end.stream, end.seq, end.last) for end in schedule.finish()]
    assert ends == [("a", 2, True), ("b", 1, True), ("exc.1", 1, True)]


@pytest.mark.parametrize(("rate", "due"), [(0.5, [20, 30, 40, 50]), (2, [5, 7.5, 10, 12.5])])
def test_rate_stretches_deadlines_and_leaves_times_alone(log: Log, rate: float, due: list[float]) -> None:
    schedule = Schedule(log, rate=rate)
    seen, times = [], []
    while (at := schedule.next_due_ns()) is not None:
        seen.append(at / MS)
        times += [t for event in schedule.take(at) for t in event.t_ns]
    assert seen == due and times == [10 * MS, 10 * MS, 15 * MS, 20 * MS, 25 * MS]


def test_deadlines_do_not_drift_at_odd_rates(log: Log) -> None:
    schedule = Schedule(log, rate=0.3, loop=True, end_ns=30 * MS)
    for _ in range(4 * 1000):
        at = schedule.next_due_ns()
        assert at is not None and len(schedule.take(at)) <= 2
    assert schedule.next_due_ns() == round((1000 * 30 + 10) * MS / 0.3)


def test_a_loop_goes_on_in_model_time_and_sequence(log: Log) -> None:
    schedule = Schedule(log, only=["a"], loop=True, start_ns=5 * MS, end_ns=25 * MS)
    assert schedule.next_due_ns() == 5 * MS
    taken = schedule.take(46 * MS)
    assert [(event.seq, [t // MS for t in event.t_ns]) for event in taken] == [
        (0, [10, 20]),
        (2, [30, 40]),
        (4, [50]),
    ]
    assert schedule.position_ns == 60 * MS and schedule.next_due_ns() == 55 * MS


def test_a_step_is_one_instant(log: Log) -> None:
    schedule = Schedule(log)
    assert [len(schedule.step()) for _ in range(5)] == [2, 1, 1, 1, 0]


def test_a_window_begins_at_once(log: Log) -> None:
    schedule = Schedule(log, start_ns=20 * MS)
    assert schedule.next_due_ns() == 0 and schedule.streams == ["a", "b", "exc.1"]


@pytest.mark.parametrize(
    ("only", "streams"),
    [(["b"], ["b"]), (["exc"], ["exc.1"]), (["ab"], ["a", "b"]), (["exc.*", "a"], ["a", "exc.1"])],
)
def test_neurons_are_chosen_by_id_group_or_pattern(log: Log, only: list[str], streams: list[str]) -> None:
    assert Schedule(log, only=only).streams == streams


def test_what_cannot_be_is_refused(log: Log) -> None:
    for rate in (0, -1, float("nan"), float("inf")):
        with pytest.raises(InputError, match="rate"):
            Schedule(log, rate=rate)
    with pytest.raises(InputError, match="nothing to replay from 50 ms"):
        Schedule(log, start_ns=50 * MS)
    with pytest.raises(InputError, match=r"did you mean 'exc\.1'"):
        Schedule(log, only=["exc.9"])


def test_nothing_to_loop_over(log: Log) -> None:
    schedule = Schedule(log, only=["exc.0"], loop=True)
    assert schedule.next_due_ns() is None and schedule.take(10**12) == [] and schedule.step() == []


def test_a_loop_stays_on_the_grid_of_dt_and_in_the_rhythm_of_the_run(log: Log) -> None:
    schedule = Schedule(log, only=["a"], loop=True)
    taken = schedule.take(3 * 30 * MS)
    assert [t for event in taken for t in event.t_ns] == [
        10 * MS,
        20 * MS,
        40 * MS,
        50 * MS,
        70 * MS,
        80 * MS,
    ]  # type: ignore[union-attr]
    odd = Schedule(log, loop=True, start_ns=10 * MS, end_ns=25 * MS + 1)
    assert odd.turn_ns == 15_100_000 and odd.turn_ns % log.header.dt_ns == 0
    tight = Schedule(log, only=["a"], loop=True, start_ns=10 * MS, end_ns=20 * MS + 1)
    assert tight.turn_ns == 10_100_000, "the last instant does not fall onto the first of the next round"


def test_a_part_begins_with_the_potentials_that_hold(log: Log) -> None:
    schedule = Schedule(log, start_ns=18 * MS, end_ns=28 * MS, loop=True)
    assert schedule.take(0) == [Samples("b", 0, 0, [18 * MS], [-65.0])]
    again = [event for event in schedule.take(10 * MS) if isinstance(event, Samples)]
    assert again == [Samples("b", 0, 1, [28 * MS], [-65.0])], "each round anew"
    told_then = Schedule(log, start_ns=15 * MS)
    assert told_then.take(0) == [Samples("b", 0, 0, [15 * MS], [-65.0])], "not twice"
    assert not any(isinstance(event, Samples) for event in Schedule(log).take(14 * MS))


def test_a_part_read_from_the_file_knows_what_held_before_it(log: Log) -> None:
    part = read(log.path, 18 * MS, 30 * MS)
    before = part.initial_samples
    assert (before.t.tolist(), before.v_mv.tolist(), part.samples.t.size) == ([15 * MS], [-65.0], 0)
    assert Schedule(part, start_ns=18 * MS).take(0) == [Samples("b", 0, 0, [18 * MS], [-65.0])]
    whole = read(log.path)
    assert whole.initial_samples.t.size == 0 == whole.initial_weights.t.size
