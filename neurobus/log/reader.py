"""Reading logs: whole, by window of model time, and cut or damaged ones as far as they can be read."""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Attachment, Channel, Chunk, ChunkIndex, Footer, Metadata
from mcap.writer import MCAP0_MAGIC as MAGIC

from neurobus.errors import InputError
from neurobus.events import Report, Stimulus
from neurobus.log.format import (
    CHANNELS,
    EVENTS,
    SAMPLES,
    SPIKES,
    STIMULI,
    WEIGHTS,
    Damaged,
    End,
    Entry,
    Floats,
    Header,
    Indices,
    Int64s,
    Log,
    Potentials,
    T,
    Weights,
    receipts,
    sound,
    unpack,
)  # fmt: skip

MESSAGE = struct.Struct("<HIQQ")
"""What stands before the payload of a message: channel, sequence number, log_time, publish_time."""
_RECORD = struct.Struct("<BQ")
_FOOTER_SIZE = _RECORD.size + 20 + len(MAGIC)
_CANDIDATE = re.compile(rb"\x05.{4}\x00{4}[\x01-\x05]\x00|\x06.{4}\x00{4}", re.DOTALL)
"""Where a message or a chunk may begin: opcode, a length below 4 GiB, one of our channels."""
_CHUNK_LIMIT = 1 << 30
_MALFORMED = (Damaged, McapError, struct.error, ValueError, KeyError, TypeError, IndexError, OverflowError,
              zstandard.ZstdError)  # fmt: skip
"""What parsing bytes of unknown origin may raise."""

Fields = dict[str, Any]
Columns = tuple[Int64s, Indices, Floats, Int64s]


def read(path: str | Path, start_ns: int | None = None, end_ns: int | None = None) -> Log:
    """The log at `path`, or its part with start_ns <= t < end_ns of model time.

    A cut or damaged log gives what can be read, with `complete` False and `problems` in words.
    Raises `InputError` where there is no log, or none whose header is whole.
    """
    file = LogFile(Path(path))
    found: dict[str, list[Any]] = {topic: [] for topic in CHANNELS.values()}
    for body in file.messages(start_ns, end_ns):
        try:
            topic = file.topics[MESSAGE.unpack_from(body)[0]]
            found[topic].append(_PARSE[topic](unpack(body[MESSAGE.size :])))
        except _MALFORMED as error:
            file.problems.append(f"a message could not be read: {error}")
    header, end = file.header(), file.end()
    window = _Window(start_ns, end_ns, len(header.ids), file.problems)
    spikes, samples = window.columns(found[SPIKES]), window.columns(found[SAMPLES])
    weights = window.weights(found[WEIGHTS])
    stimuli, events = window.entries(found[STIMULI]), window.entries(found[EVENTS])
    times = [int(part.t[-1]) for part in (spikes, samples, weights) if part.t.size]
    times += [entry.t_ns for entry in (*stimuli, *events)]
    return Log(
        path=file.path, header=header, spikes_t=spikes.t, spikes_i=spikes.i, receipt=spikes.receipt,
        samples=samples, weights=weights, stimuli=stimuli, events=events,
        end_ns=end.end_ns if end else max(times, default=0),
        complete=not file.problems, problems=file.problems,
    )  # fmt: skip


