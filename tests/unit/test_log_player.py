from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from neurobus.events import Samples, Spikes, Stimulus
from neurobus.log import Header, Log, LogWriter, read
from neurobus.log.player import Player, Stamp, as_recorded, at_once, now_of_wall
from neurobus.log.replay import Schedule, confined
from neurobus.wire import bus as wire
from neurobus.wire.bus import Event

MS = 1_000_000


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """Spikes of a at 5 and 25 ms, of b at 25 ms; a sample of b at 10, a poke of b at 15; 40 ms long."""
    header = Header("x.toml", "", 1, 100_000, "wall", ["a", "b"], 0)
    writer = LogWriter(tmp_path / "x.mcap", header)
    writer.spikes([5 * MS, 25 * MS, 25 * MS], [0, 0, 1], 0)
    writer.samples([10 * MS], [1], [-60.0], 0)
    writer.stimulus(Stimulus("b", 15 * MS, 3.0, "someone"), 0)
    return read(writer.close(40 * MS))


class Bus:
    """Keeps what is sent, with the reading of the monotonic clock."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, Event]] = []

    def __call__(self, data: bytes) -> None:
        self.sent.append((time.monotonic_ns(), wire.decode(data)))

    @property
    def events(self) -> list[Event]:
        return [event for _, event in self.sent]

    def spikes(self, stream: str) -> list[int]:
        """Their times, with the seq of each batch checked."""
        times: list[int] = []
        for event in self.events:
            if isinstance(event, Spikes) and event.stream == stream:
                assert event.seq == len(times)
                times += event.t_ns
        return times


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def made() -> Iterator[list[Player]]:
    players: list[Player] = []
    yield players
    for player in players:
        player.close()


def player_of(made: list[Player], schedule: Schedule, bus: Bus, stamp: Stamp = as_recorded) -> Player:
    made.append(Player(schedule, bus, stamp))
    return made[-1]


def test_it_plays_each_event_after_its_deadline_and_the_ends_last(
    log: Log, bus: Bus, made: list[Player]
) -> None:
    player = player_of(made, Schedule(log, rate=0.5), bus)
    begun = time.monotonic_ns()
    player.play()
    assert time.monotonic_ns() - begun >= 80 * MS and player.model_ns >= 40 * MS
    player.finish()
    # A player that overslept sends what is due in one batch of a stream, so streams are compared, not frames.
    assert bus.spikes("a") == [5 * MS, 25 * MS] and bus.spikes("b") == [25 * MS]
    others = [event for event in bus.events if not isinstance(event, Spikes)]
    assert others == [Samples("b", 0, 0, [10 * MS], [-60.0]), Stimulus("b", 15 * MS, 3.0, "someone")]
    assert bus.events[-2:] == [Spikes("a", 0, 2, [], last=True), Spikes("b", 0, 1, [], last=True)]
    for at, event in bus.sent:
        times = [event.t_ns] if isinstance(event, Stimulus) else event.t_ns
        assert all(at - player.begin_ns >= 2 * t for t in times)
    assert (player.spikes, player.samples, player.stimuli) == (3, 1, 1)
    late = player.errors_ms()
    assert all(value is not None and value >= 0 for value in late.values())
    assert late["worst"] == max(value for value in late.values() if value is not None)


def test_on_a_wall_clock_it_stamps_what_is_due_with_the_time_there(
    log: Log, bus: Bus, made: list[Player]
) -> None:
    t0_ns, dt_ns = time.monotonic_ns() - 7_000 * MS - 12_345, 100_000
    player = player_of(made, Schedule(log, ["a"], rate=2), bus, now_of_wall(t0_ns, dt_ns))
    player.play()
    times = [t for event in bus.events if isinstance(event, Spikes) for t in event.t_ns]
    exact = [player.begin_ns + due - t0_ns + wire.LEAD_NS for due in (5 * MS // 2, 25 * MS // 2)]
    assert all(t % dt_ns == 0 and 0 <= due - t < dt_ns for t, due in zip(times, exact, strict=True))


def test_steps_take_no_notice_of_deadlines(log: Log, bus: Bus, made: list[Player]) -> None:
    player = player_of(made, Schedule(log, rate=0.001), bus, at_once)
    begun = time.monotonic()
    assert [player.step() for _ in range(5)] == [True, True, True, True, False]
    assert time.monotonic() - begun < 1
    assert [len(bus.events), player.model_ns] == [5, 25 * MS]
    assert bus.events[2] == Stimulus("b", -1, 3.0, "someone")
    assert player.errors_ms() == {"median": None, "p99": None, "worst": None}


def test_a_step_on_a_wall_clock_happens_now(log: Log, bus: Bus, made: list[Player]) -> None:
    t0_ns = time.monotonic_ns()
    player = player_of(made, Schedule(log, ["a"]), bus, now_of_wall(t0_ns, 1))
    for _ in range(2):
        time.sleep(0.01)
        player.step()
    stamps = [
        (event.t_ns[0], at - t0_ns + wire.LEAD_NS) for at, event in bus.sent if isinstance(event, Spikes)
    ]
    assert all(0 <= now - t < 1000 * MS for t, now in stamps) and stamps[1][0] - stamps[0][0] > 9 * MS


def test_a_stop_is_soon_and_counts_only_what_was_sent(log: Log, bus: Bus, made: list[Player]) -> None:
    player = player_of(made, Schedule(log, ["a"], rate=0.001), bus)
    timer = threading.Timer(0.05, player.stop)
    timer.start()
    begun = time.monotonic()
    player.play()
    timer.join()
    assert time.monotonic() - begun < 3
    player.finish()
    assert bus.events == [Spikes("a", 0, 0, [], last=True)]


def test_it_catches_up_when_it_was_held_up(log: Log, bus: Bus, made: list[Player]) -> None:
    player = player_of(made, Schedule(log, ["a"], loop=True), bus)
    held = iter([0.1])

    def tick() -> None:
        time.sleep(next(held, 0))
        if player.spikes > 8:
            player.stop()

    player.tick = tick
    player.play()
    times = [t for event in bus.events if isinstance(event, Spikes) for t in event.t_ns]
    period = 40 * MS
    assert times == [turn * period + t for turn in range(50) for t in (5 * MS, 25 * MS)][: len(times)]
    worst = player.errors_ms()["worst"]
    assert worst is not None and worst > 20


def test_a_log_confined_to_what_has_a_place(log: Log) -> None:
    part = confined(log, {"a"}, {"b"})
    assert part.spikes_i.tolist() == [0, 0] and part.samples.t.size == 0 and len(part.stimuli) == 1
    assert Schedule(part).streams == ["a"]
    assert confined(log, {"b"}, {"a"}).stimuli == []
