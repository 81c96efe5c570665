"""The records of an MCAP file, one after the other, over damage and past what a stranger may have put in.

What reading costs is bounded by the size of the file: a chunk that unpacks to far more, or bytes that look
like ever new records, end it with a problem in words.
"""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Attachment, Channel, Chunk, ChunkIndex, Footer, Metadata
from mcap.writer import MCAP0_MAGIC as MAGIC

from neurobus.errors import InputError
from neurobus.log.format import CHANNELS, SAMPLES, WEIGHTS, Damaged, End, Header, Problems, sound

MESSAGE = struct.Struct("<HIQQ")
"""What stands before the payload of a message: channel, sequence number, log_time, publish_time."""
_RECORD = struct.Struct("<BQ")
_FOOTER_SIZE = _RECORD.size + 20 + len(MAGIC)
_CANDIDATE = re.compile(rb"\x05.{4}\x00{4}[\x01-\x05]\x00|\x06.{4}\x00{4}", re.DOTALL)
"""Where a message or a chunk may begin: opcode, a length below 4 GiB, one of our channels."""
_MALFORMED = (Damaged, McapError, struct.error, ValueError, KeyError, TypeError, IndexError, OverflowError,
              RecursionError, zstandard.ZstdError)  # fmt: skip
"""What parsing bytes of unknown origin may raise."""
UNPACKED_LEAST, UNPACKED_RATIO = 1 << 25, 32
"""What a file may cost to read, in bytes unpacked or looked at in vain: the least, and a multiple of its
size. `LogWriter` leaves uncompressed what would unpack to more."""
EXHAUSTED = "it unpacks to far more than a log of its size: not all of it was read"
Body = memoryview | Channel | Metadata | Attachment


class _Exhausted(Exception):
    """Reading this file has cost more than a file of its size may."""


def may_unpack_to(size: int) -> int:
    """How many bytes a file of `size` bytes may hold unpacked."""
    return max(UNPACKED_LEAST, UNPACKED_RATIO * size)


