"""Frames on the bus: what is sent is what is heard, and anything else is `Malformed`, never another error."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect

from neurobus.events import Led, Samples, Spikes, Stimulus
from neurobus.wire import bus as wire
from neurobus.wire import lease, verbs
from neurobus.wire.bus import MOST_NS, Malformed, decode, encode, frame, split, topic, unpack
from neurobus.wire.message import CONTROLS, REPORTS, Control, Report

NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,20}", fullmatch=True)
TIMES = st.lists(st.integers(0, MOST_NS - 1), max_size=20)
COUNT = st.integers(0, 1 << 40)
LEAVES = [
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.binary(max_size=8),
]
PLAIN = st.recursive(
    st.one_of(LEAVES),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
ARGS = st.dictionaries(st.text(max_size=8), PLAIN, max_size=4)
FAREWELLS = ARGS.filter(lambda args: not args.keys() & {"path", "lost", "notes", "boards"})


@st.composite
def batches(draw):
    """Times and neurons of a batch, one neuron or many."""
    times = draw(TIMES)
    if draw(st.booleans()):
        return times, None
    return times, draw(st.lists(st.integers(0, (1 << 32) - 1), min_size=len(times), max_size=len(times)))


@st.composite
def spikes(draw):
    times, neurons = draw(batches())
    return Spikes(draw(NAMES), draw(COUNT), draw(COUNT), times, neurons, draw(st.booleans()))


@st.composite
def samples(draw):
    times, neurons = draw(batches())
    mv = draw(st.lists(st.floats(allow_nan=False), min_size=len(times), max_size=len(times)))
    return Samples(draw(NAMES), draw(COUNT), draw(COUNT), times, mv, neurons, draw(st.booleans()))


stimuli = st.builds(
    Stimulus, NAMES, st.integers(-1, MOST_NS - 1), st.floats(-1e299, 1e299), st.text(max_size=9)
)


def values(kind: inspect.Type):
    """What a field may hold."""
    match kind:
        case inspect.IntType(gt=gt, ge=ge, lt=lt, le=le):
            return st.integers(gt + 1 if ge is None else ge, lt - 1 if le is None else le)
        case inspect.FloatType(gt=gt):
            return st.floats(-1e17, 1e17) if gt else st.floats(allow_nan=False)
        case inspect.ListType(item_type=item):
            return st.lists(values(item), max_size=3)
        case inspect.TupleType(item_types=items):
            return st.tuples(*map(values, items))
        case inspect.DictType(value_type=value):
            return st.dictionaries(st.text(max_size=5), values(value), max_size=3)
        case inspect.UnionType(types=types):
            return st.one_of(map(values, types))
        case inspect.LiteralType(values=(value,)):
            return st.just(value)
        case inspect.StructType(cls=cls, fields=fields):
            return st.builds(cls, **{field.name: values(field.type) for field in fields})
    plain = {
        inspect.StrType: st.text(max_size=9),
        inspect.BytesType: st.binary(max_size=9),
        inspect.AnyType: PLAIN,
    }
    return {**plain, inspect.BoolType: st.booleans(), inspect.NoneType: st.none()}[type(kind)]


def messages(table):
    """Of any row; a farewell has names of its own."""
    rows = [row for kinds in table.values() for row in kinds if row is not verbs.Farewell]
    return st.one_of(values(inspect.type_info(row)) for row in rows).map(sendable)


def sendable(message):
    """A state that is not there yet has no columns."""
    if isinstance(message, lease.StateCopy) and message.step is None:
        return lease.StateCopy(message.claim, None)
    return message


words = st.builds(Control, NAMES | st.just("*"), messages(CONTROLS)) | st.builds(
    Report,
    NAMES,
    messages(REPORTS) | st.builds(verbs.Farewell, FAREWELLS),
)
strips = st.builds(
    Led, NAMES, st.integers(0, MOST_NS - 1), st.lists(st.binary(min_size=3, max_size=3)).map(b"".join)
)
EVENTS = spikes() | samples() | stimuli | strips | words


def plain(event):
    """Arrays as lists, so that events compare."""
    if isinstance(event, (Control, Report)):
        return event
    fields = {name: getattr(event, name) for name in event.__dataclass_fields__}
    return type(event), {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in fields.items()}


@given(EVENTS)
def test_what_is_sent_is_what_is_heard(event):
    assert plain(decode(encode(event))) == plain(event)


@given(st.lists(NAMES, min_size=2, max_size=6, unique=True))
def test_no_topic_is_the_prefix_of_anothers(names):
    topics = [topic(kind, name) for kind in (wire.SPIKES, wire.SAMPLES) for name in names]
    assert not [(a, b) for a in topics for b in topics if a is not b and b.startswith(a)]


def test_kinds_differ():
    kinds = [
        wire.SPIKES,
        wire.SAMPLES,
        wire.STIMULUS,
        wire.CONTROL,
        wire.REPORT,
        wire.HELLO,
        wire.DUTY,
        wire.ANSWER,
    ]
    assert len(set(kinds)) == len(kinds)
    assert all(len(kind) == 1 for kind in kinds)


# -- garbage --------------------------------------------------------------------------------------------


def survives(data: bytes) -> None:
    """Decoding gives an event that can be used, or Malformed: nothing else."""
    try:
        event = decode(data)
    except Malformed:
        return
    if isinstance(event, (Spikes, Samples)):
        neurons = event.neurons
        assert len(event.t_ns) == len(event.t_ns if neurons is None else neurons)
        assert all(isinstance(int(t), int) for t in event.t_ns)
        assert event.seq >= 0 and event.epoch >= 0 and type(event.last) is bool
    if isinstance(event, Samples):
        assert len([float(v) for v in event.v_mv]) == len(event.t_ns)
    if isinstance(event, Stimulus):
        assert abs(event.weight) < 1e300 and type(event.t_ns) is int and isinstance(event.origin, str)
    if isinstance(event, (Control, Report)):
        assert isinstance(event.message.verb, str)
    encode(event)


@settings(max_examples=300)
@given(st.binary(max_size=80))
def test_random_bytes(data):
    survives(data)


KINDS = st.sampled_from([b"s", b"v", b"p", b"c", b"r", b"h", b"d", b"a", b"x", b""])


@settings(max_examples=400)
@given(KINDS, st.binary(max_size=10), PLAIN)
def test_random_payloads_under_valid_topics(kind, name, payload):
    survives(kind + b"/" + name + b"\0" + msgpack.packb(payload))


@settings(max_examples=400)
@given(EVENTS, st.data())
def test_one_field_of_another_kind(event, data):
    head, _, payload = encode(event).partition(b"\0")
    row = msgpack.unpackb(payload)
    at = data.draw(st.integers(0, len(row) - 1))
    row[at] = data.draw(PLAIN)
    survives(head + b"\0" + msgpack.packb(row))


@settings(max_examples=300)
@given(EVENTS, st.data())
def test_cut_and_mutated_frames(event, data):
    whole = bytearray(encode(event))
    survives(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    survives(bytes(whole))


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("kind", "name", "payload"),
    [
        (wire.SPIKES, "", [0, 0, False, [], None]),
        (wire.SPIKES, "a", {}),
        (wire.SPIKES, "a", []),
        (wire.SPIKES, "a", [0, 0, False]),
        (wire.SPIKES, "a", [0, 0, False, [1]]),
        (wire.SPIKES, "a", [0, 0, False, [1], None, 5]),
        (wire.SPIKES, "a", [-1, 0, False, [], None]),
        (wire.SPIKES, "a", [0, -1, False, [], None]),
        (wire.SPIKES, "a", [0, 0.0, False, [], None]),
        (wire.SPIKES, "a", [True, 0, False, [], None]),
        (wire.SPIKES, "a", [0, 0, 1, [], None]),
        (wire.SPIKES, "a", [0, 0, False, 5, None]),
        (wire.SPIKES, "a", [0, 0, False, [1.5], None]),
        (wire.SPIKES, "a", [0, 0, False, [True], None]),
        (wire.SPIKES, "a", [0, 0, False, [1], b"\0\0\0\0"]),
        (wire.SPIKES, "a", [0, 0, False, bytes(7), bytes(4)]),
        (wire.SPIKES, "a", [0, 0, False, bytes(4), bytes(2)]),
        (wire.SPIKES, "a", [0, 0, False, bytes(16), bytes(4)]),
        (wire.SAMPLES, "a", [0, 0, False, [1], None, []]),
        (wire.SAMPLES, "a", [0, 0, False, [1], None, ["x"]]),
        (wire.SAMPLES, "a", [0, 0, False, [1], None]),
        (wire.SAMPLES, "a", [0, 0, False, [1], None, 3]),
        (wire.SAMPLES, "a", [0, 0, False, bytes(8), bytes(4), bytes(7)]),
        (wire.SAMPLES, "a", [0, 0, False, bytes(8), bytes(4), bytes(16)]),
        (wire.SAMPLES, "a", [0, 0, False, bytes(8), bytes(4), [1.0]]),
        (wire.STIMULUS, "a", [1, 2]),
        (wire.STIMULUS, "a", [1.0, 2.0, "me"]),
        (wire.STIMULUS, "a", [1, "2", "me"]),
        (wire.STIMULUS, "a", [1, NAN, "me"]),
        (wire.STIMULUS, "a", [1, -INF, "me"]),
        (wire.STIMULUS, "a", [1, 1e300, "me"]),
        (wire.STIMULUS, "a", [1, 2.0, None]),
        (wire.CONTROL, "*", ["stop"]),
        (wire.CONTROL, "*", ["stop", None]),
        (wire.CONTROL, "*", [1, {}]),
        (wire.REPORT, "a", ["ready", []]),
        (b"z", "a", ["what", {}]),
        (wire.DUTY, "a", [1, 2, b"", b"", b"", None, None]),
        (wire.HELLO, "a", [0]),
    ],
)  # fmt: skip
def test_what_is_malformed(kind, name, payload):
    with pytest.raises(Malformed):
        decode(frame(topic(kind, name), payload))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"s",
        b"s/a",
        b"sa\0\x90",
        b"s/\xff\0\x90",
        b"s/a\0",
        b"s/a\0\xc1",
        b"s/a\0\x91",
        b"s/a\0\x90\x90",
        b"s/a\0\xdd\xff\xff\xff\xff",
    ],
)
def test_what_is_no_frame(data):
    with pytest.raises(Malformed):
        decode(data)


def test_deep_nesting_is_refused():
    with pytest.raises(Malformed):
        decode(b"c/*\0" + b"\x91" * 5000)


def test_split_and_unpack_alone():
    assert split(b"d/a.1\0\x01") == (b"d", "a.1", b"\x01")
    assert unpack(b"\x92\x01\xc0") == [1, None]
    with pytest.raises(Malformed):
        split(b"d/a.1")
    with pytest.raises(Malformed):
        unpack(b"")
