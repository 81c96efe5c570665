r"""The link between a host and a chip on a board: one table of messages, the only source. Pure.

The tables `MESSAGES` and `LAYOUTS` generate `firmware/avr/link_messages.h` (`python -m neurobus.wire.link
header`), the schema hash, and encode and decode here. All numbers are little-endian, frames are those of
`framing.py`.

    payload = id, seq, ack, fields            3 + n bytes; 4 more on the line (crc, COBS code, closing zero)

Who is who: the *host* is the bridge; the *board* runs one neuron, its *chip*. This is how a session goes.

Opening
    A board that starts says HELLO with token 0. The host sends ASK(token, take=1), again and again with the
    same token, until it hears HELLO with it, and forgets all it heard before. Taking stops the neuron at
    the tick where it is, keeps its state, and both sides' `seq` begin afresh at 1, `ack` at 0. ASK with the
    token of the session that it is in does not take again; ASK(take=0) only asks who is there. Both disturb
    nothing. `version` and `schema` must equal `VERSION` and `SCHEMA`, else: reflash. The first three fields
    of HELLO never move, so that any host can read that much of any board. A HELLO that comes unasked, or
    with another `nonce`, means that the board has been reset: whatever it knew is gone, take it again.

Order and loss
    A message with id >= 0x40 is *sequenced*: `seq` counts 1, 2, … 255, 0, 1 … in each direction. A receiver
    takes it only if `seq` is the one it expects; all others it drops and counts (`gaps`). `ack` in every
    frame is the last seq taken (cumulative). A sequenced frame is sent again, with all that follow it, when
    RESEND says so or after `RESEND_MS` without an ack that moves. RESEND is sent at the first frame of
    another seq than expected or with a bad crc, and once more only after something was taken. A seq up to
    128 behind the one expected is a duplicate: dropped, and acknowledged again. An ack is news if (ack -
    last ack) mod 256 <= number of frames outstanding; else it is an old one.
    The host acknowledges a sequenced frame within 15 ms, and when 24 bytes wait for it: on any frame that it
    sends anyway, else by ACK.
    Messages below 0x40 have seq 0 and may be lost; one that lies between others may come twice.
    A board that hears nothing but ASK for `SILENCE_MS` ends the session: it goes on by itself if it was
    free-running, keeps no spikes, and answers whatever comes but ASK with HELLO, token 0.

Credits
    Encoded bytes of sequenced frames not yet acknowledged <= HELLO.rx_ring - `RESERVE`; the reserve is for
    ACK, PING and ASK. A frame is acknowledged when it has left the ring. The other way, a board whose
    transmit ring is full of frames not yet acknowledged stops stepping until the host acknowledges some;
    nothing is dropped.

Ticks
    A tick is one update of the network, its dt. "The board is at tick k" says that updates 0 … k - 1 are
    done. INPUT.tick is the update in which the spike acts (a spike stamped s with a delay of d steps acts
    in update s + d - 1); SPIKE.tick is a stamp: k + 1 for one found in update k. 16-bit ticks are the low
    half and stand within ±32767 of the board's tick: `widen`. The host lets no more than `FARTHEST` ticks
    lie between the tick last confirmed (DONE, PONG) and any horizon or input.
    The board runs update k when k < horizon, or, while free-running, when k is due by its own clock.

State
    The chip's parameters, state, weights and marks are one *image* (`LAYOUTS`, then the arrays), the same
    bytes in either direction: WRITE begins with BEGIN and ends with COMMIT. From BEGIN on the chip is empty
    and runs nothing; COMMIT compares length and crc and only then makes it whole: LOADED, or FAULT and the
    chip stays empty. READ stops stepping until the part asked for has been sent, so an image is never torn;
    CHECK asks for the crc alone. The tick is part of the image.

Stepped (catching up, and the virtual clock)
    After COMMIT the board is stepped. INPUTs come sorted by tick, and so each says that all inputs of
    earlier updates are sent: it raises the horizon to its own tick. HORIZON(T) says so without an input.
    When the board is at T it says DONE(T), after every SPIKE before. It runs as fast as it can. A press of
    the button is told by POKE and does not act: whoever steps the board says by KICK when it does.

Free-running (real time)
    PING/PONG give pairs of host time and board clock (HELLO.timer_hz, 32 bits, wraps); the host fits them.
    RUN(tick, at, period): update `tick` is due at board clock `at`, the next every `period` (counts,
    16.16). Sent again it corrects the rate. INPUTs may come in any order and up to HELLO.queue of them wait
    for their tick. One that comes when its update is done acts in the next, is counted, and reported by
    LATE with the tick at which it did act, so that a shadow can follow. A board that cannot fire without an
    input may stay behind its clock, and an update that it has not done yet is not over. A press of the
    button is reported by POKE in the same way. Since the board's messages come in order, all LATE and POKE of
    an update have been heard before a SPIKE or DONE of a later tick. STOP ends free-running: the board stays
    where it is and says DONE.

Lights
    LIGHTS says what the strip shows, if MIRROR asked for it; `neurobus.led.strip` makes the colours of it.
    Whatever it says has been on the strip by then, and in the palette last acknowledged: after PALETTE it
    comes once the strip has been told. One that is sent again with others the host drops.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from struct import Struct, error, pack, unpack
from typing import Any, NamedTuple

from neurobus.wire import framing
from neurobus.wire.mcus import MCUS

VERSION = 1
CHUNK = 16
"""Most bytes of an image in one message."""
RESERVE = 24
"""Bytes of the board's receive ring left for messages without a seq."""
RESEND_MS = 30
SILENCE_MS = 1000
FARTHEST = 30_000
"""Ticks that horizon and inputs may lie ahead of the tick last confirmed."""
NO_SERIAL = 0xFFFFFFFF
NO_SYNAPSE = 0xFFFF
"""In LATE: it was no synapse but a KICK."""

