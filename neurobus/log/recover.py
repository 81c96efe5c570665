"""What can be read of a cut or damaged log, as a sound one that says what it lacks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neurobus.errors import InputError
from neurobus.log.format import EVENTS, SAMPLES, SPIKES, STIMULI, WEIGHTS, Damaged, End, Header, Log
from neurobus.log.guests import declared
from neurobus.log.messages import parse
from neurobus.log.place import claim, require_free
from neurobus.log.reader import read
from neurobus.log.records import MESSAGE, LogFile
from neurobus.log.writer import rewrite


def recover(path: str | Path, out: str | Path, overwrite: bool = False) -> Log:
    """Writes all that can be read of a cut or damaged log to `out`, as a log of its own, and reads that.

    Raises `InputError` where there is nothing to recover, or `out` cannot be written or holds something.
    """
    path, out = Path(path), Path(out)
    if not path.exists():
        raise InputError("cannot be read: No such file or directory", path)
    if out.exists() and out.samefile(path):
        raise InputError("a log is not recovered over itself; name another file", out)
    found = _Sound(path)
    for _ in found.bodies():
        pass
    if not found.messages:
        raise InputError("nothing can be recovered from this log: it holds no more than its header", path)
    require_free(out, overwrite)
    assert found.header is not None  # there are messages
    facts = found.header.with_guests_in(found.file.facts["neurobus"])
    table, *_ = found.header.attachments()
    attachments = [table if a.name == table[0] else (a.name, a.media_type, a.data)
                   for a in found.file.attachments.values()]  # fmt: skip
    try:
        with ExitStack() as undo:
            if out.exists():
                fd = os.open(out, os.O_RDWR)
                undo.callback(os.close, fd)
                claim(fd, out, overwrite)
            rewrite(out, facts, attachments, found.bodies, found.end)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", out) from error
    log = read(out)
    return replace(log, problems=found.problems) if found.problems else log


class _Sound:
    """The messages of a log that are as they should be, and what is wrong with it. `bodies` may be asked
    again."""

    def __init__(self, path: Path):
        self.path, self.file = path, LogFile(path)
        self.messages = self.end_ns = self.span_ns = 0
        self.problems: list[str] = []
        self.header: Header | None = None

    def bodies(self) -> Iterator[memoryview]:
        self.file = LogFile(self.path)
        self.messages = self.end_ns = self.span_ns = 0
        self.header = None
        for body in self.file.messages():
            if self.header is None:
                # It stands before the first message; one that comes later, in place of a damaged one, is
                # none.
                self.header = self.file.header()
                self._ids = {*self.header.ids}
            try:
                first_ns, last_ns = self._span(body, self.header)
            except Damaged as error:
                self.file.problems.append(str(error))
                continue
            self.messages += 1
            self.end_ns = max(self.end_ns, last_ns)
            self.span_ns = max(self.span_ns, last_ns - first_ns)
            yield body
        self.file.header()
        end = self.file.end()
        self.end_ns = max(end.end_ns, 0) if end else self.end_ns
        self.problems = list(dict.fromkeys(self.file.problems))

    def end(self) -> dict[str, str]:
        lacks = "; ".join(self.problems)
        return End(self.end_ns, self.messages, self.span_ns, recovered=lacks).metadata()

    def _span(self, body: memoryview, header: Header) -> tuple[int, int]:
        """The first and last time in a message. Raises `Damaged`."""
        topic = self.file.topics.get(MESSAGE.unpack_from(body)[0])
        if topic is None:
            raise Damaged("a message of a channel that no log has")
        item: Any = parse(topic, body[MESSAGE.size :])
        if topic in (SPIKES, SAMPLES):
            times, index = item[0], item[1]
        elif topic == WEIGHTS:
            times, index = item.t, np.maximum(item.pre, item.post)
        else:
            if topic == STIMULI and item.item.neuron not in self._ids:
                raise Damaged("a stimulus names a neuron beyond the id table")
            if topic == EVENTS and (more := declared(header, [item])) is not header:
                self.header, self._ids = more, {*more.ids}
            return item.t_ns, item.t_ns
        if not times.size:
            raise Damaged("a message of nothing")
        if index.max() >= len(header.ids):
            raise Damaged("a message names a neuron beyond the id table")
        return int(times.min()), int(times.max())