class LogFile:
    """The records of one file. What is wrong with it gathers in `problems` while they are read."""

    def __init__(self, path: Path):
        self.path = path
        self.problems: list[str] = []
        self.topics = dict(CHANNELS)
        self.facts: dict[str, dict[str, str]] = {}
        self.attachments: dict[str, Attachment] = {}
        self._data = _mapped(path)
        self._closed = self._data[len(MAGIC) :][-len(MAGIC) :] == MAGIC
        self._stop = len(self._data) - (len(MAGIC) if self._closed else 0)
        self._chunks = _chunk_indexes(self._data) if self._closed else []
        self._whole = False
        self._expected: int | None = None

    def header(self) -> Header:
        """Known once the messages have been read. Raises `InputError`."""
        attached = {name: attachment.data for name, attachment in self.attachments.items()}
        try:
            return Header.parse(self.facts["neurobus"], attached, self.problems)
        except KeyError:
            reason = "it is cut off or missing"
        except _MALFORMED as error:
            reason = str(error)
        raise InputError(f"the header of this log cannot be read, and so nothing else: {reason}", self.path)

    def end(self) -> End | None:
        """The record of a clean close. Its absence, or what it says was lost, is a problem."""
        try:
            end = End.parse(self.facts["neurobus.end"])
        except _MALFORMED:
            self.problems.append("the recording was not closed: what came after its last message is lost")
            return None
        if end.lost:
            self.problems.append(f"{end.lost} items were not written: {end.why}")
        if self._whole:
            self._count(end.messages)
        if not self._closed:
            self.problems.append("the file has no closing mark")
        return end

    def messages(self, start_ns: int | None = None, end_ns: int | None = None) -> Iterator[memoryview]:
        """The body of each sound message, in the order of the file.

        Where there is an index, chunks that can hold nothing with start_ns <= t < end_ns are left out.
        """
        self._whole = not self._chunks or (start_ns is None and end_ns is None)
        if self._whole:
            self._expected = 0
            yield from self._walk(self._data, len(MAGIC), self._stop)
            return
        extents = [(i.chunk_start_offset, i.chunk_start_offset + i.chunk_length) for i in self._chunks]
        yield from self._walk(self._data, len(MAGIC), extents[0][0])
        yield from self._walk(self._data, extents[-1][1], self._stop)
        span_ns = int(self.facts.get("neurobus.end", {}).get("span_ns", 1 << 63))
        for index, (start, stop) in zip(self._chunks, extents, strict=True):
            late = end_ns is not None and index.message_start_time >= end_ns
            if not late and (start_ns is None or index.message_end_time + span_ns >= start_ns):
                self._expected = None
                yield from self._walk(self._data, start, stop)

    def _walk(self, data: memoryview, at: int, stop: int) -> Iterator[memoryview]:
        """Messages between two offsets; over damage it goes on at the next sound record."""
        while at < stop:
            record = _record(data, at, stop)
            if record is None:
                resume = _resume(data, at, stop)
                until = "its end" if resume is None else f"byte {resume}"
                self.problems.append(f"the file is cut or damaged from byte {at} to {until}")
                at = stop if resume is None else resume
                continue
            opcode, body, at = record
            if opcode == Opcode.MESSAGE:
                self._count(MESSAGE.unpack_from(body)[1])
                yield body
            elif opcode == Opcode.CHUNK:
                yield from self._walk(body, 0, len(body))
            elif opcode == Opcode.CHANNEL:
                channel = Channel.read(_stream(body))
                if channel.topic in CHANNELS.values():
                    self.topics[channel.id] = channel.topic
            elif opcode == Opcode.METADATA:
                metadata = Metadata.read(_stream(body))
                self.facts[metadata.name] = metadata.metadata
            elif opcode == Opcode.ATTACHMENT:
                attachment = Attachment.read(_stream(body))
                self.attachments[attachment.name] = attachment

    def _count(self, sequence: int) -> None:
        missing = sequence - self._expected if self._expected is not None else 0
        if missing > 0:
            self.problems.append(f"messages missing before number {sequence}: {missing}")
        elif missing < 0:
            self.problems.append(f"message {sequence} stands where {self._expected} was to come")
        self._expected = sequence + 1


def _columns(f: Fields) -> Columns:
    """(t, i, v, receipt) of a batch; v is empty for spikes."""
    t, i = np.frombuffer(f["t"], "<i8"), np.frombuffer(f["i"], "<u4")
    v = np.frombuffer(f.get("v", b""), "<f8")
    receipt = receipts(f["r"], f.get("d"), t.size)
    if not t.size == i.size == receipt.size or v.size not in (0, t.size):
        raise Damaged("its columns differ in length")
    return t, i, v, receipt


def _weights(f: Fields) -> Weights:
    pre, post = np.frombuffer(f["pre"], "<u4"), np.frombuffer(f["post"], "<u4")
    w = np.frombuffer(f["w"], "<f8")
    if not pre.size == post.size == w.size:
        raise Damaged("its columns differ in length")
    return Weights(np.full(w.size, f["t"], np.int64), pre, post, w, np.full(w.size, f["r"], np.int64))


def _stimulus(f: Fields) -> Entry[Stimulus]:
    return Entry(f["t"], f["r"], Stimulus(f["neuron"], f["t"], f["weight"], f["origin"]))


def _report(f: Fields) -> Entry[Report]:
    return Entry(f["t"], f["r"], Report(f["origin"], f["verb"], f["data"]))


_PARSE: dict[str, Callable[[Fields], Any]] = {
    SPIKES: _columns, SAMPLES: _columns, STIMULI: _stimulus, EVENTS: _report, WEIGHTS: _weights,
}  # fmt: skip


