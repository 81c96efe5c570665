"""Writing logs. While recording, every message goes to the file at once; a clean close compresses it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt
from mcap.writer import CompressionType, Writer

from neurobus.events import Stimulus
from neurobus.log.format import (
    CHANNELS,
    EVENTS,
    PROFILE,
    SAMPLES,
    SPIKES,
    STIMULI,
    WEIGHTS,
    End,
    Header,
    LogError,
    LogEvent,
    LogFull,
    pack,
)  # fmt: skip
from neurobus.log.guests import declaration, with_declared
from neurobus.log.place import opened_to_write
from neurobus.log.records import MESSAGE, LogFile, may_unpack_to
from neurobus.wire.verbs import Guest

CHUNK_SIZE = 64 * 1024
"""Small enough to find 10 ms of a long log in 3 ms, large enough to compress."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CHANNEL_OF = {topic: channel for channel, topic in CHANNELS.items()}


Attached = tuple[str, str, bytes]
"""An attachment: name, media type, content."""


class LogWriter:
    """Writes a log to `path`, over what was there only where that is a log and `overwrite` is said.

    It holds a lock on the file, so that no second writer spoils it.
    After each call its data is with the operating system: SIGKILL of this process loses none of it.
    The call that finds no room raises `LogFull`, another failure `LogError`; from then on calls write
    nothing and count into `lost`. Raises `InputError` where the file cannot be created, or holds something.
    """

    def __init__(self, path: str | Path, header: Header, overwrite: bool = False):
        self.path, self.header = Path(path), header
        self.failure: LogError | None = None
        self.lost = 0
        self.messages = 0
        self.notes: list[str] = []
        """What a person should know of a close that was not quite as it should be."""
        self._end_ns = self._span_ns = self._whole = 0
        self._file = _Unbuffered(self.path, overwrite)
        try:
            self._mcap = _begin(self._file, header.metadata(), header.attachments(), use_chunking=False)
        except LogError:
            self._file.close()
            raise

    def spikes(self, t_ns: npt.ArrayLike, index: npt.ArrayLike, receipt_ns: int,
               offsets_us: npt.ArrayLike | None = None) -> None:  # fmt: skip
        """One batch, shapes (N,): model times and neuron indices; µs of receipt after `receipt_ns`."""
        self._batch(SPIKES, t_ns, index, receipt_ns, offsets_us, {})

    def samples(self, t_ns: npt.ArrayLike, index: npt.ArrayLike, v_mv: npt.ArrayLike, receipt_ns: int,
                offsets_us: npt.ArrayLike | None = None) -> None:  # fmt: skip
        """One batch of membrane potentials, shapes (N,), as `spikes`."""
        self._batch(SAMPLES, t_ns, index, receipt_ns, offsets_us, {"v": np.asarray(v_mv, "<f8").tobytes()})

    def stimulus(self, stimulus: Stimulus, receipt_ns: int) -> None:
        fields = {"t": stimulus.t_ns, "neuron": stimulus.neuron, "weight": stimulus.weight,
                  "origin": stimulus.origin, "r": receipt_ns}  # fmt: skip
        self._write(STIMULI, stimulus.t_ns, stimulus.t_ns, receipt_ns, fields, 1)

    def event(self, event: LogEvent, t_ns: int, receipt_ns: int) -> None:
        """A restart, gap, summary or the like, at model time `t_ns`."""
        fields = {"t": t_ns, "origin": event.origin, "verb": event.verb, "data": event.data,
                  "r": receipt_ns}  # fmt: skip
        self._write(EVENTS, t_ns, t_ns, receipt_ns, fields, 1)

    def declare(self, name: str, guest: Guest, t_ns: int, receipt_ns: int) -> int | None:
        """The index of who was started by hand and says so now; None for who has one, or can have none."""
        told = declaration(self.header, name, guest)
        if told is None:
            return None
        self.event(told, t_ns, receipt_ns)
        self.header = with_declared(self.header, told)
        return len(self.header.ids) - 1

    def weights(self, t_ns: int, pre: npt.ArrayLike, post: npt.ArrayLike, weight: npt.ArrayLike,
                receipt_ns: int) -> None:  # fmt: skip
        """Weights of one process at one model time, shapes (N,): neuron indices of both ends, and the weight
        in the unit of the second."""
        w = np.asarray(weight, "<f8")
        ends = {"pre": np.asarray(pre, "<u4").tobytes(), "post": np.asarray(post, "<u4").tobytes()}
        fields = {"t": t_ns, **ends, "w": w.tobytes(), "r": receipt_ns}
        self._write(WEIGHTS, t_ns, t_ns, receipt_ns, fields, w.size)

    def close(self, end_ns: int | None = None) -> Path:
        """Ends the log at model time `end_ns` (default: that of the last item) and compresses it.

        Where there is no room for that, the uncompressed file stays and `notes` says so.
        """
        if self._file.closed:
            return self.path
        end = End(self._end_ns if end_ns is None else end_ns, self.messages, self._span_ns, self.lost,
                  str(self.failure or ""))  # fmt: skip
        try:
            self._mcap.add_metadata("neurobus.end", end.metadata())
            self._mcap.finish()  # type: ignore[no-untyped-call]
        except LogError as error:
            self._file.truncate(self._whole)
            if self.failure is None:  # else it has been told
                self.notes.append(str(error))
        try:
            compact(self.path, end, self.header)  # still locked: nobody comes between
        except OSError as error:
            size_mb = self.path.stat().st_size / 1e6
            self.notes.append(f"{self.path} stays uncompressed ({size_mb:.1f} MB): {error.strerror}")
        self._file.close()
        return self.path

    def _batch(self, topic: str, t_ns: npt.ArrayLike, index: npt.ArrayLike, receipt_ns: int,
               offsets_us: npt.ArrayLike | None, more: dict[str, bytes]) -> None:  # fmt: skip
        t = np.asarray(t_ns, "<i8")
        if not t.size:
            return
        fields = {"t": t.tobytes(), "i": np.asarray(index, "<u4").tobytes(), **more, "r": receipt_ns}
        if offsets_us is not None:
            fields["d"] = np.asarray(offsets_us, "<u4").tobytes()
        self._write(topic, int(t.min()), int(t.max()), receipt_ns, fields, t.size)

    def _write(self, topic: str, first_ns: int, last_ns: int, receipt_ns: int, fields: dict[str, Any],
               n: int) -> None:  # fmt: skip
        if self.failure:
            self.lost += n
            return
        # a stimulus that acts at once has a time below 0, which MCAP's unsigned log_time cannot say
        times = {"log_time": max(first_ns, 0), "publish_time": receipt_ns}
        try:
            self._mcap.add_message(_CHANNEL_OF[topic], data=pack(fields), sequence=self.messages, **times)
        except LogError as error:
            self.failure = error
            self.lost += n
            self._file.truncate(self._whole)
            raise
        self.messages += 1
        self._whole = self._file.tell()
        self._end_ns = max(self._end_ns, last_ns)
        self._span_ns = max(self._span_ns, last_ns - first_ns)


