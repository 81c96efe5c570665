"""Logs that somebody else wrote: whatever they say, they are read, or refused in one line."""

from __future__ import annotations

import random
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurobus.errors import InputError, one_line
from neurobus.log import read, recover
from neurobus.log.diff import diff, same_weights
from neurobus.log.info import describe, render
from neurobus.log.replay import Schedule
from tests.mutants import IDS, MESSAGES, bomb, chunk, craft, f8, i8, inserted, mutated_log, nested, record, u4


def test_one_that_is_as_it_should_be_is_complete(tmp_path: Path) -> None:
    for chunked in (True, False):
        log = read(craft(tmp_path / "x.mcap", chunked=chunked))
        assert log.complete and log.spikes_t.size == 78 and log.weights.t.size == 6 and len(log.stimuli) == 1


FACTS = [
    ("seed", "-1"),
    ("seed", "9" * 5000),
    ("seed", "1_0"),
    ("dt_ns", "0"),
    ("dt_ns", "-5"),
    ("dt_ns", "1" + "0" * 30),
    ("clock", "sideways"),
    ("started_unix_ns", "9" * 19),
    ("neurons", "11"),
    ("neurons", "-3"),
    ("neurons", "x"),
    ("overrides", '"abc"'),
    ("overrides", "[1]"),
    ("overrides", "[" * 3000),
    ("files", "{}"),
    ("replaced", '["nobody"]'),
    ("replaced", "[1]"),
    ("format", "2"),
]