class LogFile:
    """The records of one file. What is wrong with it gathers in `problems` while they are read."""

    def __init__(self, path: Path):
        self.path = path
        self.problems = Problems()
        self.topics = dict(CHANNELS)
        self.facts: dict[str, dict[str, str]] = {}
        self.attachments: dict[str, Attachment] = {}
        self._data = _mapped(path)
        self._allowance = may_unpack_to(len(self._data))
        self._closed = self._data[len(MAGIC) :][-len(MAGIC) :] == MAGIC
        self._stop = len(self._data) - (len(MAGIC) if self._closed else 0)
        self._chunks = _chunk_indexes(self._data) if self._closed else []
        self._whole = self._spent = False
        self._expected: int | None = None

    def header(self) -> Header:
        """Known once the messages have been read. Raises `InputError`."""
        attached = {name: attachment.data for name, attachment in self.attachments.items()}
        try:
            return Header.parse(self.facts["neurobus"], attached, self.problems)
        except KeyError:
            reason = EXHAUSTED if self._spent else "it is cut off or missing"
        except _MALFORMED as error:
            reason = str(error)
        raise InputError(f"the header of this log cannot be read, and so nothing else: {reason}", self.path)

    def end(self) -> End | None:
        """The record of a clean close. Its absence, or what it says was lost, is a problem."""
        sealed = self.facts.get("neurobus", {}).get("sealed") == "1"
        try:
            end = End.parse(self.facts["neurobus.end"], sealed)
        except KeyError:
            self.problems.append("the recording was not closed: what came after its last message is lost")
            return None
        except _MALFORMED:
            self.problems.append(
                "the record of the close is damaged: what came after the last message is lost"
            )
            return None
        if end.lost:
            self.problems.append(f"{end.lost} items were not written: {end.why}")
        if end.recovered:
            self.problems.append(f"recovered from a log that was not whole: {end.recovered}")
        if self._whole:
            self._count(end.messages)
        if not self._closed:
            self.problems.append("the file has no closing mark")
        return end

    def messages(self, start_ns: int | None = None, end_ns: int | None = None) -> Iterator[memoryview]:
        """The body of each sound message, in the order of the file.

        Where there is an index, chunks that can hold nothing before `end_ns` are left out, and those that
        can hold nothing from `start_ns` on too, unless potentials or weights are in them: what was told last
        before a part holds in it.
        """
        try:
            yield from self._messages(start_ns, end_ns)
        except _Exhausted:
            self._spent = True
            self.problems.append(EXHAUSTED)

    def _messages(self, start_ns: int | None, end_ns: int | None) -> Iterator[memoryview]:
        self._whole = not self._chunks or (start_ns is None and end_ns is None)
        if self._whole:
            self._expected = 0
            yield from self._walk(self._data, len(MAGIC), self._stop)
            return
        extents = [(i.chunk_start_offset, i.chunk_start_offset + i.chunk_length) for i in self._chunks]
        yield from self._walk(self._data, len(MAGIC), extents[0][0])
        yield from self._walk(self._data, extents[-1][1], self._stop)
        span_ns = _number(self.facts.get("neurobus.end", {}).get("span_ns", ""))
        held = {channel for channel, topic in self.topics.items() if topic in (SAMPLES, WEIGHTS)}
        for index, (start, stop) in zip(self._chunks, extents, strict=True):
            late = end_ns is not None and index.message_start_time >= end_ns
            early = start_ns is not None and index.message_end_time + span_ns < start_ns
            if not late and not (early and held.isdisjoint(index.message_index_offsets)):
                self._expected = None
                yield from self._walk(self._data, start, stop)

    def _walk(self, data: memoryview, at: int, stop: int, inside: bool = False) -> Iterator[memoryview]:
        """Messages between two offsets, `inside` a chunk or not; over damage it goes on at the next sound
        record."""
        while at < stop:
            record = self._record(data, at, stop, inside)
            if record is None:
                resume = self._resume(data, at, stop, inside)
                until = "its end" if resume is None else f"byte {resume}"
                where = "a chunk" if inside else "the file"
                self.problems.append(f"{where} is cut or damaged from byte {at} to {until}")
                at = stop if resume is None else resume
                continue
            opcode, body, at = record
            if opcode == Opcode.MESSAGE:
                assert isinstance(body, memoryview)
                self._count(MESSAGE.unpack_from(body)[1])
                yield body
            elif opcode == Opcode.CHUNK:
                assert isinstance(body, memoryview)
                yield from self._walk(body, 0, len(body), inside=True)
            elif isinstance(body, Channel):
                if body.topic in CHANNELS.values():
                    self.topics[body.id] = body.topic
            elif isinstance(body, Metadata):
                self.facts[body.name] = body.metadata
            elif isinstance(body, Attachment):
                self.attachments[body.name] = body

    def _record(self, data: memoryview, at: int, stop: int, inside: bool) -> tuple[int, Body, int] | None:
        """(opcode, body, offset of the next record), or None where no sound record begins at `at`.

        The body of a chunk is given decompressed. A chunk stands in no chunk.
        """
        if at + _RECORD.size > stop:
            return None
        opcode, length = _RECORD.unpack_from(data, at)
        end = at + _RECORD.size + length
        if end > stop:
            return None
        view = data[at + _RECORD.size : end]
        try:
            if opcode == Opcode.CHUNK and inside:
                return None
            return opcode, self._body(opcode, view), end
        except _MALFORMED:
            self._spend(len(view))
            return None

    def _body(self, opcode: int, view: memoryview) -> Body:
        """Raises one of `_MALFORMED`, or `_Exhausted`."""
        if opcode == Opcode.MESSAGE:
            if len(view) < MESSAGE.size or not sound(view[MESSAGE.size :]):
                raise Damaged("a message does not match its checksum")
            return view
        if opcode == Opcode.CHUNK:
            return self._unchunk(view)
        if opcode == Opcode.ATTACHMENT:
            if zlib.crc32(view[:-4]) != int.from_bytes(view[-4:], "little"):
                raise Damaged("an attachment does not match its checksum")
            body: Body = Attachment.read(_stream(view))
        elif opcode == Opcode.METADATA:
            body = Metadata.read(_stream(view))
        elif opcode == Opcode.CHANNEL:
            body = Channel.read(_stream(view))
        else:
            Opcode(opcode)
            body = view
        return body

    def _unchunk(self, body: memoryview) -> memoryview:
        """The records inside a chunk. Raises one of `_MALFORMED`, or `_Exhausted`."""
        if bytes(body[28:36]) != b"\x04\x00\x00\x00zstd":  # its compression; seen before anything is copied
            raise Damaged("not a chunk that neurobus wrote")
        chunk = Chunk.read(_stream(body))
        size = zstandard.frame_content_size(chunk.data)
        if size != chunk.uncompressed_size:
            raise Damaged("a chunk has another length than it says")
        self._spend(size)
        records = zstandard.ZstdDecompressor().decompress(chunk.data)
        if zlib.crc32(records) != chunk.uncompressed_crc:
            raise Damaged("a chunk does not match its checksum")
        return memoryview(records)

    def _spend(self, n_bytes: int) -> None:
        self._allowance -= n_bytes
        if self._allowance < 0:
            raise _Exhausted

    def _resume(self, data: memoryview, at: int, stop: int, inside: bool) -> int | None:
        """Where the next sound record begins after the damaged one at `at`."""
        if at + _RECORD.size <= stop:
            end = at + _RECORD.size + _RECORD.unpack_from(data, at)[1]
            if end < stop and self._record(data, end, stop, inside):
                return int(end)
        for found in _CANDIDATE.finditer(data, at + 1, stop):
            if self._record(data, found.start(), stop, inside):
                return found.start()
        return None

    def _count(self, sequence: int) -> None:
        missing = sequence - self._expected if self._expected is not None else 0
        if missing > 0:
            self.problems.append(f"messages missing before number {sequence}: {missing}")
        elif missing < 0:
            self.problems.append(f"message {sequence} stands where {self._expected} was to come")
        self._expected = sequence + 1


