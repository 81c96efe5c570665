"""How controls and reports are declared, packed and read. The rows stand in `verbs` and `lease`.

On the bus both are `[verb, {field: value}]` in msgpack (`neurobus.wire.bus`). A row is a class: the sender
makes one, the receiver matches it. A verb without a row, a field that is missing or of another type is
Malformed at the receiver; a field that the row does not know is passed over. Where senders say different
things under one verb, each has a row, and a message is of the first row that fits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from enum import Flag, auto
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec
from msgspec import Meta, Struct

from neurobus.bounds import LONGEST_RUN, MOST_NS

Whole = Annotated[int, Meta(gt=-MOST_NS, lt=MOST_NS)]
Count = Annotated[int, Meta(ge=0, lt=MOST_NS)]
Step = Annotated[int, Meta(ge=0, le=LONGEST_RUN)]
Finite = Annotated[float, Meta(gt=-1e18, lt=1e18)]


class Party(Flag):
    """Who speaks on the bus. A process hosts neurons; a program is a recorder, a witness or a user's own."""

    PROCESS = auto()
    CONDUCTOR = auto()
    LAUNCHER = auto()
    PROGRAM = auto()
    BRIDGE = auto()
    OBSERVER = auto()


PROCESS, CONDUCTOR, LAUNCHER, PROGRAM, BRIDGE, OBSERVER = Party


class Message(Struct, omit_defaults=True):
    """Base of all rows. `receiver` acts on it. A field that has its default is not sent."""

    verb: ClassVar[str]
    sender: ClassVar[Party]
    receiver: ClassVar[Party]

    def payload(self) -> Any:
        """What is packed as the map of fields."""
        return self

    @classmethod
    def reader(cls) -> Callable[[bytes | msgspec.Raw], Any]:
        """From that map to a message. Raises msgspec.ValidationError."""
        return msgspec.msgpack.Decoder(cls).decode


class ControlMessage(Message):
    """A word to somebody."""


class ReportMessage(Message):
    """A word from somebody."""


class Control(Struct):
    """A control on its way. `to` is "*", a stream, or the name of a program."""

    to: str
    message: ControlMessage


class Report(Struct):
    """A report on its way. `origin` is a stream, or the name of the conductor, a program or the bridge."""

    origin: str
    message: ReportMessage


M = TypeVar("M", bound=type[Message])
CONTROLS: dict[str, list[type[ControlMessage]]] = {}
REPORTS: dict[str, list[type[ReportMessage]]] = {}


def row(verb: str, sender: Party, receiver: Party) -> Callable[[M], M]:
    """Enter a class into the table of controls or reports."""

    def enter(kind: M) -> M:
        kind.verb, kind.sender, kind.receiver = verb, sender, receiver
        table: Any = CONTROLS if issubclass(kind, ControlMessage) else REPORTS
        table.setdefault(verb, []).append(kind)
        return kind

    return enter


# -- bytes --------------------------------------------------------------------------------------------------


def _plain(value: Any) -> float:
    if isinstance(value, float):  # one of numpy's
        return float(value)
    raise TypeError(f"{type(value).__name__} does not go over the bus")


_pack = msgspec.msgpack.Encoder(enc_hook=_plain).encode
_verb_and_fields = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw])


@functools.cache
def _reader(kind: type[Message]) -> Callable[[bytes | msgspec.Raw], Any]:
    return kind.reader()


def pack(message: Message) -> bytes:
    """`[verb, {…}]`."""
    return _pack((message.verb, message.payload()))


def control(payload: bytes) -> ControlMessage:
    """The control in a payload. Raises msgspec.MsgspecError."""
    found: ControlMessage = _message(payload, CONTROLS)
    return found


def report(payload: bytes) -> ReportMessage:
    """The report in a payload. Raises msgspec.MsgspecError."""
    found: ReportMessage = _message(payload, REPORTS)
    return found


def _message(payload: bytes, table: dict[str, Any]) -> Any:
    verb, packed = _verb_and_fields.decode(payload)
    *others, last = table.get(verb) or [None]
    if last is None:
        raise msgspec.ValidationError(f"no verb '{verb}'")
    for kind in others:
        try:
            return _reader(kind)(packed)
        except msgspec.ValidationError:
            continue
    return _reader(last)(packed)


def fields(message: Message) -> dict[str, Any]:
    """As plain values: what a log keeps, and what is shown."""
    found: dict[str, Any] = msgspec.to_builtins(message.payload(), builtin_types=(bytes,))
    return found
