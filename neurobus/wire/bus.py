r"""One frame on the bus: `kind "/" name NUL payload`, the payload in msgpack.

The NUL ends the name, so that no topic is the prefix of another's (`s/n1\0` and `s/n10\0`), and a
subscription to `topic("s", "n1")` hears n1 alone. All kinds are defined here:

| kind | name           | payload                                          | is                              |
|------|----------------|--------------------------------------------------|---------------------------------|
| `s`  | stream         | `[epoch, seq, last, times, neurons]`             | spikes                          |
| `v`  | stream         | `[epoch, seq, last, times, neurons, potentials]` | membrane potentials, mV         |
| `p`  | neuron         | `[t, weight, origin]`                            | a stimulus (poke)               |
| `c`  | stream or `*`  | `[verb, {…}]`                                    | control, see `verbs`            |
| `r`  | origin         | `[verb, {…}]`                                    | report, see `verbs`             |
| `l`  | neuron         | `[t, rgb]`                                       | what a board's strip shows      |
| `h`  | peer           | `[n]`                                            | a peer listening for its echo   |
| `d`  | stream         | `Duty`                                           | conductor to process            |
| `a`  | stream         | `Answer`                                         | process to conductor            |

Times are nanoseconds of model time. A stream of one neuron lists times as integers with `neurons` nil;
one of many packs `times` as int64, `neurons` as uint32 and `potentials` as float64, little-endian.
`rgb` is three bytes a LED.
"""

from __future__ import annotations

import os
import struct
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack
import msgspec

from neurobus.bounds import LONGEST_RUN
from neurobus.bounds import MOST_NS as MOST_NS
from neurobus.events import Led, Samples, Spikes, Stimulus
from neurobus.wire import message
from neurobus.wire import verbs as verbs  # the table is whole
from neurobus.wire.message import Control, Report

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SPIKES, SAMPLES, STIMULUS, CONTROL, REPORT, HELLO, DUTY, ANSWER, LED = (
    b"s",
    b"v",
    b"p",
    b"c",
    b"r",
    b"h",
    b"d",
    b"a",
    b"l",
)
EVERYONE = "*"
MOST_FRAMES = 1 << 53
"""Epochs, and frames of a stream. Somebody else's frame must not make a loss of what can never be sent."""
Event = Spikes | Samples | Stimulus | Control | Report | Led
NEVER = LONGEST_RUN
"""A step that no run reaches."""

AT_ONCE = -1
"""The time of a poke that the conductor is to stamp."""
LEAD_NS = 5_000_000
"""Under the wall clock what is sent now is stamped so far ahead, to be in time."""

EPOCH_BITS, COUNT_MASK = 32, 0xFFFFFFFF
MOST_EPOCHS = (1 << 64 - EPOCH_BITS) - 1
"""The number of a duty holds no more."""

pack = msgpack.Packer(autoreset=True).pack


class Malformed(ValueError):
    """A frame that is not of this protocol. Receivers drop and count it."""


class Order(StrEnum):
    """What a duty asks for besides its spikes."""

    SNAPSHOT = "snapshot"
    """Write the state at `horizon`."""
    RECORD = "record"
    """Tell the weights at `horizon`."""
    CATCH_UP = "catch-up"
    """Take this, a restarted process's past, and emit nothing."""
    STOP = "stop"
    """It is the last duty."""


class Duty(NamedTuple):
    """What the conductor asks of one process: take these inputs, run to `horizon` (steps), answer.

    `number` counts within an epoch, from `epoch << EPOCH_BITS` on.
    `keys` are spikes as int64 `step << 32 | neuron`; `sample_keys`, `sample_mv` potentials likewise;
    `stimuli` rows `[step, neuron, weight]`.
    """

    number: int
    horizon: int
    keys: bytes
    sample_keys: bytes
    sample_mv: bytes
    stimuli: list[list[float]] | None
    order: Order | None


class Answer(NamedTuple):
    """What a process did on a duty. `next_step`: it emits nothing before, unless it is given more inputs.

    `first` is the step of the earliest emission in this answer, -1 for none; `seq` and `sample_seq`
    count the spikes and samples of this epoch before it.
    """

    number: int
    epoch: int
    next_step: int
    first: int
    seq: int
    keys: bytes
    sample_seq: int
    sample_keys: bytes
    sample_mv: bytes


# Duties and answers are most of what a run under the virtual clock sends, so both are written with every
# integer in 8 bytes and every length in 4. That is msgpack like any other; and whoever looks for it finds
# each field at a fixed place. What is not laid out so is read by msgpack's own reader.
_NONE = b"\xc6\0\0\0\0"
_DUTY = struct.Struct(">BBQBQBI")
_DUTY_PLAIN = _NONE * 2 + b"\xc0\xc0"
_ANSWER = struct.Struct(">BBQBQBQBqBQBI")
_ANSWER_PLAIN = struct.Struct(">BQ10s")
_ANSWERED = (int, int, int, int, int, bytes, int, bytes, bytes)


