"""Reading logs, whole, by window of model time, and cut or damaged ones as far as they can be read."""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Attachment, Channel, Chunk, ChunkIndex, Footer, Metadata
from mcap.writer import MCAP0_MAGIC as MAGIC

from neurobus.errors import InputError
from neurobus.events import Report, Stimulus
from neurobus.log.format import (
    CHANNELS, EVENTS, SAMPLES, SPIKES, STIMULI, Damaged, End, Entry, Floats, Header, Indices, Int64s, Log,
    Potentials, receipts, sound, unpack,
)  # fmt: skip

_RECORD = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<HIQQ")
_FOOTER_SIZE = _RECORD.size + 20 + len(MAGIC)
_CANDIDATE = re.compile(rb"[\x05\x06].{4}\x00{4}", re.DOTALL)
"""Where a message or a chunk may begin: opcode, and a length below 4 GiB."""
_MALFORMED = (Damaged, McapError, struct.error, ValueError, KeyError, TypeError, IndexError, OverflowError,
              zstandard.ZstdError)  # fmt: skip
"""What parsing bytes of unknown origin may raise."""

Record = tuple[int, memoryview]
"""Opcode and body of one MCAP record."""


def read(path: str | Path, start_ns: int | None = None, end_ns: int | None = None) -> Log:
    """The log at `path`, or its part with start_ns <= t < end_ns of model time.

    A cut or damaged log gives what can be read, with `complete` False and `problems` in words.
    Raises `InputError` where there is no log, or none with a whole header.
    """
    path = Path(path)
    with opened(path) as data:
        contents = Contents(path, data)
        return contents.log(start_ns, end_ns)


@contextmanager
def opened(path: Path) -> Iterator[memoryview]:
    """The bytes of an MCAP file, mapped. Raises `InputError`."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            with memoryview(mapped) as data:
                if data[: len(MAGIC)] != MAGIC:
                    raise InputError("this is no neurobus log: it does not begin as an MCAP file", path)
                yield data
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path) from error
    except ValueError as error:
        if "empty file" not in str(error):
            raise
        raise InputError("the file is empty; a log begins with a header", path) from error


class Contents:
    """The records of one file. `problems` grows while they are read."""

    def __init__(self, path: Path, data: memoryview):
        self.path, self.data = path, data
        self.problems: list[str] = []
        self.topics = dict(CHANNELS)
        self.facts: dict[str, dict[str, str]] = {}
        self.attached: dict[str, bytes] = {}
        self.attachments: list[Attachment] = []
        self._sequence = -1
        self._chunks = _chunk_indexes(data)

    def log(self, start_ns: int | None, end_ns: int | None) -> Log:
        batches: dict[str, list[dict[str, object]]] = {topic: [] for topic in CHANNELS.values()}
        if self._chunks is not None and (start_ns is not None or end_ns is not None):
            messages = self._messages_between(start_ns, end_ns)
        else:
            messages = self.messages()
        for channel, _, body in messages:
            try:
                batches[self.topics[channel]].append(unpack(body[_MESSAGE.size :]))
            except _MALFORMED as error:
                self.problems.append(f"a message could not be read: {error}")
        header, end = self.header(), self.end()
        columns = _Columns(len(header.ids), start_ns, end_ns, self.problems)
        spikes = columns.gather(batches[SPIKES], with_v=False)
        samples = columns.gather(batches[SAMPLES], with_v=True)
        stimuli = columns.entries(batches[STIMULI], lambda f: Stimulus(f["neuron"], f["t"], f["weight"], f["origin"]))
        events = columns.entries(batches[EVENTS], lambda f: Report(f["origin"], f["verb"], f["data"]))
        ends = [int(part[-1]) for part in (spikes.t, samples.t) if part.size]
        ends += [entry.t_ns for part in (stimuli, events) for entry in part]
        return Log(
            self.path, header, spikes.t, spikes.i, spikes.receipt, samples, stimuli, events,
            end_ns=end.end_ns if end else max(ends, default=0), complete=not self.problems, problems=self.problems,
        )  # fmt: skip

    def header(self) -> Header:
        try:
            return Header.parse(self.facts["neurobus"], self.attached)
        except KeyError:
            reason = "its header is missing"
        except _MALFORMED as error:
            reason = str(error)
        raise InputError(f"the header of this log cannot be read, so nothing else can: {reason}", self.path)

    def end(self) -> End | None:
        """The record of a clean close; its absence, or what it says was lost, becomes a problem."""
        try:
            end = End.parse(self.facts["neurobus.end"])
        except _MALFORMED:
            self.problems.append("the recording was not closed: what came after its last message is not here")
            return None
        if end.lost:
            self.problems.append(f"{end.lost} items were not written: {end.why}")
        return end

    def messages(self) -> Iterator[tuple[int, int, memoryview]]:
        """(channel, offset, body) of each sound message, in the order of the file."""
        for offset, opcode, body in self._records(self.data, len(MAGIC), whole_file=True):
            if opcode == Opcode.CHUNK:
                chunk = _unchunk(body)
                for at, inner, part in self._records(chunk, 0, whole_file=False):
                    yield from self._take(offset + at, inner, part)
            else:
                yield from self._take(offset, opcode, body)

    def _messages_between(self, start_ns: int | None, end_ns: int | None) -> Iterator[tuple[int, int, memoryview]]:
        """As `messages`, from the chunks that can hold the window; log_time is that of a batch's first item."""
        assert self._chunks is not None
        first_chunk = min((index.chunk_start_offset for index in self._chunks), default=len(self.data))
        for offset, opcode, body in self._records(self.data[:first_chunk], len(MAGIC), whole_file=False):
            yield from self._take(offset, opcode, body)
        tail = max((i.chunk_start_offset + i.chunk_length + i.message_index_length for i in self._chunks), default=0)
        for offset, opcode, body in self._records(self.data, max(tail, first_chunk), whole_file=True):
            yield from self._take(offset, opcode, body)
        span_ns = int(self.facts["neurobus.end"]["span_ns"]) if "neurobus.end" in self.facts else 1 << 63
        for index in self._chunks:
            if start_ns is not None and index.message_end_time + span_ns < start_ns:
                continue
            if end_ns is not None and index.message_start_time >= end_ns:
                continue
            at = index.chunk_start_offset
            for offset, opcode, body in self._records(self.data[: at + index.chunk_length], at, whole_file=False):
                if opcode == Opcode.CHUNK:
                    self._sequence = -1
                    for inner_at, inner, part in self._records(_unchunk(body), 0, whole_file=False):
                        yield from self._take(offset + inner_at, inner, part)

    def _take(self, offset: int, opcode: int, body: memoryview) -> Iterator[tuple[int, int, memoryview]]:
        if opcode == Opcode.MESSAGE:
            channel, sequence, _, _ = _MESSAGE.unpack_from(body)
            if self._sequence >= 0 and sequence != self._sequence + 1:
                self.problems.append(
                    f"{sequence - self._sequence - 1} messages are missing before byte {offset}"
                    if sequence > self._sequence
                    else f"messages stand out of order at byte {offset}"
                )
            self._sequence = sequence
            yield channel, offset, body
        elif opcode == Opcode.CHANNEL:
            channel_record = Channel.read(_stream(body))
            self.topics[channel_record.id] = channel_record.topic
        elif opcode == Opcode.METADATA:
            metadata = Metadata.read(_stream(body))
            self.facts[metadata.name] = metadata.metadata
        elif opcode == Opcode.ATTACHMENT:
            attachment = Attachment.read(_stream(body))
            self.attachments.append(attachment)
            self.attached[attachment.name] = attachment.data

    def _records(self, data: memoryview, at: int, whole_file: bool) -> Iterator[tuple[int, int, memoryview]]:
        """(offset, opcode, body) of each sound record from `at`; over damage it goes on at the next sound one."""
        while at < len(data):
            if whole_file and len(data) - at == len(MAGIC) and data[at:] == MAGIC:
                return
            body = _body(data, at)
            if body is not None:
                yield at, data[at], body
                at += _RECORD.size + len(body)
                continue
            resume = _next_sound(data, at + 1)
            if resume is None:
                self.problems.append(f"the file breaks off, or is damaged, from byte {at} to its end at {len(data)}")
                return
            self.problems.append(f"{resume - at} bytes at byte {at} are damaged and were skipped")
            at = resume
        if whole_file:
            self.problems.append("the file breaks off: it has no closing mark")


