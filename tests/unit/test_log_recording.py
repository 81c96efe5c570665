"""The recorder as an observer: from when on it has everything, and what it says of that."""

from __future__ import annotations

from pathlib import Path

import pytest

from neurobus.events import Samples, Spikes
from neurobus.log import Log, read
from neurobus.log.info import describe, render
from neurobus.log.recording import Recording
from neurobus.observer import Listening, Run
from neurobus.wire import bus as wire
from tests.helpers import NoPeer
from tests.mutants import HEADER

MS = 1_000_000


RUN = Run("x", HEADER.clock, HEADER.seed, HEADER.dt_ns, HEADER.ids, 0, {}, {}, 0)


def recorded(path: Path, events: list[Spikes | Samples], joined_ns: int | None = None, begin_ns: int = 0,
             end_ns: int = 40 * MS) -> tuple[Log, dict[str, object]]:  # fmt: skip
    recording = Recording(path, HEADER, "record-1", joined_ns, begin_ns=begin_ns)
    listening = Listening(recording, RUN, NoPeer(), "record-1", False, print)  # type: ignore[arg-type]
    for event in events:
        listening.take(wire.encode(event), 5)
    listening.accounts.end_ns = end_ns
    account = listening.close()
    return read(path), account


def test_from_the_first_spike_on_it_has_everything_since_the_begin(tmp_path: Path) -> None:
    events = [Spikes("n.0", 0, 0, [30 * MS]), Spikes("n.1", 0, 0, [31 * MS]), Spikes("n.0", 0, 1, [32 * MS])]
    log, account = recorded(tmp_path / "x.mcap", events)
    assert (account["from_ms"], account["before"], account["lost"]) == (0, 0, 0)
    assert describe(log)["listened_from_s"] == 0
    log, account = recorded(tmp_path / "y.mcap", events, begin_ns=20 * MS)
    assert account["from_ms"] == 20 and describe(log)["mean_rate_hz"] == pytest.approx(3 / 10 / 0.02)


def test_who_comes_later_says_from_when_on_and_what_came_before(tmp_path: Path) -> None:
    events = [Samples("n.0", 0, 9, [29 * MS], [-60.0]), Spikes("n.0", 0, 5, [30 * MS]),
              Spikes("n.1", 0, 0, [31 * MS]), Spikes("n.0", 0, 8, [32 * MS])]  # fmt: skip
    log, account = recorded(tmp_path / "x.mcap", events)
    assert (account["from_ms"], account["before"], account["lost"]) == (29, 5, 2)
    facts = describe(log)
    assert (facts["listened_from_s"], facts["model_s"]) == (0.029, 0.04)
    text = render(facts)
    assert "complete from 0.029 s of its run on" in text and "from 0.029 s to 0.04 s" in text


def test_under_the_wall_clock_it_knows_the_time(tmp_path: Path) -> None:
    log, account = recorded(tmp_path / "x.mcap", [Spikes("n.0", 0, 5, [30 * MS])], joined_ns=25 * MS)
    assert account["from_ms"] == 25 and describe(log)["listened_from_s"] == 0.025


def test_nobody_told_a_time(tmp_path: Path) -> None:
    log, account = recorded(tmp_path / "x.mcap", [])
    assert account["from_ms"] is None and describe(log)["listened_from_s"] == 0


def test_rates_are_of_neurons_and_sources_stand_apart(tmp_path: Path) -> None:
    from neurobus.log import Header, LogWriter

    ids = ["a", "b", "drive"]
    writer = LogWriter(tmp_path / "x.mcap", Header("x.toml", "", 1, 1, "wall", ids, 0, n_neurons=2))
    writer.spikes(list(range(10)), [0] * 4 + [2] * 6, 0)
    facts = describe(read(writer.close(end_ns=1000 * MS)))
    assert (facts["neuron_spikes"], facts["source_spikes"], facts["mean_rate_hz"]) == (4, 6, 2.0)
    assert facts["busiest"] == {"a": 4} and "4 of neurons, 2 Hz on average; 6 of sources" in render(facts)