def duty(number: int, horizon: int, keys: bytes, sample_keys: bytes = b"", sample_mv: bytes = b"",
         stimuli: list[list[float]] | None = None, order: Order | None = None) -> bytes:  # fmt: skip
    """The payload of a `Duty`."""
    head = _DUTY.pack(0x97, 0xCF, number, 0xCF, horizon, 0xC6, len(keys))
    if sample_keys or stimuli or order:
        return b"".join((head, keys, *map(pack, (sample_keys, sample_mv, stimuli, order))))
    return head + keys + _DUTY_PLAIN


_duty_reader = msgspec.msgpack.Decoder(Duty)


def read_duty(payload: bytes) -> Duty:
    """The duty in a payload. Raises `Malformed`."""
    try:
        return _duty_reader.decode(payload)
    except msgspec.MsgspecError as error:
        raise Malformed(f"not a duty: {error}") from error


def answer(payload: bytes) -> Answer:
    """The answer in a payload. Raises `Malformed`."""
    size = len(payload) - _ANSWER.size - _ANSWER_PLAIN.size
    if size >= 0:
        m0, m1, number, m2, epoch, m3, next_step, m4, first, m5, seq, m6, n = _ANSWER.unpack_from(payload)
        if n == size and (m0, m1, m2, m3, m4, m5, m6) == (0x99, 0xCF, 0xCF, 0xCF, 0xD3, 0xCF, 0xC6):
            end = _ANSWER.size + n
            m7, sample_seq, nothing = _ANSWER_PLAIN.unpack_from(payload, end)
            if m7 == 0xCF and nothing == _NONE * 2 and not n & 7:
                keys = payload[_ANSWER.size : end]
                return Answer(number, epoch, next_step, first, seq, keys, sample_seq, b"", b"")
    row = unpack(payload)
    if not isinstance(row, list) or tuple(map(type, row)) != _ANSWERED:
        raise Malformed("not an answer")
    found = Answer(*row)
    if len(found.keys) % 8 or len(found.sample_keys) % 8 or len(found.sample_mv) != len(found.sample_keys):
        raise Malformed("an answer's keys and potentials do not match")
    return found


def answered(answer: Answer) -> bytes:
    """The payload of an `Answer`."""
    number, epoch, next_step, first, seq, keys, sample_seq, sample_keys, sample_mv = answer
    head = _ANSWER.pack(
        0x99, 0xCF, number, 0xCF, epoch, 0xCF, next_step, 0xD3, first, 0xCF, seq, 0xC6, len(keys)
    )
    if sample_keys:
        return b"".join((head, keys, *map(pack, (sample_seq, sample_keys, sample_mv))))
    return head + keys + _ANSWER_PLAIN.pack(0xCF, sample_seq, _NONE * 2)


def stamp(now_ns: int, t0_ns: int, dt_ns: int) -> int:
    """The model time of what is sent now under the wall clock, on the grid. `now_ns`, `t0_ns`: host clock."""
    return max(0, now_ns - t0_ns + LEAD_NS) // dt_ns * dt_ns


def topic(kind: bytes, name: str) -> bytes:
    return kind + b"/" + name.encode() + b"\0"


def frame(prefix: bytes, payload: Any) -> bytes:
    """`prefix` is a `topic(…)`."""
    data: bytes = prefix + pack(payload)
    return data


def hello(name: str) -> bytes:
    """A frame by which its sender knows its own voice: that of a predecessor with the same name, dead and
    still under way, would prove nothing."""
    return frame(topic(HELLO, name), [int.from_bytes(os.urandom(6))])


def split(data: bytes) -> tuple[bytes, str, bytes]:
    """Kind, name and raw payload of a frame. Raises `Malformed`."""
    head, found, payload = data.partition(b"\0")
    if not found or head[1:2] != b"/":
        raise Malformed("no topic")
    try:
        return head[:1], head[2:].decode(), payload
    except UnicodeDecodeError as error:
        raise Malformed("topic is not text") from error


def unpack(payload: bytes) -> Any:
    """The payload as plain values. Raises `Malformed`."""
    try:
        return msgpack.unpackb(payload)
    except Exception as error:  # msgpack raises a dozen kinds for bad bytes; all mean the same here
        raise Malformed(f"no msgpack: {error}") from error


