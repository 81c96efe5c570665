"""A host that speaks the link to one board, call by call. Under pace "hold" board time passes in the calls,
as fast as can be; else it is the host's.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

import pytest

from neurobus.bridge.port import Port, Unplugged
from neurobus.bridge.transport import Transport
from neurobus.wire import framing, link
from neurobus.wire.link import Message, Packet
from tests.rig import Rig


class HeldPort(Port):
    """A port of a board under pace "hold". The kernel hands bytes over in its own time, which on a busy
    machine is later than the call: so what is written is with the rig when `write` returns, and `read` has
    all that the board has sent."""

    def __init__(self, rig: Rig, board: int, baud: int):
        super().__init__(rig.ports[board], baud)
        self._rig, self._board = rig, board
        line = self._line()
        self._in, self._out = line["in"], line["out"]

    def _line(self) -> dict[str, int]:
        found: dict[str, int] = self._rig.ask("line", self._board)
        return found

    def write(self, data: bytes | memoryview) -> int:
        taken = super().write(data)
        self._in += taken
        give_up = time.monotonic() + PATIENCE_S
        while (line := self._line())["in"] < self._in and line["room"] and time.monotonic() < give_up:
            time.sleep(0.0002)
        return taken

    def read(self) -> bytes:
        data = super().read()
        self._out += len(data)
        give_up = time.monotonic() + PATIENCE_S
        while self._out < self._line()["out"] and time.monotonic() < give_up:
            more = super().read()
            data += more
            self._out += len(more)
        return data


PATIENCE_S = 1.0


class Host:
    """`heard` collects all packets but HELLO in order. `step_ms`: of one look at the port."""

    def __init__(
        self, rig: Rig, board: int = 0, baud: int = 500_000, held: bool = True, step_ms: float = 1.0
    ):
        self.rig, self.board, self.baud, self.held, self.step_ms = rig, board, baud, held, step_ms
        self.transport = Transport(random.Random(board).randint(1, 0xFFFF))
        self.port = self._opened()
        self.hello: dict[str, Any] = {}
        self.resets: list[dict[str, Any]] = []
        self.heard: list[Packet] = []
        self._held_s = self._ping_s = 0.0
        self._unsent = b""

    def _opened(self) -> Port:
        if self.held:
            return HeldPort(self.rig, self.board, self.baud)
        return Port(self.rig.ports[self.board], self.baud)

    @property
    def now(self) -> float:
        return self._held_s if self.held else time.monotonic()

    def close(self) -> None:
        self.port.close()

    def reopen(self) -> None:
        """The port has gone and come back."""
        self.port.close()
        self.port = self._opened()
        self._unsent = b""

    def pump(self, ms: float | None = None) -> list[Packet]:
        """Let `ms` pass, and handle what comes meanwhile."""
        found: list[Packet] = []
        end = self.now + (self.step_ms if ms is None else ms) * 1e-3
        while True:
            self._unsent += self.transport.take_out()
            self._unsent = self._unsent[self.port.write(self._unsent) :] if self._unsent else b""
            if self.held:
                self.rig.run(self.step_ms, self.board)
                self._held_s += self.step_ms * 1e-3
            elif not (data := self.port.read()):
                time.sleep(self.step_ms * 1e-4)
            data = self.port.read() if self.held else data
            for packet in self.transport.receive(data, self.now) if data else []:
                assert isinstance(packet, Packet), packet
                if packet.message is link.HELLO:
                    (self.resets.append if packet.values["token"] == 0 else self._met)(packet.values)
                else:
                    found.append(packet)
            self.transport.tick(self.now)
            if self.transport.ready and self.now >= self._ping_s:  # a silent host is taken to be gone
                self._ping_s = self.now + 0.3
                self.transport.send(link.PING, self.now, token=0)
            if self.now >= end - 1e-9:
                self.heard += found
                return found

    def _met(self, hello: dict[str, Any]) -> None:
        self.hello = hello

    def open(self, timeout_ms: float = 3000) -> dict[str, Any]:
        """A session, anew."""
        self.hello = {}
        self.transport.ask(self.now)
        give_up = self.now + timeout_ms * 1e-3
        while not self.hello:
            if self.now > give_up:
                pytest.fail(f"no HELLO within {timeout_ms} ms; {self.rig.stats(self.board)}")
            self.pump()
        return self.hello

    def send(self, message: Message, **values: Any) -> None:
        self.transport.send(message, self.now, **values)

    def wait(self, *messages: Message, timeout_ms: float = 2000) -> Packet:
        """The next packet of one of these messages, or PROBLEM where that is not among them (which fails)."""
        give_up = self.now + timeout_ms * 1e-3
        while True:
            for packet in self.pump():
                if packet.message in messages:
                    return packet
                if packet.message is link.PROBLEM:
                    fault = [name for name, n in link.FAULT.items() if n == packet.values["fault"]]
                    pytest.fail(f"PROBLEM {fault} {packet.values['detail']}")
            if self.now > give_up:
                names = ", ".join(message.name for message in messages)
                pytest.fail(f"no {names} within {timeout_ms} ms; {self.rig.stats(self.board)}")

    def settle(self, timeout_ms: float = 2000) -> None:
        """Until all that was sent is acknowledged."""
        give_up = self.now + timeout_ms * 1e-3
        while self.transport.waiting:
            if self.now > give_up:
                pytest.fail(
                    f"{self.transport.waiting} messages not acknowledged; {self.rig.stats(self.board)}"
                )
            self.pump()

    # -- a session's verbs ------------------------------------------------------------------------------

    def begin(self, image: bytes) -> None:
        """Send it, but for the COMMIT."""
        self.send(link.BEGIN, chip=self.hello["chip"], length=len(image))
        for at in range(0, len(image), link.CHUNK):
            self.send(link.WRITE, offset=at, bytes=image[at : at + link.CHUNK])

    def load(self, image: bytes) -> Packet:
        self.begin(image)
        self.send(link.COMMIT, crc=framing.crc16(image))
        return self.wait(link.LOADED)

    def read(self, whole: int, offset: int = 0, length: int = 0) -> bytes:
        """The image from `offset` on: `length` bytes, or for 0 to its end, which is at `whole`."""
        self.send(link.READ, offset=offset, length=length)
        data = b""
        while len(data) < (length or whole - offset):
            for packet in self.pump():
                if packet.message is link.IMAGE:
                    assert packet.values["offset"] == offset + len(data)
                    data += packet.values["bytes"]
        return data

    def go(self, tick: int, timeout_ms: float = 20_000) -> list[int]:
        """Step to a tick; stamps of the spikes on the way, as 16-bit ticks."""
        self.send(link.HORIZON, tick=tick)
        begun, give_up = len(self.heard), self.now + timeout_ms * 1e-3
        while not any(p.message is link.DONE and p.values["tick"] == tick for p in self.heard[begun:]):
            if self.now > give_up:
                pytest.fail(f"not at tick {tick} within {timeout_ms} ms; {self.rig.stats(self.board)}")
            self.pump()
        return [p.values["tick"] for p in self.heard[begun:] if p.message is link.SPIKE]

    def stats(self) -> dict[str, int]:
        """What the firmware counted."""
        self.send(link.TELL)
        return self.wait(link.STATS).values


def plugged_out(host: Host) -> bool:
    """Whether the port has gone."""
    try:
        Port.read(host.port)
    except Unplugged:
        return True
    return False


def image(synapses: Sequence[int] = (), plastic: int = 0, marks: Sequence[int] = (), **fields: int) -> bytes:
    """An image of the chip `lif`: weights, how many of them learn, and fields other than at rest."""
    params = {
        "d_m": 650, "d_ex": 3200, "d_in": 3200, "c_ex": 2000, "c_in": 2000, "b": 0, "V_th": 15 << 16,
        "V_reset": 0, "t_ref": 0, "w_max": 30_000, "A_plus": 100, "A_minus": 105, "k_plus": 300,
        "k_minus": 300, "shift": 3, "poke": 4000,
        "bar": min((1 << 31) // max(fields.get("V_th", 15 << 16), 1), 0xFFFF),
    }  # fmt: skip
    state = dict.fromkeys((field.name for field in link.LIF_STATE.fields), 0)
    values = {**params, **state, "synapses": len(synapses), "plastic": plastic, **fields}
    weights = b"".join(w.to_bytes(2, "little", signed=True) for w in synapses)
    head = link.LIF_PARAMS.pack({f.name: values[f.name] for f in link.LIF_PARAMS.fields})
    body = link.LIF_STATE.pack({f.name: values[f.name] for f in link.LIF_STATE.fields})
    return head + body + weights + bytes(marks or [0] * plastic)
