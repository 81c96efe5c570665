"""Logs written, read, cut, damaged, killed and out of room."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader

from neurobus.errors import InputError
from neurobus.events import Stimulus
from neurobus.log import Header, Log, LogError, LogFull, LogWriter, read, recover
from neurobus.log.format import Damaged, LogEvent, pack, sound

IDS = ["a", "b", "c"]
HEADER = Header(
    config_name="pair.toml", config_text="[run]\nseed = 7\n", seed=7, dt_ns=100_000, clock="virtual", ids=IDS,
    started_unix_ns=1_700_000_000_000_000_000, duration_ns=10**9, n_neurons=2,
    files={"data/w.csv": b"pre,post\na,b\n"},
    overrides=["run.seed=7"], groups={"all": [0, 1, 2]},
)  # fmt: skip


def write(path: Path, n: int = 10, close: bool = True) -> LogWriter:
    """n batches of two spikes; batch k at k ms by a, and at k + 0.5 ms by b."""
    log = LogWriter(path, HEADER, overwrite=True)
    for k in range(n):
        log.spikes([k * 10**6, k * 10**6 + 500_000], [0, 1], 5000 + k)
    if close:
        log.close()
    return log


def spikes(log: Log) -> list[tuple[int, int]]:
    return list(zip(log.spikes_t.tolist(), log.spikes_i.tolist(), strict=True))


def test_a_log_gives_back_what_was_written(tmp_path: Path) -> None:
    log = LogWriter(tmp_path / "x.mcap", HEADER)
    log.spikes(np.array([300, 100]), np.array([0, 2], np.uint32), 7_000, [0, 3])
    log.spikes([100], [1], 9_000)
    log.samples([50], [1], [-64.25], 7_500)
    log.stimulus(Stimulus("a", -1, 2.5, "poke"), 8_000)
    log.event(LogEvent("conductor", "restart", {"id": "b", "n": 1}), 250, 8_500)
    got = read(log.close(end_ns=400))
    assert got.header == HEADER
    assert spikes(got) == [(100, 1), (100, 2), (300, 0)]
    assert got.receipt.tolist() == [9_000, 10_000, 7_000]
    assert (got.samples.t, got.samples.i, got.samples.v_mv, got.samples.receipt) == (
        [50],
        [1],
        [-64.25],
        [7_500],
    )
    assert [(e.t_ns, e.receipt_ns, e.item) for e in got.stimuli] == [
        (-1, 8_000, Stimulus("a", -1, 2.5, "poke"))
    ]
    assert got.events[0].item == LogEvent("conductor", "restart", {"id": "b", "n": 1})
    assert (got.events[0].t_ns, got.end_ns) == (250, 400)
    assert got.complete and not got.problems and not log.notes


def test_a_log_of_nothing_is_complete(tmp_path: Path) -> None:
    got = read(write(tmp_path / "x.mcap", 0).path)
    assert got.complete and spikes(got) == [] and got.end_ns == 0 and got.samples.v_mv.dtype == np.float64


def test_other_mcap_programs_can_read_it(tmp_path: Path) -> None:
    with write(tmp_path / "x.mcap", 5).path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        messages = list(reader.iter_messages())
        assert [a.name for a in reader.iter_attachments()] == ["ids.json", "config.toml", "data/w.csv"]
        assert dict(next(m for m in reader.iter_metadata() if m.name == "neurobus").metadata)["seed"] == "7"
    assert [message.log_time for _, _, message in messages] == [k * 10**6 for k in range(5)]
    assert {channel.message_encoding for _, channel, _ in messages} == {"msgpack"}


def test_a_log_being_recorded_can_be_read(tmp_path: Path) -> None:
    log = write(tmp_path / "x.mcap", close=False)
    got = read(log.path)
    assert len(spikes(got)) == 20 and not got.complete and "not closed" in got.problems[0]
    log.close()


def test_closing_twice_and_a_new_log_in_the_same_place(tmp_path: Path) -> None:
    log = write(tmp_path / "x.mcap", 9)
    assert log.close() == log.path
    assert len(spikes(read(write(log.path, 2).path))) == 4
    assert os.listdir(tmp_path) == ["x.mcap"]


@pytest.mark.parametrize("close", [True, False])
def test_a_window_is_half_open(tmp_path: Path, close: bool) -> None:
    log = write(tmp_path / "x.mcap", close=close)
    assert spikes(read(log.path, 3 * 10**6, 4 * 10**6)) == [(3_000_000, 0), (3_500_000, 1)]
    assert len(spikes(read(log.path, start_ns=9_500_000))) == 1
    assert len(spikes(read(log.path, end_ns=500_000))) == 1
    log.close()


def test_a_window_finds_the_end_of_a_batch_that_begins_before_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    log = LogWriter(tmp_path / "x.mcap", HEADER)
    t = rng.integers(0, 10**9, 60_000)
    log.spikes([5, 10**9], [0, 0], 0)
    for k in range(0, t.size, 500):
        log.spikes(t[k : k + 500], np.ones(500), 0)
    log.close()
    got = read(log.path, 10**9 - 10**6, 10**9 + 1)
    assert got.complete
    assert got.spikes_t.size == (t >= 10**9 - 10**6).sum() + 1


def test_a_window_of_a_long_log_reads_few_chunks(tmp_path: Path) -> None:
    log = LogWriter(tmp_path / "x.mcap", HEADER)
    for k in range(2000):
        log.spikes(k * 10**6 + np.arange(100) * 10_000, np.zeros(100), 0)
    log.close()
    # damage in a chunk that a window does not need goes unseen: it was not read
    data = bytearray(log.path.read_bytes())
    data[data.index(b"zstd", len(data) // 2) + 30] ^= 0xFF
    log.path.write_bytes(data)
    assert not read(log.path).complete
    early = read(log.path, 10**6, 2 * 10**6)
    assert early.complete and early.spikes_t.size == 100


def weighed(path: Path, n: int = 20, close: bool = True) -> LogWriter:
    """Looks k = 0 … n - 1 at k ms: two synapses of one pair and one more on b, then two on c."""
    log = LogWriter(path, HEADER, overwrite=True)
    for k in range(n):
        log.spikes([k * 10**6], [0], k)
        log.weights(k * 10**6, [2, 0, 0], [1, 1, 1], [k + 0.25, k + 0.5, k + 0.75], 7_000 + k)
        log.weights(k * 10**6, [0, 1], [2, 2], [-k, k * 1e-300], 8_000 + k)
    if close:
        log.close()
    return log


def test_weights_come_back_by_time_and_synapse(tmp_path: Path) -> None:
    got = read(weighed(tmp_path / "x.mcap").path)
    assert got.complete and got.weights.t.size == 100
    times, pre, post, weight = got.weights.table()
    assert (times / 1e6).tolist() == list(range(20))
    assert (pre.tolist(), post.tolist()) == ([0, 0, 2, 0, 1], [1, 1, 1, 2, 2])
    assert weight[3].tolist() == [3.5, 3.75, 3.25, -3, 3e-300]
    assert got.weights.receipt[:5].tolist() == [7000, 7000, 7000, 8000, 8000]
    part = read(got.path, 3 * 10**6, 5 * 10**6)
    assert np.unique(part.weights.t).tolist() == [3 * 10**6, 4 * 10**6] and part.weights.t.size == 10


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_weights_of_a_cut_log_can_be_read_and_saved(tmp_path: Path, share: float) -> None:
    log = weighed(tmp_path / "x.mcap", close=False)
    whole, data = read(log.path), log.path.read_bytes()
    log.close()
    begin = data.index(b"\xa1t")  # the first message
    (tmp_path / "cut.mcap").write_bytes(data[: begin + int(share * (len(data) - begin))])
    got = read(tmp_path / "cut.mcap")
    n = got.weights.t.size
    assert not got.complete and 0.5 * share * 100 < n < 100
    assert np.array_equal(got.weights.weight[:n], whole.weights.weight[:n])
    saved = recover(tmp_path / "cut.mcap", tmp_path / "saved.mcap")
    assert np.array_equal(saved.weights.weight, got.weights.weight) and saved.weights.t.size == n


def test_what_damage_is_skipped_to_find_weights(tmp_path: Path) -> None:
    """With the lengths of records gone, messages of weights are found like all others."""
    log = weighed(tmp_path / "x.mcap", close=False)
    data = bytearray(log.path.read_bytes())
    at = data.index(b"\xa1t", len(data) // 2)
    data[at - 40 : at] = bytes(40)
    log.close()
    log.path.write_bytes(data)
    got = read(log.path)
    assert not got.complete and got.weights.t.size >= 95 and got.weights.t[-1] == 19 * 10**6


def test_a_weight_of_nobody_is_a_problem(tmp_path: Path) -> None:
    log = LogWriter(tmp_path / "x.mcap", HEADER)
    log.weights(0, [0, 3], [1, 1], [1.0, 2.0], 0)
    got = read(log.close())
    assert got.weights.weight.tolist() == [1.0] and "beyond the id table" in got.problems[0]


def is_prefix(got: Log, whole: list[tuple[int, int]]) -> bool:
    return spikes(got) == whole[: len(spikes(got))]


@pytest.mark.parametrize("close", [True, False])
def test_cut_at_every_byte_gives_a_prefix_or_an_input_error(tmp_path: Path, close: bool) -> None:
    log = write(tmp_path / "x.mcap", 6, close=close)
    data, whole, seen = log.path.read_bytes(), spikes(read(log.path)), set()
    log.close()
    cut = tmp_path / "cut.mcap"
    for size in range(len(data)):
        cut.write_bytes(data[:size])
        try:
            got = read(cut)
        except InputError as error:
            assert str(cut) in str(error)
            continue
        assert is_prefix(got, whole) and not got.complete and got.problems
        seen.add(len(spikes(got)))
    assert seen == ({0, 12} if close else set(range(0, 12, 2)))


@pytest.mark.parametrize("close", [True, False])
def test_a_damaged_byte_is_noticed_and_costs_little(tmp_path: Path, close: bool) -> None:
    log = write(tmp_path / "x.mcap", 12, close=close)
    data, whole = log.path.read_bytes(), spikes(read(log.path))
    log.close()
    rng = np.random.default_rng(2)
    for _ in range(300):
        at, bit = int(rng.integers(len(data))), 1 << int(rng.integers(8))
        damaged = bytearray(data)
        damaged[at] ^= bit
        path = tmp_path / "damaged.mcap"
        path.write_bytes(damaged)
        try:
            got = read(path)
        except InputError:
            continue
        assert set(spikes(got)) <= set(whole)
        if not close:
            assert len(spikes(got)) >= len(whole) - 2
        if spikes(got) != whole:
            assert not got.complete and got.problems


def test_damage_in_the_middle_loses_only_itself_and_says_how_much(tmp_path: Path) -> None:
    log = write(tmp_path / "x.mcap", 8, close=False)
    data = log.path.read_bytes()
    log.close()
    at = len(data) - 3 * (len(data) - data.rindex(b"\x05", 0, len(data) - 100)) // 2
    path = tmp_path / "y.mcap"
    path.write_bytes(data[:at] + b"\xff" * 8 + data[at + 8 :])
    got = read(path)
    assert len(spikes(got)) == 14
    assert any(problem.endswith(": 1") and "missing" in problem for problem in got.problems)


def test_random_bytes_are_no_log(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    magic = write(tmp_path / "x.mcap").path.read_bytes()[:8]
    for head in (b"", magic):
        for size in (0, 1, 7, 8, 60, 5000):
            path = tmp_path / "noise"
            path.write_bytes(head + rng.bytes(size))
            with pytest.raises(InputError):
                read(path)
    with pytest.raises(InputError, match="empty"):
        path.write_bytes(b"")
        read(path)
    with pytest.raises(InputError, match="No such file"):
        read(tmp_path / "missing")
    with pytest.raises(InputError, match="directory"):
        read(tmp_path)


def test_recover_keeps_what_can_be_read_and_what_is_wrong(tmp_path: Path) -> None:
    log = write(tmp_path / "x.mcap", close=False)
    data = log.path.read_bytes()
    log.close()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(data[:-30])
    got = recover(cut, tmp_path / "whole.mcap")
    assert len(spikes(got)) == 18 and not got.complete and got.header == HEADER
    again = read(tmp_path / "whole.mcap")
    assert spikes(again) == spikes(got) and again.recovered and not again.complete
    lacks = "; ".join(got.problems)
    assert again.problems == [f"recovered from a log that was not whole: {lacks}"] and "not closed" in lacks
    with pytest.raises(InputError, match="there already"):
        recover(cut, tmp_path / "whole.mcap")
    assert spikes(recover(cut, tmp_path / "whole.mcap", overwrite=True)) == spikes(got)
    with pytest.raises(InputError, match="over itself"):
        recover(cut, cut)
    with pytest.raises(InputError, match="header"):
        cut.write_bytes(data[:100])
        recover(cut, tmp_path / "z.mcap")
    assert sorted(os.listdir(tmp_path)) == ["cut.mcap", "whole.mcap", "x.mcap"]


CHILD = """
import sys, resource, numpy as np
from neurobus.log import Entry, Header, LogError, LogFull, LogWriter
limit = int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
log = LogWriter(sys.argv[1], Header("x.toml", "", 1, 100000, "wall", ["a"], 0))
for k in range(2000):
    try:
        log.spikes(k * 1000 + np.arange(10), np.zeros(10), 0)
    except LogFull as error:
        print(k, error, flush=True)
    if not limit:
        print(k, flush=True)