def _times(
    times: Any, neurons: Any
) -> tuple[npt.NDArray[np.int64] | list[int], npt.NDArray[np.uint32] | None]:
    if neurons is None:
        if not isinstance(times, list) or not all(type(t) is int and abs(t) < MOST_NS for t in times):
            raise Malformed("times are not a list of integers, or beyond the longest run")
        return times, None
    if not (isinstance(times, bytes) and isinstance(neurons, bytes) and len(times) == 2 * len(neurons)
            and len(times) % 8 == 0):  # fmt: skip
        raise Malformed("times and neurons do not match")
    import numpy as np

    return np.frombuffer(times, "<i8"), np.frombuffer(neurons, "<u4")


def _potentials(data: bytes) -> npt.NDArray[np.float64]:
    import numpy as np

    return np.frombuffer(data, "<f8")


def _header(row: list[Any]) -> tuple[int, int, bool]:
    epoch, seq, last = row[:3]
    if type(epoch) is not int or type(seq) is not int or type(last) is not bool:
        raise Malformed("epoch, seq and last are not of their kind")
    if not (0 <= epoch < MOST_FRAMES and 0 <= seq < MOST_FRAMES):
        raise Malformed("epoch or seq is beyond what a run counts")
    return epoch, seq, last


def decode(data: bytes) -> Event:
    """The event in a frame of kind s, v, p, c, r or l. Raises `Malformed` on anything else."""
    kind, name, payload = split(data)
    if kind in (CONTROL, REPORT) and name:
        try:
            if kind == CONTROL:
                return Control(name, message.control(payload))
            return Report(name, message.report(payload))
        except (msgspec.MsgspecError, RecursionError) as error:
            raise Malformed(str(error)) from error
    row = unpack(payload)
    if not isinstance(row, list) or not name:
        raise Malformed("payload is not a list")
    try:
        if kind == SPIKES:
            epoch, seq, last = _header(row)
            times, neurons = _times(*row[3:])
            return Spikes(name, epoch, seq, times, neurons, last)
        if kind == SAMPLES:
            epoch, seq, last = _header(row)
            times, neurons = _times(*row[3:5])
            v = row[5] if neurons is None else _potentials(row[5])
            if len(v) != len(times) or (neurons is None and not all(isinstance(x, (int, float)) for x in v)):
                raise Malformed("potentials do not match times")
            return Samples(name, epoch, seq, times, v, neurons, last)
        if kind == STIMULUS:
            t_ns, weight, origin = row
            if type(t_ns) is not int or abs(t_ns) >= MOST_NS:
                raise Malformed("a stimulus' time is none")
            if not isinstance(weight, (int, float)) or not isinstance(origin, str):
                raise Malformed("a stimulus is [t, weight, origin]")
            if not abs(weight) < 1e300:
                raise Malformed("weight is not finite")
            return Stimulus(name, t_ns, float(weight), origin)
        if kind == LED:
            t_ns, rgb = row
            if type(t_ns) is not int or not isinstance(rgb, bytes) or len(rgb) % 3:
                raise Malformed("a strip is [t, rgb]")
            return Led(name, t_ns, rgb)
    except (ValueError, TypeError, IndexError) as error:
        raise error if isinstance(error, Malformed) else Malformed(str(error)) from error
    raise Malformed(f"unknown kind {kind!r}")


def encode(event: Event) -> bytes:
    """The frame of an event."""
    if isinstance(event, Spikes):
        head = topic(SPIKES, event.stream)
        return batch(head, event.epoch, event.seq, event.t_ns, event.neurons, last=event.last)
    if isinstance(event, Samples):
        head = topic(SAMPLES, event.stream)
        return batch(head, event.epoch, event.seq, event.t_ns, event.neurons, event.v_mv, event.last)
    if isinstance(event, Stimulus):
        return frame(topic(STIMULUS, event.neuron), [event.t_ns, event.weight, event.origin])
    if isinstance(event, Led):
        return frame(topic(LED, event.neuron), [event.t_ns, event.rgb])
    if isinstance(event, Control):
        return topic(CONTROL, event.to) + message.pack(event.message)
    return topic(REPORT, event.origin) + message.pack(event.message)


def batch(
    head: bytes, epoch: int, seq: int, t_ns: Any, neurons: Any, mv: Any = None, last: bool = False
) -> bytes:
    """The frame of spikes, or of potentials (mV), under the topic `head`. `neurons`: an index each; None
    where the stream is one neuron, whose frames `kernel.bus_io` writes alike."""
    if neurons is None:
        row = [epoch, seq, last, _plain(t_ns), None]
        return frame(head, row if mv is None else [*row, _plain(mv)])
    import numpy as np

    columns = [(t_ns, "<i8"), (neurons, "<u4")] + ([] if mv is None else [(mv, "<f8")])
    return frame(head, [epoch, seq, last, *(np.asarray(values, of).tobytes() for values, of in columns)])


def _plain(values: Any) -> list[Any]:
    return values.tolist() if hasattr(values, "tolist") else list(values)