_CODE = {"u8": "B", "i8": "b", "u16": "H", "i16": "h", "u32": "I", "i32": "i"}
"""As `struct` writes them. Fields of 24 bits are in images only."""
_SIZE = {"u8": 1, "i8": 1, "u16": 2, "i16": 2, "u24": 3, "i24": 3, "u32": 4, "i32": 4}


class Malformed(ValueError):
    """A payload that is not of this protocol."""


@dataclass(frozen=True)
class Field:
    """`type` is u8 i8 u16 i16 u24 i24 u32 i32; `many`: zero or more to the end of the message."""

    name: str
    type: str
    doc: str = ""
    many: bool = False

    @property
    def size(self) -> int:
        return _SIZE[self.type]

    @property
    def signed(self) -> bool:
        return self.type[0] == "i"

    def pack(self, value: int) -> bytes:
        """Raises ValueError where it does not fit."""
        try:
            return value.to_bytes(self.size, "little", signed=self.signed)
        except OverflowError:
            raise ValueError(f"{self.name} = {value} does not fit {self.type}") from None

    def unpack(self, data: bytes) -> int:
        return int.from_bytes(data, "little", signed=self.signed)


@dataclass(frozen=True)
class Message:
    """One kind of message. `way`: who sends it, "host", "board" or "both"."""

    id: int
    name: str
    way: str
    fields: tuple[Field, ...]
    doc: str

    @cached_property
    def sequenced(self) -> bool:
        return self.id >= 0x40

    @cached_property
    def size(self) -> int:
        """Bytes of the fields that are always there."""
        return self.head.size

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(field.name for field in self.fields)

    @cached_property
    def single(self) -> tuple[str, ...]:
        """The fields that are always there."""
        return tuple(field.name for field in self.fields if not field.many)

    @cached_property
    def head(self) -> Struct:
        """Their bytes."""
        return Struct("<" + "".join(_CODE[field.type] for field in self.fields if not field.many))

    @cached_property
    def many(self) -> Field | None:
        """The last field, where there are zero or more of it."""
        return self.fields[-1] if self.fields and self.fields[-1].many else None


@dataclass(frozen=True)
class Layout:
    """A part of a chip's image: packed fields, a C struct of the same name."""

    name: str
    fields: tuple[Field, ...]
    doc: str

    @cached_property
    def size(self) -> int:
        return sum(field.size for field in self.fields)

    def pack(self, values: Mapping[str, int]) -> bytes:
        """Raises KeyError for a field without value, ValueError for one that does not fit."""
        return b"".join(field.pack(int(values[field.name])) for field in self.fields)

    def unpack(self, data: bytes) -> dict[str, int]:
        """The values in the first `size` bytes. Raises `Malformed` where there are fewer."""
        if len(data) < self.size:
            raise Malformed(f"{self.name} has {self.size} bytes, not {len(data)}")
        values, at = {}, 0
        for field in self.fields:
            values[field.name] = field.unpack(data[at : at + field.size])
            at += field.size
        return values


