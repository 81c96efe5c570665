"""Frames and messages of the link to a board, against the golden vectors."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurobus.wire import framing, link

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "link.json").read_text())


def test_every_message_has_a_vector():
    assert {row["message"] for row in VECTORS["frames"]} == set(link.NAMED)


@pytest.mark.parametrize("row", VECTORS["frames"], ids=lambda row: row["message"])
def test_vectors(row):
    message = link.NAMED[row["message"]]
    payload = link.payload(message, row["seq"], row["ack"], **row["fields"])
    assert payload.hex() == row["payload"]
    assert framing.encode(payload).hex() == row["frame"]
    (heard,) = framing.Decoder().feed(bytes.fromhex(row["frame"]))
    packet = link.decode(heard)
    given = {name: tuple(v) if isinstance(v, list) else v for name, v in row["fields"].items()}
    found = {name: tuple(v) if isinstance(v, (bytes, tuple)) else v for name, v in packet.values.items()}
    assert (packet.message, packet.seq, packet.ack, found) == (message, row["seq"], row["ack"], given)


@pytest.mark.parametrize("row", VECTORS["bad"], ids=lambda row: row["why"])
def test_a_bad_frame_is_counted_and_the_next_one_heard(row):
    decoder = framing.Decoder(23)
    heard = decoder.feed(bytes.fromhex(row["bytes"]) + link.encode(link.PING, token=9))
    malformed = 0
    for payload in heard[:-1]:
        with pytest.raises(link.Malformed):
            link.decode(payload)
        malformed += 1
    assert decoder.bad + malformed == 1
    assert heard[-1] == link.payload(link.PING, token=9)


@given(st.lists(st.binary(max_size=240), max_size=8), st.lists(st.integers(0, 2000), max_size=20))
def test_any_pieces_give_the_same_payloads(payloads, cuts):
    stream = b"".join(map(framing.encode, payloads))
    ends = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    decoder = framing.Decoder()
    heard = [p for a, b in pairwise(ends) for p in decoder.feed(stream[a:b])]
    assert heard == [payload for payload in payloads if len(payload) + 2 >= framing.SMALLEST]


@given(st.binary(max_size=240), st.binary(max_size=300))
def test_after_garbage_it_is_in_step_again(payload, garbage):
    decoder = framing.Decoder()
    assert decoder.feed(garbage + b"\0" + framing.encode(b"1" + payload))[-1] == b"1" + payload


@given(st.binary(min_size=1, max_size=200), st.data())
def test_a_bit_that_turned_is_seen(payload, data):
    frame = bytearray(framing.encode(payload))
    at = data.draw(st.integers(0, 8 * len(frame) - 1))
    frame[at // 8] ^= 1 << at % 8
    assert payload not in framing.Decoder().feed(bytes(frame) + b"\0")


def test_a_value_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match="tick = 65536 does not fit u16"):
        link.payload(link.SPIKE, tick=65536)
    with pytest.raises(ValueError, match="SPIKE takes tick"):
        link.payload(link.SPIKE, stamp=1)


@pytest.mark.parametrize(
    ("data", "word"),
    [(b"", "no message"), (b"\xee\0\0", "no message"), (bytes((link.PING.id, 0, 0, 1)), "ends before"),
     (bytes((link.SAVE.id, 1, 0, 1)), "too many"), (bytes((link.INPUT.id, 1, 0, 1, 2, 3)), "1 bytes of")],
)  # fmt: skip
def test_nonsense_is_malformed(data, word):
    with pytest.raises(link.Malformed, match=word):
        link.decode(data)


def test_ids_are_one_to_one_and_tell_the_way():
    assert len({m.id for m in link.MESSAGES}) == len(link.MESSAGES) == len(link.NAMED)
    sizes = [m.id for m in link.MESSAGES if m.way == "host" and m.sequenced]
    assert sorted(sizes) == list(range(0x40, 0x40 + len(sizes))), "the firmware's table of sizes has no holes"


@given(st.integers(0, 1 << 31), st.integers(-32768, 32767))
def test_widen(near, off):
    assert link.widen((near + off) & 0xFFFF, near) == near + off


def test_news():
    assert link.is_news(3, 1, 5) and not link.is_news(1, 1, 5) and not link.is_news(0, 1, 5)
    assert link.is_news(2, 254, 5) and not link.is_news(7, 1, 5)


def test_layouts_round_trip():
    for layout in link.LAYOUTS:
        values = {field.name: n for n, field in enumerate(layout.fields)}
        assert layout.unpack(layout.pack(values)) == values
        with pytest.raises(link.Malformed, match=layout.name):
            layout.unpack(bytes(layout.size - 1))