log.close()
print(log.lost, log.notes)
"""


def run_child(path: Path, limit: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(path), str(limit)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def test_sigkill_loses_nothing_that_was_written(tmp_path: Path) -> None:
    with run_child(tmp_path / "x.mcap", 0) as child:
        assert child.stdout
        for _ in range(50):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        written = 50 + sum(line.endswith("\n") for line in child.stdout if line[0].isdigit())
    got = read(tmp_path / "x.mcap")
    assert got.spikes_t.size >= 10 * written
    assert is_prefix(got, [(k * 1000 + n, 0) for k in range(2000) for n in range(10)])


def test_a_full_disk_gives_one_word_and_a_readable_log(tmp_path: Path) -> None:
    with run_child(tmp_path / "x.mcap", 20_000) as child:
        assert child.stdout
        words = child.stdout.read().splitlines()
    assert child.returncode == 0 and len(words) == 2
    batch, _, word = words[0].partition(" ")
    assert word.startswith(f"{tmp_path / 'x.mcap'}: the recording found no room (File too large)")
    got = read(tmp_path / "x.mcap")
    assert got.spikes_t.size == 10 * int(batch) > 500
    assert words[1].startswith(str(20_000 - got.spikes_t.size))
    assert not got.complete and any("not written" in problem for problem in got.problems)


def test_no_room_to_compress_keeps_the_file_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = write(tmp_path / "x.mcap", close=False)

    def no_room(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_room)
    log.close()
    assert "stays uncompressed" in log.notes[0] and "No space left" in log.notes[0]
    assert read(log.path).complete and os.listdir(tmp_path) == ["x.mcap"]


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, LogFull), (errno.EIO, LogError)])
def test_a_failure_in_the_middle_of_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[LogError]
) -> None:
    log = write(tmp_path / "x.mcap", 4, close=False)
    real = os.write
    budget = [20]

    def failing(fd: int, data: memoryview) -> int:
        if not budget[0]:
            raise OSError(number, os.strerror(number))
        part, budget[0] = data[: budget[0]], 0
        return real(fd, part)

    monkeypatch.setattr(os, "write", failing)
    with pytest.raises(kind) as raised:
        log.spikes([10**9, 10**9], [2, 2], 0)
    assert type(raised.value) is kind
    log.spikes([10**9], [2], 0)
    assert log.lost == 3
    monkeypatch.undo()
    log.close()
    got = read(log.path)
    assert len(spikes(got)) == 8 and got.problems == [f"3 items were not written: {raised.value}"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="directory"):
        LogWriter(tmp_path, HEADER)
    if Path("/dev/full").exists():
        with pytest.raises(LogFull):
            LogWriter("/dev/full", HEADER)


@given(
    fields=st.dictionaries(
        st.text(max_size=4).filter(lambda name: name != "crc"),
        st.one_of(
            st.binary(max_size=40), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text()
        ),
        max_size=6,
    ),
    flip=st.integers(0, 10**6),
)
@settings(max_examples=60, deadline=None)
def test_a_message_is_sound_as_it_was_packed_and_with_no_bit_changed(
    fields: dict[str, object], flip: int
) -> None:
    data = pack(fields)
    assert sound(data) and {**msgpack.unpackb(data), "crc": None} == {**fields, "crc": None}
    damaged = bytearray(data)
    damaged[flip // 8 % len(data)] ^= 1 << flip % 8
    assert not sound(damaged)


def test_a_header_with_changed_facts_is_refused() -> None:
    attached = {name: data for name, _, data in HEADER.attachments()}
    assert Header.parse(HEADER.metadata(), attached, []) == HEADER
    with pytest.raises(Damaged, match="checksum"):
        Header.parse({**HEADER.metadata(), "seed": "8"}, attached, [])
    assert json.loads(attached["ids.json"])["ids"] == IDS


@pytest.mark.parametrize("close", [True, False])
def test_a_damaged_attachment_is_lost_alone(tmp_path: Path, close: bool) -> None:
    log = write(tmp_path / "x.mcap", close=close)
    path = tmp_path / "y.mcap"
    path.write_bytes(log.path.read_bytes().replace(b"pre,post", b"pre,pest"))
    log.close()
    got = read(path)
    assert got.header.files == {} and got.header.config_text == HEADER.config_text
    assert len(spikes(got)) == 20 and "data/w.csv is lost" in got.problems