def _fields(*rows: str) -> tuple[Field, ...]:
    """Fields of lines `type name: doc`; `type name*` for many."""
    found = []
    for row in rows:
        head, _, doc = row.partition(":")
        kind, name = head.split()
        found.append(Field(name.rstrip("*"), kind, doc.strip(), name.endswith("*")))
    return tuple(found)


def _message(id: int, name: str, way: str, doc: str, *rows: str) -> Message:
    return Message(id, name, way, _fields(*rows), doc)


MCU = {mcu.name: mcu.id for mcu in MCUS.values()} | {"host": 255}
HASHED_MCU = {"atmega8": 1, "atmega328p": 2, "host": 255}
"""Those that the schema's hash covers, for ever: one more is no reason to flash any board anew."""
CHIP = {"none": 0, "lif": 1, "race": 2}
LED = {"none": 0, "ws2811": 1, "ws2812": 2, "ws2813": 3, "ws2815": 4, "ws2818": 5}
RESET = {"power": 1, "external": 2, "brownout": 4, "watchdog": 8}
"""Bits of HELLO.reset."""
HELD = {"empty": 0, "whole": 1, "running": 2}
"""HELLO.held: no image; an image, stepped; an image, free-running."""
FAULT = {
    "unknown": 1,  # a message id that is none, or not one for a board; detail: the id
    "length": 2,  # a message too short or too long; detail: the id
    "empty": 3,  # asked to run, step or save without an image; detail: the id
    "commit": 4,  # crc or length of the image do not fit; detail: the crc found
    "chip": 5,  # BEGIN of another chip than this; detail: the chip that this is
    "size": 6,  # an image longer than this board's memory; detail: bytes there are
    "image": 7,  # an image that contradicts itself; detail: 0
    "synapse": 8,  # a synapse number that the image does not have; detail: the number
    "eeprom": 9,  # nothing to recall, or too large to save; detail: bytes there are
}
ENUMS = {"MCU": MCU, "CHIP": CHIP, "LED": LED, "RESET": RESET, "HELD": HELD, "FAULT": FAULT}

ASK = _message(
    0x01, "ASK", "host", "Who is there? With `take`: a session begins.",
    "u16 token: comes back in HELLO; not 0",
    "u8 take: 1: stop the neuron, begin both seqs afresh; 0: only asks",
)  # fmt: skip
HELLO = _message(
    0x02, "HELLO", "board", "Who is here: answers ASK, and is said once after a reset with token 0.",
    "u16 token", "u8 version: VERSION", "u32 schema: SCHEMA",
    "u8 mcu: MCU", "u32 clock_hz: of the processor", "u32 timer_hz: of the clock in PONG and RUN",
    "u8 chip: CHIP", "u16 room: bytes for an image behind its layouts: 2 a synapse, 1 more a plastic one",
    "u16 synapses: plastic synapses it can hold", "u8 leds: pixels on the strip", "u8 led: LED",
    "u8 rx_ring: bytes of the receive ring, for credits", "u8 queue: inputs that can wait for their tick",
    "u8 held: HELD", "u8 reset: RESET bits of the last start",
    "u32 serial: given by NAME; NO_SERIAL: none yet", "u16 nonce: another at every start",
)  # fmt: skip
ACK = _message(0x03, "ACK", "both", "Nothing but the ack.", 
    "u8 free: bytes free in the sender's receive ring; 255: so many or more",
)  # fmt: skip
RESEND = _message(0x04, "RESEND", "both", "Send again from ack + 1 on.")
PING = _message(0x05, "PING", "host", "Asks for PONG.", "u16 token")
PONG = _message(
    0x06, "PONG", "board", "Answers PING.",
    "u16 token", "u32 clock: when PING was read", "u32 tick: where the board is",
    "u8 free: bytes free in its receive ring", "u8 queued: inputs waiting for their tick",
)  # fmt: skip
LIGHTS = _message(
    0x07, "LIGHTS", "board", "What the strip has just been told to show; sent when it changes.",
    "i8 level: membrane, -127 … 127; 128 is threshold", "u8 flash: of the last spike, 255 fresh, 0 gone",
    "u8 blink: 1 while IDENTIFY lights all, 2 while it lights none, 0 otherwise",
)  # fmt: skip

