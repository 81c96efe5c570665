"""Who is there: asks every port for HELLO, without disturbing what runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from neurobus.bridge import ports
from neurobus.bridge.holders import holder
from neurobus.bridge.port import Line, Port, PortError, Unplugged, Why
from neurobus.bridge.ports import Found
from neurobus.bridge.transport import HELLO_HEAD, foreign
from neurobus.wire import framing, link

BAUDS = (500_000, 250_000, 1_000_000)
"""Rates that boards are built for, the most likely first: at 16 MHz, at 8 MHz, and by who is in a hurry."""
EACH_S = 0.12
"""How long a rate is tried before the next."""
SIMULATED_S, REAL_S = 1.5, 3.0
"""How long a port is asked. An Uno that was reset by opening its port sits in its bootloader first."""


class State(Enum):
    BOARD = "board"
    """It said HELLO, and speaks as we do."""
    OTHER = "other"
    """It said HELLO of another version: it must be flashed again."""
    SILENT = "silent"
    HELD = "held"
    DENIED = "denied"
    GONE = "gone"
    BROKEN = "broken"


@dataclass(frozen=True)
class Identity:
    """What a port has behind it. `hello`: fields of HELLO by name, of a BOARD. `word`: for people."""

    port: Found
    state: State
    baud: int | None = None
    hello: dict[str, Any] = field(default_factory=dict)
    word: str = ""

    def row(self) -> dict[str, Any]:
        """As plain values, names in place of numbers."""
        said = {
            key: _name(table, self.hello[key]) if (table := _TABLES.get(key)) else self.hello[key]
            for key in self.hello
            if key != "token"
        }
        if said:
            if said["serial"] == link.NO_SERIAL:
                said["serial"] = None
            said["reset"] = [name for name, bit in link.RESET.items() if self.hello["reset"] & bit]
        return {
            "port": self.port.name, "simulated": self.port.simulated, "description": self.port.description,
            "vid": self.port.vid, "pid": self.port.pid, "usb_serial": self.port.serial_number,
            "state": self.state.value, "baud": self.baud, "word": self.word, **said,
        }  # fmt: skip


_TABLES = {"mcu": link.MCU, "chip": link.CHIP, "led": link.LED, "held": link.HELD}
_REFUSED = {Why.MISSING: State.GONE, Why.DENIED: State.DENIED, Why.HELD: State.HELD, Why.BROKEN: State.BROKEN}


def _name(table: dict[str, int], value: int) -> Any:
    return next((name for name, number in table.items() if number == value), value)


async def identify_all(found: list[Found] | None = None, timeout_s: float | None = None) -> list[Identity]:
    """Everybody at once, in the order of `found` (all ports there are, unless given)."""
    found = ports.found() if found is None else found
    return list(await asyncio.gather(*(identify(port, timeout_s) for port in found)))


async def identify(found: Found, timeout_s: float | None = None) -> Identity:
    """Open a port, ask, close it again."""
    try:
        port = Port(found.name, BAUDS[0])
    except PortError as error:
        return Identity(found, _REFUSED[error.why], word=str(error).removeprefix(f"{found.name}: "))
    if timeout_s is None:
        timeout_s = SIMULATED_S if found.simulated else REAL_S
    token = random.SystemRandom().randint(1, 0xFFFF)
    answer: asyncio.Future[Identity] = asyncio.get_running_loop().create_future()
    decoder = framing.Decoder()

    def received(data: bytes) -> None:
        for payload in decoder.feed(data):
            identity = _read(found, port.baud, payload, token)
            if identity is not None and not answer.done():
                answer.set_result(identity)

    def unplugged(why: str) -> None:
        if not answer.done():
            answer.set_result(Identity(found, State.GONE, word="unplugged while it was asked"))

    line = Line(port, received, unplugged)
    try:
        async with asyncio.timeout(timeout_s):
            for turn in range(1 << 30):
                # An adapter may not have the rate; where the port is gone, `unplugged` will be called.
                with contextlib.suppress(PortError, Unplugged):
                    port.set_baud(BAUDS[turn % len(BAUDS)])
                line.send(b"\0" + link.encode(link.ASK, token=token, take=0))
                done, _ = await asyncio.wait([answer], timeout=EACH_S)
                if done:
                    break
        return answer.result()
    except TimeoutError:
        if other := await asyncio.to_thread(holder, found.name):
            return Identity(found, State.HELD, word=f"does not answer; {other} has it open too")
        return Identity(
            found, State.SILENT, word="does not answer: no neurobus firmware, or none at these rates"
        )
    finally:
        line.close()


def _read(found: Found, baud: int, payload: bytes, token: int) -> Identity | None:
    """The identity that a payload gives away: None when it is no HELLO."""
    if len(payload) < HELLO_HEAD or payload[0] != link.HELLO.id:
        return None
    if (other := foreign(payload)) is not None:
        word = (
            f"speaks version {other.version}, schema {other.schema:08x}; this is version {link.VERSION}, "
            f"schema {link.SCHEMA:08x}: flash it again, neurobus flash "
            f"{os.path.basename(found.name)} --board …"
        )
        return Identity(found, State.OTHER, baud, word=word)
    try:
        hello = link.decode(payload).values
    except link.Malformed:
        return None
    return Identity(found, State.BOARD, baud, hello) if hello["token"] in (token, 0) else None
