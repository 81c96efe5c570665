"""The reliable part of the link to a board, sans-IO: bytes and time in, messages and bytes out. Pure.

`neurobus.wire.link` has the rules. This side: ASK until a HELLO with our newest token comes; then sequenced
messages both ways, cumulative acks, RESEND, credits. Time is the caller's clock in seconds.

Every ASK has a token of its own, and the line keeps the order: when the HELLO of the newest has come, the
board has dealt with all ASKs before it, and none is left to make it begin afresh behind our back.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from neurobus.wire import framing, link
from neurobus.wire.link import Message, Packet

ASK_S = 0.1
"""A board that has not said HELLO is asked again after so long: an Uno that was reset by opening its port
listens to nobody for some 1.5 s."""
ACK_S, ACK_BYTES = 0.012, 24
"""A frame of the board's is acknowledged so late, if no frame of ours carries the ack before: it sends again
from 20 ms on. Or when so much is not acknowledged: its ring may have 64 bytes."""
RESEND_S = link.RESEND_MS * 1e-3
RESEND_MOST_S = 0.24
"""Frames that are not acknowledged are sent again after a pause that doubles up to this: a board that is
slow, or a simulated one on a busy machine, is not helped by more of the same."""
COPIES_S = 0.02
"""A board that sends again sends all that lies in its ring, in less than this. Lights behind a frame that
had been taken before have been heard before too."""
HOST_FREE = 255
HELLO_HEAD = 3 + 2 + 1 + 4
"""id, seq, ack, token, version, schema: what never moves in a HELLO."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A board that speaks another version of the link."""

    version: int
    schema: int


def foreign(hello: bytes) -> Foreign | None:
    """Of a payload of HELLO_HEAD bytes at least: None where the board speaks as we do."""
    version, schema = hello[5], int.from_bytes(hello[6:10], "little")
    return None if (version, schema) == (link.VERSION, link.SCHEMA) else Foreign(version, schema)


@dataclass(slots=True)
class Counts:
    """What went over the line. `bad`: frames with a wrong crc; `gaps`: frames of another seq than expected;
    `resent`: times we sent again; `asked`: times we asked for that; `copies`: lights that came
    with a repetition, and had been heard before."""

    sent: int = 0
    received: int = 0
    bad: int = 0
    gaps: int = 0
    resent: int = 0
    asked: int = 0
    copies: int = 0
    malformed: int = 0


@dataclass(slots=True)
class _Outstanding:
    message: Message
    seq: int
    body: bytes
    size: int