BEGIN = _message(
    0x40, "BEGIN", "host", "Empties the chip; an image of `length` bytes follows.",
    "u8 chip: CHIP", "u16 length",
)  # fmt: skip
WRITE = _message(0x41, "WRITE", "host", "Bytes of the image.", "u16 offset", "u8 bytes*: at most CHUNK")
COMMIT = _message(
    0x42, "COMMIT", "host", "The image is whole: check it and take it.", "u16 crc: crc16 of the image"
)
READ = _message(0x49, "READ", "host", "Asks for IMAGEs.", "u16 offset", "u16 length: 0: to the end")
CHECK = _message(0x4A, "CHECK", "host", "Asks for CHECKED.")
INPUT = _message(
    0x4B, "INPUT", "host", "Spikes on these synapses act in update `tick`.",
    "u16 tick", "u16 synapses*: at most 8",
)  # fmt: skip
KICK = _message(
    0x4C, "KICK", "host",
    "A stimulus without a synapse acts in update `tick`.",
    "u16 tick", "i16 weight: in the unit of the image's weights",
)  # fmt: skip
HORIZON = _message(
    0x4D, "HORIZON", "host", "All inputs before `tick` are sent: go there, say DONE.", "u32 tick"
)
RUN = _message(
    0x4E, "RUN", "host", "Go on by your own clock.",
    "u32 tick: one last confirmed, so not ahead of the board",
    "u32 at: board clock at which update `tick` is due", "u32 period: clock counts a tick, 16.16",
    "u8 batch: 1; this firmware knows by itself how long it can sleep",
)  # fmt: skip
STOP = _message(0x4F, "STOP", "host", "Stay where you are: DONE.")
IDENTIFY = _message(
    0x43, "IDENTIFY", "host", "The strip blinks, then stops by itself.", "u8 seconds: 0 ends it"
)
PALETTE = _message(
    0x44, "PALETTE", "host", "Colours of the strip, each red, green, blue.",
    *(f"u8 {part}_{hue}" for part in ("rest", "warm", "cool", "flash") for hue in "rgb"),
)  # fmt: skip
MIRROR = _message(
    0x45, "MIRROR", "host", "Asks for LIGHTS.", "u8 every: frames of 20 ms between two of them, 0 for none"
)
SAVE = _message(
    0x50, "SAVE", "host", "Parameters and weights into the EEPROM, while all goes on: SAVED at the end."
)
RECALL = _message(0x46, "RECALL", "host", "The image last saved, from rest at tick 0: LOADED, or FAULT.")
NAME = _message(0x47, "NAME", "host", "A serial number, kept in the EEPROM.", "u32 serial")
TELL = _message(0x48, "TELL", "host", "Asks for STATS.")

SPIKE = _message(0x60, "SPIKE", "board", "The neuron has fired.", "u16 tick: its stamp")
LATE = _message(
    0x61, "LATE", "board", "An INPUT or KICK came after its update.",
    "u16 due: the update meant", "u16 acts: the update in which it acts",
    "u16 synapses*: those of the INPUT; NO_SYNAPSE for a KICK",
)  # fmt: skip
POKE = _message(
    0x62, "POKE", "board",
    "Somebody pressed the button: a stimulus acts in update `tick`, on a stepped board when the host kicks.",
    "u16 tick", "i16 weight: as in KICK",
)  # fmt: skip
DONE = _message(0x63, "DONE", "board", "The board is at this tick, as HORIZON or STOP asked.", "u32 tick")
LOADED = _message(0x64, "LOADED", "board", "An image has taken effect.", "u32 tick", "u16 length", "u16 crc")
IMAGE = _message(0x65, "IMAGE", "board", "Bytes of the image.", "u16 offset", "u8 bytes*: at most CHUNK")
CHECKED = _message(
    0x66, "CHECKED", "board", "Length and crc of the image.", "u32 tick", "u16 length", "u16 crc"
)
SAVED = _message(
    0x67, "SAVED", "board", "The snapshot is in the EEPROM.",
    "u16 number: counts snapshots", "u8 shift: weights were kept as 8 bits shifted by this; 255: whole",
)  # fmt: skip
PROBLEM = _message(
    0x68, "PROBLEM", "board", "A message that could not be followed.", "u8 fault: FAULT", "u16 detail"
)
STATS = _message(
    0x69, "STATS", "board", "Counts since the start; they stop at their largest value.",
    "u16 bad: frames with a wrong crc, COBS text or length", "u16 gaps: frames of another seq than expected",
    "u8 overruns: bytes lost in the UART", "u8 overflows: bytes lost because the ring was full",
    "u16 resent: times it sent again", "u16 refused: frames to be sent again because no room was left",
    "u16 late: inputs that came after their update", "u16 stalls: times stepping waited for an ack",
    "u16 behind: most ticks that stepping was behind its clock",
    "u16 stack: bytes never used between data and stack", "u8 free: bytes free in the receive ring",
)  # fmt: skip

