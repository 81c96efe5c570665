"""From the bytes of one message to columns and entries. A file may be anybody's work: every type and bound is
checked here, so that nothing that reads a `Log` has to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Struct

from neurobus.events import Stimulus
from neurobus.log.format import (
    EVENTS,
    LONGEST_NS,
    SAMPLES,
    SPIKES,
    STIMULI,
    WEIGHTS,
    Damaged,
    Entry,
    Floats,
    Indices,
    Int64s,
    LogEvent,
    Weights,
    receipts,
    sound,
)  # fmt: skip

Columns = tuple[Int64s, Indices, Floats, Int64s]
Instant = Annotated[int, Meta(ge=0, le=LONGEST_NS)]
Signed = Annotated[int, Meta(ge=-LONGEST_NS, le=LONGEST_NS)]


class _Message(Struct, forbid_unknown_fields=True, kw_only=True):
    r: Instant
    crc: int


class _Spikes(_Message):
    t: bytes
    i: bytes
    d: bytes | None = None


class _Samples(_Spikes, kw_only=True):
    v: bytes


class _Stimulus(_Message):
    t: Signed
    neuron: str
    weight: float
    origin: str


class _Event(_Message):
    t: Signed
    origin: str
    verb: str
    data: dict[str, Any]


class _Weights(_Message):
    t: Instant
    pre: bytes
    post: bytes
    w: bytes


def parse(topic: str, data: bytes | memoryview) -> Any:
    """What a message of that topic says: `Columns` of spikes (their potentials empty) or samples, an `Entry`,
    or `Weights`. Raises `Damaged`."""
    if not sound(data):
        raise Damaged("a message does not match its checksum")
    decoder, make = _KINDS[topic]
    try:
        return make(decoder.decode(data))
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        raise Damaged(f"a message of {topic} could not be read: {error}") from error


def _spikes(m: _Spikes) -> Columns:
    return _columns(m, b"")


def _samples(m: _Samples) -> Columns:
    columns = _columns(m, m.v)
    if columns[2].size != columns[0].size:
        raise Damaged("its columns differ in length")
    return columns


def _columns(m: _Spikes, v: bytes) -> Columns:
    t, i = np.frombuffer(m.t, "<i8"), np.frombuffer(m.i, "<u4")
    receipt = receipts(m.r, m.d, t.size)
    if not t.size == i.size == receipt.size:
        raise Damaged("its columns differ in length")
    if t.size and (t.min() < 0 or t.max() > LONGEST_NS):
        raise Damaged("a time in it is one that no run has")
    return t, i, np.frombuffer(v, "<f8"), receipt


def _stimulus(m: _Stimulus) -> Entry[Stimulus]:
    if not np.isfinite(m.weight):
        raise Damaged("the size of a stimulus is no number")
    return Entry(m.t, m.r, Stimulus(m.neuron, m.t, m.weight, m.origin))


def _event(m: _Event) -> Entry[LogEvent]:
    return Entry(m.t, m.r, LogEvent(m.origin, m.verb, m.data))


def _weights(m: _Weights) -> Weights:
    pre, post = np.frombuffer(m.pre, "<u4"), np.frombuffer(m.post, "<u4")
    w = np.frombuffer(m.w, "<f8")
    if not pre.size == post.size == w.size:
        raise Damaged("its columns differ in length")
    return Weights(np.full(w.size, m.t, np.int64), pre, post, w, np.full(w.size, m.r, np.int64))


_KINDS: dict[str, tuple[msgspec.msgpack.Decoder[Any], Callable[[Any], Any]]] = {
    SPIKES: (msgspec.msgpack.Decoder(_Spikes), _spikes),
    SAMPLES: (msgspec.msgpack.Decoder(_Samples), _samples),
    STIMULI: (msgspec.msgpack.Decoder(_Stimulus), _stimulus),
    EVENTS: (msgspec.msgpack.Decoder(_Event), _event),
    WEIGHTS: (msgspec.msgpack.Decoder(_Weights), _weights),
}
