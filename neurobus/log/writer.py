"""Writing logs. While recording, every message goes to the file at once; a clean close compresses it."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt
from mcap.writer import CompressionType, Writer

from neurobus.errors import InputError
from neurobus.events import Report, Stimulus
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
    Log,
    LogError,
    LogFull,
    pack,
)  # fmt: skip
from neurobus.log.reader import read
from neurobus.log.records import MESSAGE, LogFile

CHUNK_SIZE = 64 * 1024
"""Small enough to find 10 ms of a long log in 3 ms, large enough to compress."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CHANNEL_OF = {topic: channel for channel, topic in CHANNELS.items()}


class LogWriter:
    """Writes a log to `path`, over whatever was there.

    After each call its data is with the operating system: SIGKILL of this process loses none of it.
    The call that finds no room raises `LogFull`, another failure `LogError`; from then on calls write
    nothing and count into `lost`. Raises `InputError` where the file cannot be created.
    """

    def __init__(self, path: str | Path, header: Header):
        self.path = Path(path)
        self.failure: LogError | None = None
        self.lost = 0
        self.messages = 0
        self.notes: list[str] = []
        """What a person should know of a close that was not quite as it should be."""
        self._end_ns = self._span_ns = self._whole = 0
        self._file = _Unbuffered(self.path)
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

    def event(self, report: Report, t_ns: int, receipt_ns: int) -> None:
        """A restart, gap, summary or the like, at model time `t_ns`."""
        fields = {"t": t_ns, "origin": report.origin, "verb": report.verb, "data": report.data,
                  "r": receipt_ns}  # fmt: skip
        self._write(EVENTS, t_ns, t_ns, receipt_ns, fields, 1)

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
            self.notes.append(str(error))
        self._file.close()
        try:
            compact(LogFile(self.path), self.path, end)
        except OSError as error:
            size_mb = self.path.stat().st_size / 1e6
            self.notes.append(f"{self.path} stays uncompressed ({size_mb:.1f} MB): {error.strerror}")
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


def compact(source: LogFile, out: Path, end: End | None) -> None:
    """Writes `source` to `out` compressed and indexed, in one replacement: a crash leaves what was there.

    Raises OSError where that cannot be done, `InputError` where `source` has no header.
    """
    part = out.with_name(f".{out.name}.part")
    messages = source.messages()
    body = next(messages, None)
    source.header()
    attachments = [(a.name, a.media_type, a.data) for a in source.attachments.values()]
    try:
        with part.open("wb") as stream:
            mcap = _begin(stream, source.facts["neurobus"], attachments, use_chunking=True)
            while body is not None:
                channel, sequence, log_time, publish_time = MESSAGE.unpack_from(body)
                mcap.add_message(channel, log_time, bytes(body[MESSAGE.size :]), publish_time, sequence)
                body = next(messages, None)
            mcap.flush()  # type: ignore[no-untyped-call]
            facts = end.metadata() if end else source.facts.get("neurobus.end")
            if facts:
                mcap.add_metadata("neurobus.end", facts)
            mcap.finish()  # type: ignore[no-untyped-call]
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)


def recover(path: str | Path, out: str | Path) -> Log:
    """Writes all that can be read of a cut or damaged log to `out`, as a log of its own, and reads that.

    Raises `InputError` where there is nothing to recover, or `out` cannot be written.
    """
    path, out = Path(path), Path(out)
    if out.exists() and out.samefile(path):
        raise InputError("a log is not recovered over itself; name another file", out)
    source = LogFile(path)
    try:
        compact(source, out, None)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", out) from error
    log = read(out)
    problems = list(dict.fromkeys(source.problems + log.problems))
    return replace(log, problems=problems, complete=not problems)


def _begin(stream: object, facts: dict[str, str], attachments: list[tuple[str, str, bytes]],
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

    def __init__(self, path: Path):
        self.path, self.closed, self._at = path, False, 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", path) from error

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