def _number(text: str) -> int:
    """A number of ns as a log's facts have it; beyond any time where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 1 << 63


def _mapped(path: Path) -> memoryview:
    """The bytes of an MCAP file. Raises `InputError`. The mapping ends with the last view of it."""
    try:
        with path.open("rb") as file:
            if file.seek(0, 2) == 0:
                raise InputError("the file is empty; a log begins with a header", path)
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {getattr(error, 'strerror', None) or error}", path) from error
    if data[: len(MAGIC)] != MAGIC:
        raise InputError("this is no neurobus log: it does not begin as an MCAP file", path)
    return data


def _stream(body: memoryview) -> ReadDataStream:
    return ReadDataStream(BytesIO(body))


def _chunk_indexes(data: memoryview) -> list[ChunkIndex]:
    """The chunk indexes of a closed file, in the order of the chunks; none where the summary is damaged, or
    the chunks do not follow one on another, so that it may leave some out."""
    at = len(data) - _FOOTER_SIZE
    if at < len(MAGIC) or data[at] != Opcode.FOOTER:
        return []
    try:
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
    except _MALFORMED:
        return []
    indexes.sort(key=lambda index: index.chunk_start_offset)
    ends = [i.chunk_start_offset + i.chunk_length + i.message_index_length for i in indexes]
    starts = [i.chunk_start_offset for i in indexes[1:]]
    if not indexes or starts != ends[:-1] or not len(MAGIC) <= indexes[0].chunk_start_offset or ends[-1] > at:
        return []
    return indexes