MESSAGES = (
    ASK, HELLO, ACK, RESEND, PING, PONG, LIGHTS,
    BEGIN, WRITE, COMMIT, READ, CHECK, INPUT, KICK, HORIZON, RUN, STOP, IDENTIFY, PALETTE, MIRROR,
    SAVE, RECALL, NAME, TELL,
    SPIKE, LATE, POKE, DONE, LOADED, IMAGE, CHECKED, SAVED, PROBLEM, STATS,
)  # fmt: skip

LIF_PARAMS = Layout(
    "lif_params",
    _fields(
        "u16 synapses: how many",
        "u16 plastic: the first so many of them learn",
        "u16 d_m: leak of V a tick, 1 / 65536",
        "u16 d_ex: decay of I_ex a tick, 1 / 65536",
        "u16 d_in: decay of I_in a tick, 1 / 65536",
        "u16 c_ex: V a tick of one unit of I_ex, 1 / 65536 of a unit of V",
        "u16 c_in: the same of I_in",
        "i24 b: V a tick of the constant current, 1 / 256 of a unit",
        "i24 V_th: threshold, 1 / 256 of a unit, relative to rest",
        "i24 V_reset: after a spike",
        "u16 t_ref: ticks",
        "u16 w_max: largest weight of a plastic synapse",
        "u16 A_plus: largest gain of a weight at one spike of the neuron",
        "u16 A_minus: largest loss of a weight at one input",
        "u16 k_plus: halvings of a synapse's trace in one unit of trace time, 1 / 4096",
        "u16 k_minus: the same of the neuron's own trace",
        "u8 shift: a unit of trace time is 2^shift ticks",
        "i16 poke: weight of a press of the button",
        "u16 bar: what the strip shows of V: 2^31 / V_th",
    ),
    "Parameters of the chip `lif`, as integers; `nodes.chip` has the arithmetic.",
)
LIF_STATE = Layout(
    "lif_state",
    _fields(
        "u32 tick: updates done",
        "i24 V: membrane, 1 / 256 of a unit, relative to rest",
        "u24 I_ex: excitatory current, 1 / 256 of a unit",
        "u24 I_in: magnitude of the inhibitory current",
        "u16 r: ticks of the refractory period left",
        "u8 unit: the mark of now",
        "u8 sweep: units until forgotten marks are cleared: 64 - (tick >> shift) mod 64",
        "u8 post: mark of the last spike",
        "u16 x_ex: weights that act in the next update, 65535 for more",
        "u16 x_in: magnitudes of the negative ones",
    ),
    "State of the chip `lif`. Behind it: i16 weight of each synapse, then u8 mark of each plastic one."
    " A mark is (tick >> shift) mod 255 + 1 of the last spike, 0 for none or 128 units ago.",
)
RACE_PARAMS = Layout(
    "race_params",
    _fields(
        "u16 inputs: synapses that learn, the first ones; each number here is where a kind ends",
        "u16 elders: from classmates with a lower address; so many are the rank of this neuron",
        "u16 youngers: from classmates with a higher address",
        "u16 foreign: from neurons of other classes",
        "u16 teachers: of the own class",
        "u16 learns: LEARN",
        "u16 synapses: RESET",
        "u16 V_th: threshold of a neuron that has learnt nothing",
        "u8 shift: V grows by S >> shift a tick",
        "u8 attract: learning towards a sample, >> attract",
        "u8 repel: learning away from one, >> repel",
        "u8 top: level of the input that comes first",
        "u8 level: a level is 2^level ticks",
        "u8 start: ticks from RESET to the first input",
        "u8 delay: ticks of a lateral synapse",
    ),
    "Parameters of the chip `race`; `nodes.race` has the rule.",
)
RACE_STATE = Layout(
    "race_state",
    _fields(
        "u32 tick: updates done",
        "u32 began: tick in which RESET acted or, in a closed slot, LEARN",
        "u16 V: potential",
        "u16 S: sum of the weights that have arrived",
        "u16 fired: ticks from RESET to the spike of this slot, 0xffff for none",
        "u16 claim: ticks until a claim, 0xffff for none",
        "u16 threshold: V_th and half the squared length of the weights",
        "u8 flags: 1 open, 2 inhibited, 4 mine, 8 mate, 16 earlier, 32 foreign, 64 virgin, "
        "128 inputs taken that act in the next tick",
        "u8 order: 0, or the broadcast that came for the next tick: 1 RESET, 2 LEARN",
    ),
    "State of the chip `race`. Behind it: u8 weight of each input, then u8 level of each.",
)
LAYOUTS = (LIF_PARAMS, LIF_STATE, RACE_PARAMS, RACE_STATE)