@dataclass
class Transport:
    """One side of one line. `receive` and `tick` return packets in order; `take_out` the bytes to write.

    `ready`: a session is open. A HELLO that was not asked for is among the packets, and closes it.
    """

    token: int
    """Where tokens begin; another for every opening of a port."""
    counts: Counts = field(default_factory=Counts)
    ready: bool = False
    credit: int = 0
    """Bytes that may be outstanding."""
    heard_s: float = -1.0
    """When the last whole frame came."""

    def __post_init__(self) -> None:
        self._decoder = framing.Decoder()
        self._out: list[bytes] = []
        self._asking: float | None = None
        self._reset()

    def _reset(self) -> None:
        self._queue: deque[tuple[Message, bytes]] = deque()
        self._outstanding: deque[_Outstanding] = deque()
        self._bytes = 0
        self._seq, self._acked = 0, 0
        self._taken = 0
        self._ack_due: float | None = None
        self._unsaid = 0
        self._moved_s = 0.0
        self._patience_s = RESEND_S
        self._again_s = -1.0
        self._resend_asked = False
        self._copies_to = -1.0
        self.ready = False

    # -- what we send -------------------------------------------------------------------------------

    def ask(self, now: float) -> None:
        """Open a session, anew if there was one. Goes on asking until there is a HELLO."""
        self._reset()
        self._asking = now
        self._ask_now(now)

    def close(self) -> None:
        """Say no more."""
        self._reset()
        self._asking = None

    def _ask_now(self, now: float) -> None:
        self.token = self.token % 0xFFFF + 1
        self._asking = now + ASK_S
        self._emit(link.ASK, 0, link.payload(link.ASK, token=self.token, take=1)[3:])

    def send(self, message: Message, now: float, **values: Any) -> int:
        """A message to the board; sequenced ones wait for credit and come through in order. Its seq."""
        body = link.payload(message, **values)[3:]
        if not message.sequenced:
            self._emit(message, 0, body)
            return 0
        self._queue.append((message, body))
        seq = (self._seq + len(self._queue)) & 0xFF
        self._pump(now)
        return seq

    @property
    def waiting(self) -> int:
        """Sequenced messages not yet acknowledged."""
        return len(self._queue) + len(self._outstanding)

    @property
    def unsent(self) -> int:
        """Those of them that wait for credit."""
        return len(self._queue)

    @property
    def spare(self) -> int:
        """Bytes of credit left."""
        return self.credit - self._bytes

    def take_out(self) -> bytes:
        """What is to be written to the port now."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def _emit(self, message: Message, seq: int, body: bytes) -> int:
        frame = framing.encode(bytes((message.id, seq, self._taken)) + body)
        self._out.append(frame)
        self.counts.sent += 1
        if self.ready and message is not link.ASK:
            self._ack_due, self._unsaid = None, 0  # every frame carries the ack
        return len(frame)

    def _pump(self, now: float) -> None:
        while self.ready and self._queue:
            message, body = self._queue[0]
            # crc, one COBS code and the closing zero, whatever the bytes are
            size = 3 + len(body) + 4
            if self._bytes + size > self.credit and self._outstanding:
                return
            self._queue.popleft()
            self._seq = (self._seq + 1) & 0xFF
            if not self._outstanding:
                self._moved_s = now
            self._outstanding.append(_Outstanding(message, self._seq, body, size))
            self._bytes += size
            self._emit(message, self._seq, body)

    def _again(self, now: float, most: int | None = None) -> None:
        """Send again what is not acknowledged, the `most` oldest of it."""
        self.counts.resent += 1
        self._moved_s = self._again_s = now
        self._patience_s = min(2 * self._patience_s, RESEND_MOST_S)
        for frame in list(self._outstanding)[:most]:
            self._emit(frame.message, frame.seq, frame.body)

    # -- what we hear -------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> list[Packet | Foreign]:
        """Bytes from the port. Returns what they bring: sequenced messages in order and once, others as
        they come."""
        bad = self._decoder.bad
        found: list[Packet | Foreign] = []
        for payload in self._decoder.feed(data):
            if payload[0] == link.HELLO.id and len(payload) >= HELLO_HEAD:
                self._hello(payload, now, found)
                continue
            try:
                packet = link.decode(payload)
            except link.Malformed:
                self.counts.malformed += 1
                continue
            if self.ready:
                self._packet(packet, len(payload), now, found)
        if self._decoder.bad > bad:
            self.counts.bad += self._decoder.bad - bad
            self._want_resend()
        self._pump(now)
        return found

    def _hello(self, payload: bytes, now: float, found: list[Packet | Foreign]) -> None:
        token = int.from_bytes(payload[3:5], "little")
        if (other := foreign(payload)) is not None:
            self._asking = None
            found.append(other)
            return
        try:
            packet = link.decode(payload)
        except link.Malformed:
            self.counts.malformed += 1
            return
        self.counts.received += 1
        self.heard_s = now
        if token == self.token and self._asking is not None:
            self._reset()
            self._asking = None
            self.ready = True
            self.credit = packet.values["rx_ring"] - link.RESERVE
            found.append(packet)
        elif token == 0:
            self._reset()
            found.append(packet)

    def _packet(self, packet: Packet, size: int, now: float, found: list[Packet | Foreign]) -> None:
        self.counts.received += 1
        self.heard_s = now
        if link.is_news(packet.ack, self._acked, len(self._outstanding)):
            for _ in range((packet.ack - self._acked) & 0xFF):
                self._bytes -= self._outstanding.popleft().size
            self._acked = packet.ack
            self._moved_s, self._patience_s = now, RESEND_S
        if packet.message is link.RESEND:
            # Not while the last repetition may still be on its way: repetitions in a queue are taken for
            # frames of the next round of seqs, asked for again, and so for ever.
            if self._outstanding and now >= self._again_s + self._patience_s / 6:
                self._again(now)
            return
        if not packet.message.sequenced:
            if packet.message is link.LIGHTS and now < self._copies_to:
                self.counts.copies += 1
            else:
                found.append(packet)
            return
        if packet.seq != (self._taken + 1) & 0xFF:
            self.counts.gaps += 1
            self._ack_due = self._ack_due or now + ACK_S
            if 0 < (packet.seq - self._taken) & 0xFF < 128:
                self._want_resend()  # one before it is missing; an old one wants an ack only
            else:
                self._copies_to = now + COPIES_S
            return
        self._taken, self._copies_to = packet.seq, -1.0
        self._resend_asked = False
        self._unsaid += size + 4  # crc, COBS, the closing zero
        if self._ack_due is None:
            self._ack_due = now + ACK_S
        if self._unsaid >= ACK_BYTES:
            self._ack_due = now
        found.append(packet)

    def _want_resend(self) -> None:
        if self.ready and not self._resend_asked:
            self._resend_asked = True
            self.counts.asked += 1
            self._emit(link.RESEND, 0, b"")

    # -- time ---------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Do what is due: ask again, acknowledge, send again."""
        if self._asking is not None and now >= self._asking:
            self._ask_now(now)
        if self._outstanding and now >= self._moved_s + self._patience_s:
            # The first copies may lie in the board's ring still, which has no room for second ones of all;
            # the ack of the oldest, or a RESEND, tells about the others.
            self._again(now, 1)
        if self._ack_due is not None and now >= self._ack_due:
            self._ack_due = None
            self._emit(link.ACK, 0, bytes((HOST_FREE,)))
        self._pump(now)

    def next_s(self) -> float:
        """When `tick` is to be called next, inf for never."""
        first = float("inf") if self._asking is None else self._asking
        if self._ack_due is not None and self._ack_due < first:
            first = self._ack_due
        return min(first, self._moved_s + self._patience_s) if self._outstanding else first