def _stream(body: memoryview) -> ReadDataStream:
    return ReadDataStream(BytesIO(body))


def _body(data: memoryview, at: int) -> memoryview | None:
    """The body of the record at `at`, or None where no sound one begins there."""
    if at + _RECORD.size > len(data):
        return None
    opcode, length = _RECORD.unpack_from(data, at)
    body = data[at + _RECORD.size : at + _RECORD.size + length]
    if len(body) != length:
        return None
    try:
        if opcode == Opcode.MESSAGE:
            return body if length >= _MESSAGE.size and sound(body[_MESSAGE.size :]) else None
        if opcode == Opcode.CHUNK:
            _unchunk(body)
        elif opcode == Opcode.ATTACHMENT:
            if zlib.crc32(body[:-4]) != int.from_bytes(body[-4:], "little"):
                return None
        elif opcode == Opcode.METADATA:
            Metadata.read(_stream(body))
        elif opcode == Opcode.CHANNEL:
            Channel.read(_stream(body))
        else:
            Opcode(opcode)
    except _MALFORMED:
        return None
    return body


def _unchunk(body: memoryview) -> memoryview:
    """The records inside a chunk. Raises one of `_MALFORMED`."""
    chunk = Chunk.read(_stream(body))
    if chunk.compression == "zstd":
        records = zstandard.ZstdDecompressor().decompress(chunk.data, chunk.uncompressed_size)
    elif chunk.compression == "":
        records = chunk.data
    else:
        raise Damaged(f"a chunk is compressed with {chunk.compression}; this neurobus reads zstd")
    if chunk.uncompressed_crc not in (0, zlib.crc32(records)):
        raise Damaged("a chunk does not match its checksum")
    return memoryview(records)


def _next_sound(data: memoryview, at: int) -> int | None:
    for found in _CANDIDATE.finditer(data, at):
        if _body(data, found.start()) is not None:
            return found.start()
    return None


def _chunk_indexes(data: memoryview) -> list[ChunkIndex] | None:
    """The chunk indexes of a file that ends in a sound summary, else None."""
    at = len(data) - _FOOTER_SIZE
    if at < len(MAGIC) or data[-len(MAGIC) :] != MAGIC or data[at] != Opcode.FOOTER:
        return None
    footer = Footer.read(_stream(data[at + _RECORD.size :]))
    if not len(MAGIC) < footer.summary_start <= at or zlib.crc32(
        data[footer.summary_start : at + _RECORD.size + 16]
    ) != footer.summary_crc:  # fmt: skip
        return None
    indexes, position = [], footer.summary_start
    while position < at:
        opcode, length = _RECORD.unpack_from(data, position)
        if opcode == Opcode.CHUNK_INDEX:
            indexes.append(ChunkIndex.read(_stream(data[position + _RECORD.size : position + _RECORD.size + length])))
        position += _RECORD.size + length
    return indexes