NAMED = {message.name: message for message in MESSAGES}
_BY_ID = {message.id: message for message in MESSAGES}


class Packet(NamedTuple):
    """A message received. `values`: integers by field; bytes for many u8, a tuple for other many."""

    message: Message
    seq: int
    ack: int
    values: dict[str, Any]


def payload(message: Message, seq: int = 0, ack: int = 0, **values: Any) -> bytes:
    """Bytes of a message, not yet framed. Raises ValueError for a value that does not fit or is not there."""
    if values.keys() != message.names:
        wanted = ", ".join(field.name for field in message.fields) or "nothing"
        raise ValueError(f"{message.name} takes {wanted}; not {', '.join(values) or 'nothing'}")
    data = bytes((message.id, seq, ack))
    try:
        data += message.head.pack(*[values[name] for name in message.single])
        if (many := message.many) is not None:
            given = values[many.name]
            data += bytes(given) if many.type == "u8" else pack(f"<{len(given)}{_CODE[many.type]}", *given)
    except (error, ValueError):
        for field in message.fields:
            for value in values[field.name] if field.many else [values[field.name]]:
                field.pack(value)
        raise
    return data


def encode(message: Message, seq: int = 0, ack: int = 0, **values: Any) -> bytes:
    """The frame of a message."""
    return framing.encode(payload(message, seq, ack, **values))


def decode(data: bytes) -> Packet:
    """The message in a payload that a `framing.Decoder` delivered. Raises `Malformed`."""
    message = _BY_ID.get(data[0]) if len(data) >= 3 else None
    if message is None:
        raise Malformed(f"no message has the id {data[:1].hex() or 'of nothing'}")
    end = 3 + message.size
    if len(data) < end:
        missing = _first_missing(message, len(data) - 3)
        raise Malformed(f"{message.name} ends before {missing}")
    values: dict[str, Any] = dict(zip(message.single, message.head.unpack_from(data, 3), strict=True))
    if (many := message.many) is not None:
        rest = data[end:]
        if len(rest) % many.size:
            raise Malformed(f"{message.name}: {len(rest)} bytes of {many.name}")
        values[many.name] = (
            rest if many.type == "u8" else unpack(f"<{len(rest) // many.size}{_CODE[many.type]}", rest)
        )
    elif len(data) > end:
        raise Malformed(f"{message.name}: {len(data) - end} bytes too many")
    return Packet(message, data[1], data[2], values)


def _first_missing(message: Message, n: int) -> str:
    """The first field that is not whole in `n` bytes."""
    for field in message.fields:
        n -= field.size
        if n < 0:
            return field.name
    raise ValueError(f"{message.name} is whole")


def widen(low: int, near: int) -> int:
    """The tick with these low 16 bits nearest to `near` (−32768 … 32767 from it)."""
    return near + ((low - near + 0x8000) & 0xFFFF) - 0x8000