class _Window:
    """Sorts out what has start_ns <= t < end_ns."""

    def __init__(self, start_ns: int | None, end_ns: int | None, n_ids: int, problems: list[str]):
        self.start_ns, self.end_ns, self.n_ids, self.problems = start_ns, end_ns, n_ids, problems

    def columns(self, batches: list[Columns]) -> Potentials:
        """One table sorted by (t, i). Spikes come as potentials without values."""
        nothing = np.empty(0, np.int64), np.empty(0, np.uint32), np.empty(0), np.empty(0, np.int64)
        t, i, v, receipt = (np.concatenate(column) for column in zip(nothing, *batches, strict=True))
        chosen = self._chosen(t, i < self.n_ids)
        order = chosen[np.lexsort((i[chosen], t[chosen]))]
        return Potentials(t[order], i[order], v[order] if v.size else v, receipt[order])

    def weights(self, told: list[Weights]) -> Weights:
        """As one, in the order of `Weights`; each process tells those of a pair in the order declared."""
        none = np.empty(0, np.uint32)
        parts = [Weights(np.empty(0, np.int64), none, none, np.empty(0), np.empty(0, np.int64)), *told]
        names = Weights.__dataclass_fields__
        whole = Weights(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
        chosen = self._chosen(whole.t, np.maximum(whole.pre, whole.post) < self.n_ids)
        part = whole.only(chosen)
        return part.only(np.lexsort((part.pre, part.post, part.t)))

    def _chosen(self, t: Int64s, known: npt.NDArray[np.bool_]) -> Int64s:
        """Which items are in the window, of those that name a `known` neuron."""
        if not known.all():
            self.problems.append(f"{int((~known).sum())} items name a neuron beyond the id table")
        keep = known.copy()
        if self.start_ns is not None:
            keep &= t >= self.start_ns
        if self.end_ns is not None:
            keep &= t < self.end_ns
        return np.flatnonzero(keep)

    def entries(self, entries: list[Entry[T]]) -> list[Entry[T]]:
        low = -(1 << 63) if self.start_ns is None else self.start_ns
        high = 1 << 63 if self.end_ns is None else self.end_ns
        return [entry for entry in entries if low <= entry.t_ns < high]


def _mapped(path: Path) -> memoryview:
    """The bytes of an MCAP file. Raises `InputError`. The mapping ends with the last view of it."""
    try:
        with path.open("rb") as file:
            if file.seek(0, 2) == 0:
                raise InputError("the file is empty; a log begins with a header", path)
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path) from error
    if data[: len(MAGIC)] != MAGIC:
        raise InputError("this is no neurobus log: it does not begin as an MCAP file", path)
    return data


def _stream(body: memoryview) -> ReadDataStream:
    return ReadDataStream(BytesIO(body))


def _record(data: memoryview, at: int, stop: int) -> tuple[int, memoryview, int] | None:
    """(opcode, body, offset of the next record), or None where no sound record begins at `at`.

    The body of a chunk is given decompressed.
    """
    if at + _RECORD.size > stop:
        return None
    opcode, length = _RECORD.unpack_from(data, at)
    end = at + _RECORD.size + length
    body = data[at + _RECORD.size : end]
    if end > stop:
        return None
    try:
        if opcode == Opcode.MESSAGE:
            return (opcode, body, end) if sound(body[MESSAGE.size :]) else None
        if opcode == Opcode.CHUNK:
            return opcode, _unchunk(body), end
        if opcode == Opcode.ATTACHMENT and zlib.crc32(body[:-4]) != int.from_bytes(body[-4:], "little"):
            return None
        if opcode == Opcode.METADATA:
            Metadata.read(_stream(body))
        if opcode == Opcode.CHANNEL:
            Channel.read(_stream(body))
        return Opcode(opcode), body, end
    except _MALFORMED:
        return None


def _unchunk(body: memoryview) -> memoryview:
    """The records inside a chunk. Raises one of `_MALFORMED`."""
    if bytes(body[28:36]) != b"\x04\x00\x00\x00zstd":  # its compression; seen before anything is copied
        raise Damaged("not a chunk that neurobus wrote")
    chunk = Chunk.read(_stream(body))
    size = zstandard.frame_content_size(chunk.data)
    if size != chunk.uncompressed_size or size > _CHUNK_LIMIT:
        raise Damaged("a chunk has another length than it says")
    records = zstandard.ZstdDecompressor().decompress(chunk.data)
    if zlib.crc32(records) != chunk.uncompressed_crc:
        raise Damaged("a chunk does not match its checksum")
    return memoryview(records)


def _resume(data: memoryview, at: int, stop: int) -> int | None:
    """Where the next sound record begins after the damaged one at `at`."""
    if at + _RECORD.size <= stop:
        end = at + _RECORD.size + _RECORD.unpack_from(data, at)[1]
        if end < stop and _record(data, end, stop):
            return int(end)
    for found in _CANDIDATE.finditer(data, at + 1, stop):
        if _record(data, found.start(), stop):
            return found.start()
    return None


def _chunk_indexes(data: memoryview) -> list[ChunkIndex]:
    """The chunk indexes of a closed file, in the order of the chunks; none where the summary is damaged."""
    at = len(data) - _FOOTER_SIZE
    if at < len(MAGIC) or data[at] != Opcode.FOOTER:
        return []
    footer = Footer.read(_stream(data[at + _RECORD.size :]))
    summary = data[footer.summary_start : at + _RECORD.size + 16]
    if not len(MAGIC) < footer.summary_start <= at or zlib.crc32(summary) != footer.summary_crc:
        return []
    indexes, position = [], footer.summary_start
    while position < at:
        opcode, length = _RECORD.unpack_from(data, position)
        position += _RECORD.size + length
        if opcode == Opcode.CHUNK_INDEX:
            indexes.append(ChunkIndex.read(_stream(data[position - length : position])))
    return sorted(indexes, key=lambda index: index.chunk_start_offset)