@pytest.mark.parametrize(("name", "text"), FACTS, ids=[f"{name}-{text[:9]}" for name, text in FACTS])
def test_a_header_that_cannot_be_is_refused(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(InputError, match="header of this log cannot be read") as raised:
        read(craft(tmp_path / "x.mcap", facts={name: text}))
    assert len(one_line(str(raised.value))) < 400


TABLES: list[Any] = [
    {},
    [],
    b"\xff",
    {"ids": "abc", "groups": {}},
    {"ids": [1], "groups": {}},
    {"ids": [None], "groups": {}},
    {"ids": ["a", "a"], "groups": {}},
    {"ids": ["\x1b[31m"], "groups": {}},
    {"ids": ["a\n"], "groups": {}},
    {"ids": [""], "groups": {}},
    {"ids": IDS, "groups": [1]},
    {"ids": IDS, "groups": {"n": [10]}},
    {"ids": IDS, "groups": {"n": [-1]}},
    {"ids": IDS, "groups": {"n": ["x"]}},
    nested(900),
]


@pytest.mark.parametrize("table", TABLES, ids=range(len(TABLES)))
def test_a_table_of_ids_that_cannot_be_is_refused(tmp_path: Path, table: object) -> None:
    with pytest.raises(InputError, match="header of this log cannot be read"):
        read(craft(tmp_path / "x.mcap", table=table))


SPIKE = {"t": i8(1), "i": u4(0), "r": 1}
MESSAGES_WRONG: list[tuple[str, Any]] = [
    ("spikes", {**SPIKE, "t": b"123"}),
    ("spikes", {**SPIKE, "t": i8(-1)}),
    ("spikes", {**SPIKE, "t": i8(2**62 + 1)}),
    ("spikes", {**SPIKE, "r": "x"}),
    ("spikes", {**SPIKE, "r": 2**63}),
    ("spikes", {**SPIKE, "v": f8(1)}),
    ("spikes", {**SPIKE, "i": u4(0, 1)}),
    ("spikes", {**SPIKE, "i": u4(10)}),
    ("spikes", {**SPIKE, "d": b""}),
    ("samples", SPIKE),
    ("samples", {**SPIKE, "v": f8(1, 2)}),
    ("samples", {**SPIKE, "v": f8()}),
    ("stimuli", {"t": "x", "neuron": "n.0", "weight": 1.0, "origin": "x", "r": 1}),
    ("stimuli", {"t": 1, "neuron": "nobody", "weight": 1.0, "origin": "x", "r": 1}),
    ("stimuli", {"t": 1, "neuron": 5, "weight": 1.0, "origin": "x", "r": 1}),
    ("stimuli", {"t": 1, "neuron": "n.0", "weight": float("nan"), "origin": "x", "r": 1}),
    ("stimuli", {"t": 1, "neuron": "n.0", "weight": "1", "origin": "x", "r": 1}),
    ("events", {"t": None, "origin": "x", "verb": "ready", "data": {}, "r": 1}),
    ("events", {"t": 1, "origin": "x", "verb": "ready", "data": [], "r": 1}),
    ("weights", {"t": 2**63, "pre": u4(0), "post": u4(1), "w": f8(1), "r": 1}),
    ("weights", {"t": 1, "pre": u4(0), "post": u4(10), "w": f8(1), "r": 1}),
    ("weights", {"t": 1, "pre": u4(0), "post": u4(1, 2), "w": f8(1), "r": 1}),
]


@pytest.mark.parametrize("number", range(len(MESSAGES_WRONG)))
def test_a_message_that_cannot_be_is_left_out_and_told(tmp_path: Path, number: int) -> None:
    topic, fields = MESSAGES_WRONG[number]
    path = craft(tmp_path / "x.mcap", messages=[*MESSAGES, (topic, fields)])
    log = read(path)
    assert not log.complete and log.spikes_t.size == 78 and len(log.stimuli) == 1
    assert log.weights.t.size == 6 and log.samples.t.size == 2
    back = recover(path, tmp_path / "back.mcap")
    assert back.recovered and not back.complete
    again = read(tmp_path / "back.mcap")
    assert len(again.problems) == 1 and again.problems[0].startswith("recovered from")
    assert diff(log, again).equal and same_weights(log, again) == (6, 0)


def test_figures_in_events_are_taken_for_what_they_are(tmp_path: Path) -> None:
    from neurobus.log.rerun import late, rerun

    odd = [
        ("events", {"t": 1, "origin": "x", "verb": verb, "data": data, "r": 1})
        for verb, data in (("ready", {"epoch": "x"}), ("final", {"late": "x"}), ("final", {"late": [1]}))
    ]
    log = read(craft(tmp_path / "x.mcap", messages=[*MESSAGES, *odd]))
    assert log.complete and late(log) == 0 and rerun(log, []).seed == 1


def test_a_log_of_few_neurons_with_the_config_of_many_is_not_built(tmp_path: Path) -> None:
    from neurobus.log.rerun import rerun

    with pytest.raises(InputError, match="other neurons than those recorded"):
        rerun(read(craft(tmp_path / "x.mcap", facts={"overrides": '["groups.n.count=20000"]'})), [])
    with pytest.raises(InputError, match="longest run"):
        rerun(read(craft(tmp_path / "x.mcap", end={"end_ns": str(2**61)})), [])


def test_what_a_terminal_would_obey_is_written_out(tmp_path: Path) -> None:
    log = read(
        craft(tmp_path / "x.mcap", facts={"config": "\x1b]0;pwned\x07\x1b[31m\nx", "version": "\x9b2J"})
    )
    text = render(describe(log))
    assert not set(text) & set("\x1b\x07\x9b") and "\\x1b]0;pwned\\x07" in text
    assert one_line("a\u202eb\ud800 é – \n") == "a\\u202eb\\ud800 é – \\n"


def test_a_chunk_in_a_chunk_is_no_record(tmp_path: Path) -> None:
    inner = record(9, bytes(300))
    for _ in range(2000):
        inner = chunk(inner)
    log = read(inserted(craft(tmp_path / "x.mcap"), inner))
    assert not log.complete and log.spikes_t.size == 78


@pytest.mark.parametrize("n_mb", [100, 1500])
def test_what_unpacks_to_far_more_than_its_size_is_not_unpacked(tmp_path: Path, n_mb: int) -> None:
    path = bomb(tmp_path / "x.mcap", n_mb << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="unpacks to far more"):
        read(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_records_that_look_like_ever_new_ones_end_it(tmp_path: Path) -> None:
    """Each of many begins of messages claims the rest of the file, whose end looks like the end of a
    message."""
    fake = [b"\x05" + (200_000 - 31 * k).to_bytes(8, "little") + b"\x01\x00" + bytes(20) for k in range(6000)]
    body = b"".join(fake) + b"\xa3crc\xce\x00\x00\x00\x01" * 3000
    log = inserted(craft(tmp_path / "x.mcap"), body)
    with pytest.raises(InputError, match="far more"):
        read(log)


def test_many_weights_told_one_at_a_time_cost_no_table(tmp_path: Path) -> None:
    told = [
        ("weights", {"t": k * 1000, "pre": u4(k % 10), "post": u4(k // 10 % 10), "w": f8(k), "r": 1})
        for k in range(1, 3000)
    ]
    log = read(craft(tmp_path / "x.mcap", messages=told))
    assert describe(log)["weights"] == {"synapses": 100, "times": 2999, "min": 1.0, "max": 2999.0}
    assert same_weights(log, log) == (2999, 0)


def test_a_sample_that_is_no_number_is_played_as_a_sample(tmp_path: Path) -> None:
    odd = ("samples", {"t": i8(5, 6), "i": u4(0, 0), "v": f8(float("nan"), float("-inf")), "r": 1})
    log = read(craft(tmp_path / "x.mcap", messages=[odd, MESSAGES[0]]))
    played = Schedule(log).take(10**9)
    assert [type(event).__name__ for event in played] == ["Spikes", "Spikes", "Samples"]


@pytest.mark.parametrize("chunked", [True, False])
def test_cut_at_every_byte_it_recovers_or_says_that_it_holds_nothing(tmp_path: Path, chunked: bool) -> None:
    data = craft(tmp_path / "x.mcap", messages=MESSAGES[36:], chunked=chunked).read_bytes()
    whole = read(tmp_path / "x.mcap")
    cut, back, recovered = tmp_path / "cut.mcap", tmp_path / "back.mcap", 0
    draw = random.Random(1)
    for size in draw.sample(range(len(data)), 150):
        cut.write_bytes(data[:size])
        try:
            recover(cut, back, overwrite=True)
        except InputError as error:
            assert str(cut) in str(error)
            continue
        again = read(back)
        recovered += 1
        assert again.recovered and not again.complete and len(again.problems) == 1
        assert again.spikes_t.size + again.samples.t.size + len(again.stimuli) > 0
        assert set(again.spikes_t.tolist()) <= set(whole.spikes_t.tolist())
    assert recovered > 10


def test_mutants_are_read_or_refused(tmp_path: Path) -> None:
    """The short form of `python -m tests.campaigns.logs`."""
    draw, sound = random.Random(7), read(craft(tmp_path / "sound.mcap"))
    for n in range(40):
        path = tmp_path / f"{n}.mcap"
        kind = mutated_log(path, draw)
        try:
            log = read(path)
            render(describe(log))
            diff(sound, log)
            recover(path, tmp_path / f"{n}.back.mcap")
        except InputError as error:
            assert len(str(error)) < 1000
            continue
        if kind in ("bits", "cut", "garbage", "swap") and log.complete:
            assert np.array_equal(log.spikes_t, sound.spikes_t) and log.end_ns == sound.end_ns, n