def is_news(ack: int, last: int, outstanding: int) -> bool:
    """Whether an ack moves on from `last` with so many frames outstanding; else it is an old one."""
    return 0 < (ack - last) & 0xFF <= outstanding


def schema() -> dict[str, Any]:
    """All that both sides must agree on, as plain values."""
    return {
        "version": VERSION,
        "chunk": CHUNK,
        "messages": [
            [m.id, m.name, m.way, [[f.name, f.type, f.many] for f in m.fields]] for m in MESSAGES
        ],
        "layouts": [[layout.name, [[f.name, f.type] for f in layout.fields]] for layout in LAYOUTS],
        "enums": {**ENUMS, "MCU": HASHED_MCU},
    }  # fmt: skip


def _schema_hash() -> int:
    text = json.dumps(schema(), sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


SCHEMA = _schema_hash()
"""Changes with every change of a message, a layout or an enumeration but MCU; docs do not count."""

_C_TYPE = {
    "u8": "uint8_t",
    "i8": "int8_t",
    "u16": "uint16_t",
    "i16": "int16_t",
    "u32": "uint32_t",
    "i32": "int32_t",
}


def _c_field(field: Field) -> str:
    if field.many:
        return f"    /* then {field.type} {field.name}[]: {field.doc} */"
    comment = f" /* {field.doc} */" if field.doc else ""
    if field.type in ("u24", "i24"):
        return f"    LINK_{field.type.upper()}({field.name});{comment}"
    return f"    {_C_TYPE[field.type]} {field.name};{comment}"


def _c_struct(name: str, fields: tuple[Field, ...]) -> list[str]:
    if not any(not field.many for field in fields):
        return [_c_field(field).strip() for field in fields]
    return [f"struct {name} {{", *map(_c_field, fields), "} LINK_PACKED;"]


def header() -> str:
    """The C header, whole."""
    lines = [
        "/* Generated by `python -m neurobus.wire.link header` from neurobus/wire/link.py; edit that. */",
        "#ifndef LINK_MESSAGES_H",
        "#define LINK_MESSAGES_H",
        "",
        "#include <stdint.h>",
        "",
        "/* Neither an AVR nor this wire knows padding. Both are little-endian. */",
        "#define LINK_PACKED __attribute__((packed))",
        "#ifdef __AVR__",
        "#define LINK_I24(name) __int24 name",
        "#define LINK_U24(name) __uint24 name",
        "#else",
        "#define LINK_I24(name) int32_t name : 24",
        "#define LINK_U24(name) uint32_t name : 24",
        "#endif",
        "",
        f"#define LINK_VERSION {VERSION}",
        f"#define LINK_SCHEMA 0x{SCHEMA:08x}UL",
        f"#define LINK_CHUNK {CHUNK}",
        f"#define LINK_RESEND_MS {RESEND_MS}",
        f"#define LINK_SILENCE_MS {SILENCE_MS}",
        f"#define LINK_NO_SYNAPSE 0x{NO_SYNAPSE:04x}",
        "#define LINK_SEQUENCED 0x40 /* ids from here on */",
        "#define LINK_HEAD 3 /* id, seq, ack */",
        "",
    ]
    for name, values in ENUMS.items():
        lines += [f"#define LINK_{name}_{key.upper()} {value}" for key, value in values.items()] + [""]
    for message in MESSAGES:
        lines.append(f"/* {message.way}: {message.doc} */")
        lines.append(f"#define LINK_{message.name} 0x{message.id:02x}")
        lines += [*_c_struct(f"link_{message.name.lower()}", message.fields), ""]
    lines += [
        "/* Sizes of the host's sequenced messages from 0x40 on, 0x80 for more at the end. */",
        "#define LINK_HOST_SIZES \\",
        *(f"    {m.size | 0x80 * any(f.many for f in m.fields):#04x}, /* {m.name} */ \\"
          for m in sorted(MESSAGES, key=lambda m: m.id) if m.sequenced and m.way == "host"),
        "",
    ]  # fmt: skip
    for layout in LAYOUTS:
        lines += [f"/* {layout.doc} */", *_c_struct(layout.name, layout.fields), ""]
    lines += ["#endif", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    import sys

    if sys.argv[1:] != ["header"]:
        raise SystemExit("python -m neurobus.wire.link header > firmware/avr/link_messages.h")
    sys.stdout.write(header())