def compact(path: Path, end: End, header: Header) -> None:
    """Compresses and indexes a log in its place, its table of ids as it is at the end. Raises OSError where
    that cannot be done."""
    rewrite(path, header.metadata(), header.attachments(), lambda: LogFile(path).messages(), end.metadata)


def rewrite(
    out: Path,
    facts: dict[str, str],
    attachments: list[Attached],
    bodies: Callable[[], Iterator[memoryview]],
    end: Callable[[], dict[str, str]],
) -> None:
    """Writes a log to `out` in one replacement, so that a crash leaves what was there: compressed, or where
    that would unpack to more than a reader takes, as it is. `end` is asked after each pass over `bodies`.

    Raises OSError.
    """
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        for chunked in (True, False):
            unpacked = 0
            with part.open("wb") as stream:
                mcap = _begin(stream, facts, attachments, use_chunking=chunked)
                for sequence, body in enumerate(bodies()):
                    channel, _, log_time, publish_time = MESSAGE.unpack_from(body)
                    unpacked += len(body)
                    mcap.add_message(channel, log_time, bytes(body[MESSAGE.size :]), publish_time, sequence)
                mcap.flush()  # type: ignore[no-untyped-call]
                mcap.add_metadata("neurobus.end", end())
                mcap.finish()  # type: ignore[no-untyped-call]
                stream.flush()
                os.fsync(stream.fileno())
                if unpacked <= may_unpack_to(stream.tell()) // 2:
                    break
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)


def _begin(stream: object, facts: dict[str, str], attachments: list[Attached],
           use_chunking: bool) -> Writer:  # fmt: skip
    mcap = Writer(cast(IO[bytes], stream), CHUNK_SIZE, CompressionType.ZSTD, use_chunking=use_chunking)
    mcap.start(PROFILE, f"neurobus {facts['version']}")
    for topic in CHANNELS.values():
        mcap.register_channel(topic, "msgpack", 0)
    mcap.add_metadata("neurobus", facts)
    started = int(facts["started_unix_ns"])
    for name, media_type, content in attachments:
        mcap.add_attachment(started, 0, name, media_type, content)
    return mcap


class _Unbuffered:
    """A file without a buffer, whole writes, and errors in words. (mcap wraps a FileIO in a buffer.)"""

    def __init__(self, path: Path, overwrite: bool):
        self.path, self.closed, self._at = path, False, 0
        self._fd = opened_to_write(path, overwrite)

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        while rest:
            try:
                written = os.write(self._fd, rest)
            except OSError as error:
                kind, what = (LogFull, "found no room") if error.errno in _FULL else (LogError, "broke off")
                word = f"{self.path}: the recording {what} ({error.strerror}); what it has stays readable"
                raise kind(word) from error
            self._at += written
            rest = rest[written:]
        return len(data)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        pass

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)
        self._at = os.lseek(self._fd, size, os.SEEK_SET)

    def close(self) -> None:
        self.closed = True
        os.close(self._fd)
