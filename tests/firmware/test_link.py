"""The link's C, compiled here, against the golden vectors and the Python side of it."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurobus.wire import framing, link
from tests.firmware.build import AVR, HOST, ROOT, compile_host

VECTORS = json.loads((ROOT / "tests" / "vectors" / "link.json").read_text())
TO_BOARD = [
    row
    for row in VECTORS["frames"]
    if link.NAMED[row["message"]].way != "board" and row["message"] != "RESEND"
]  # which is for the link
FROM_BOARD = [row for row in VECTORS["frames"] if link.NAMED[row["message"]].way != "host"]
LONGEST = 3 + 2 + link.CHUNK + 2
"""Bytes of payload and crc in the longest frame for a board."""


class Line:
    """The link of a board, and the line to it."""

    def __init__(self, path: Path):
        self.c = ctypes.CDLL(str(path))
        self.c.link_crc.restype = ctypes.c_uint16
        self.stats = (ctypes.c_uint8 * link.STATS.size).in_dll(self.c, "stats")

    def open(self, session: bool = True) -> None:
        self.c.line_busy(0)
        self.c.link_reset(session)
        self.sent()
        ctypes.memset(self.stats, 0, link.STATS.size)

    def feed(self, data: bytes) -> list[bytes]:
        got = (ctypes.c_uint8 * (2 * len(data) + 64))()
        n = self.c.line_feed(data, len(data), got)
        text = bytes(got[:n])
        found = []
        while text:
            found.append(text[1 : 1 + text[0]])
            text = text[1 + text[0] :]
        return found

    def send(self, message: link.Message, fields: bytes = b"") -> None:
        self.c.link_send(message.id, fields, len(fields))

    def sent(self) -> bytes:
        got = (ctypes.c_uint8 * (1 << 16))()
        n = self.c.line_sent(got)
        return bytes(got[:n])

    def packets(self) -> list[link.Packet]:
        return [link.decode(payload) for payload in framing.Decoder().feed(self.sent())]

    def poll(self, idle: bool = True) -> list[link.Packet]:
        self.c.link_poll(idle)
        return self.packets()

    def count(self, name: str) -> int:
        values = link.decode(bytes((link.STATS.id, 0, 0)) + bytes(self.stats)).values
        return int(values[name])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Line:
    target = tmp_path_factory.mktemp("link") / "link.so"
    compile_host(target, [AVR / "link.c", HOST / "link_host.c"], "-shared", "-fPIC")
    return Line(target)


@pytest.fixture
def line(built: Line) -> Line:
    built.open()
    return built


def frame(message: link.Message, seq: int = 0, ack: int = 0, **values: Any) -> bytes:
    return link.encode(message, seq, ack, **values)


@pytest.mark.parametrize("row", VECTORS["crc"], ids=lambda row: row["text"] or "nothing")
def test_crc(line: Line, row: dict[str, Any]) -> None:
    crc = 0xFFFF
    for byte in row["text"].encode():
        crc = line.c.link_crc(crc, byte)
    assert crc == row["crc"] == framing.crc16(row["text"].encode())


def test_what_the_host_sends_is_understood(line: Line) -> None:
    for row in TO_BOARD:
        line.open(session=False)  # where nothing is out of sequence
        assert [p.hex() for p in line.feed(bytes.fromhex(row["frame"]))] == [row["payload"]], row["message"]
    assert line.count("bad") == 0


def test_what_is_sent_is_what_the_host_expects(line: Line) -> None:
    for row in FROM_BOARD:
        line.open()
        payload = bytes.fromhex(row["payload"])
        line.send(link.NAMED[row["message"]], payload[3:])
        assert line.sent().hex() == row["frame"], row["message"]


@pytest.mark.parametrize("row", VECTORS["bad"], ids=lambda row: row["why"])
def test_a_bad_frame_is_counted_and_the_next_one_heard(line: Line, row: dict[str, Any]) -> None:
    ping = frame(link.PING, token=9)
    assert line.feed(bytes.fromhex(row["bytes"]) + ping) == [link.payload(link.PING, token=9)]
    assert line.count("bad") == 1


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(
    st.binary(max_size=40),
    st.binary(min_size=3, max_size=21).map(framing.encode),
    st.binary(min_size=3, max_size=21).map(lambda p: framing.encode(p)[:-2] + b"\x07\0"),
), max_size=12))  # fmt: skip
def test_any_bytes_are_heard_as_python_hears_them(built: Line, pieces: list[bytes]) -> None:
    built.open(session=False)
    data = b"".join(pieces) + b"\0"
    decoder = framing.Decoder(LONGEST)
    expected = decoder.feed(data)
    short = [payload for payload in expected if len(payload) < 3]
    whole = [payload for payload in expected if len(payload) >= 3 and payload[0] != link.RESEND.id]
    assert built.feed(data) == whole
    assert built.count("bad") == decoder.bad + len(short)


def test_in_order_and_once(line: Line) -> None:
    tell = [frame(link.TELL, seq) for seq in range(5)]
    assert line.feed(tell[1] + tell[2]) == [link.payload(link.TELL, 1), link.payload(link.TELL, 2)]
    (ack,) = line.poll()
    assert (ack.message, ack.ack) == (link.ACK, 2)
    assert line.feed(tell[2]) == []  # a duplicate is acknowledged again
    assert [p.ack for p in line.poll(idle=False)] == [2]
    assert line.feed(tell[4]) == []  # a gap
    assert line.count("gaps") == 1
    (again,) = line.poll(idle=False)
    assert (again.message, again.ack) == (link.RESEND, 2)
    assert line.feed(tell[4]) == [] and line.poll(idle=False) == []  # said once
    assert len(line.feed(tell[3] + tell[4])) == 2
    assert [(p.message, p.ack) for p in line.poll()] == [(link.ACK, 4)]


def test_a_bad_frame_is_asked_for_again_once(line: Line) -> None:
    for _ in range(2):
        line.feed(b"\x05\x01\0")
    assert [p.message for p in line.poll()] == [link.RESEND]


def test_refused_is_asked_for_again(line: Line) -> None:
    assert line.c.line_refuse(frame(link.TELL, 1), len(frame(link.TELL, 1)))
    assert line.count("refused") == 1
    (again,) = line.poll()
    assert (again.message, again.ack) == (link.RESEND, 0)
    assert len(line.feed(frame(link.TELL, 1))) == 1


def test_what_is_not_acknowledged_is_sent_again(line: Line) -> None:
    for tick in (10, 20, 30):
        line.send(link.SPIKE, tick.to_bytes(2, "little"))
    assert [(p.seq, p.values["tick"]) for p in line.packets()] == [(1, 10), (2, 20), (3, 30)]
    line.feed(frame(link.ACK, 0, 1, free=255))
    line.c.link_elapsed()
    assert line.poll() == []
    line.c.link_elapsed()
    line.c.link_elapsed()
    assert [p.seq for p in line.poll()] == [2, 3]
    assert line.count("resent") == 1
    line.feed(frame(link.RESEND, 0, 2))
    assert [p.seq for p in line.poll()] == [3]
    line.feed(frame(link.ACK, 0, 3, free=255))
    for _ in range(5):
        line.c.link_elapsed()
    assert line.poll() == []


def test_an_old_ack_is_no_news(line: Line) -> None:
    for tick in range(3):
        line.send(link.SPIKE, bytes((tick, 0)))
    line.feed(
        frame(link.ACK, 0, 2, free=255) + frame(link.ACK, 0, 1, free=255) + frame(link.ACK, 0, 9, free=255)
    )
    line.packets()
    line.feed(frame(link.RESEND, 0, 2))
    assert [p.seq for p in line.poll()] == [3]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_the_ring_loses_nothing(built: Line, data: st.DataObject) -> None:
    """Sequenced frames and others; acks late, lost, old; frames lost: all sequenced ones come, in order."""
    built.open()
    sent, heard, known = 0, 0, 0
    for step in range(data.draw(st.integers(10, 150), label="steps")):
        what = data.draw(st.integers(0, 7))
        if what <= 3 and built.c.link_room(2):
            sent += 1
            built.send(link.SPIKE, (sent & 0xFFFF).to_bytes(2, "little"))
        elif what == 4 and built.c.link_room(3):
            built.send(link.LIGHTS, b"\1\2\3")
        elif what == 5:
            built.c.link_elapsed()
        elif what == 6:
            built.c.line_busy(step & 1)
        else:
            known = data.draw(st.sampled_from((heard, heard, known)))
            kind = data.draw(st.sampled_from((link.ACK, link.RESEND)))
            built.feed(frame(kind, 0, known & 0xFF, **({"free": 9} if kind is link.ACK else {})))
        built.c.link_poll(1)
        for packet in built.packets():
            expected = packet.message is link.SPIKE and packet.seq == (heard + 1) & 0xFF
            if expected and data.draw(st.booleans()):  # else it is lost on the line
                heard += 1
                assert packet.values["tick"] == heard & 0xFFFF
    built.c.line_busy(0)
    for _ in range(400):
        if heard == sent:
            break
        built.feed(frame(link.RESEND, 0, heard & 0xFF))
        built.c.link_poll(1)
        for packet in built.packets():
            if packet.message is link.SPIKE and packet.seq == (heard + 1) & 0xFF:
                heard += 1
                assert packet.values["tick"] == heard & 0xFFFF
    assert heard == sent


def test_the_header_is_that_of_the_table() -> None:
    assert (AVR / "link_messages.h").read_text() == link.header(), (
        "link.py has changed: python -m neurobus.wire.link header > firmware/avr/link_messages.h"
    )
