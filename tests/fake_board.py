"""A board made of Python: the board's side of `neurobus.wire.link`, with a small integer neuron behind it.

It is for tests of the host's side that need no simulator: sans-IO like the session it talks to, and with
faults at will (`reset`, `deaf`). `Line` joins the two, and loses, damages, repeats and delays bytes.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from neurobus.wire import framing, link
from nodes import chip

TIMER_HZ = 250_000
RING, QUEUE = 128, 32


@dataclass
class Chip:
    """V' = V - V/16 + I, threshold 1000, weights as they are; one tick of refractoriness. Integers."""

    image: bytes = b""
    tick: int = 0
    V: int = 0
    weights: list[int] = field(default_factory=list)
    x: int = 0

    HEAD = 12

    @classmethod
    def packed(cls, tick: int, V: int, weights: list[int]) -> bytes:
        head = tick.to_bytes(4, "little") + V.to_bytes(4, "little", signed=True)
        head += len(weights).to_bytes(4, "little")
        return head + b"".join(w.to_bytes(2, "little", signed=True) for w in weights)

    @classmethod
    def of(cls, image: bytes) -> Chip:
        n = int.from_bytes(image[8:12], "little")
        weights = [int.from_bytes(image[12 + 2 * i : 14 + 2 * i], "little", signed=True) for i in range(n)]
        chip = cls(image, int.from_bytes(image[:4], "little"), weights=weights)
        chip.V = int.from_bytes(image[4:8], "little", signed=True)
        return chip

    def now(self) -> bytes:
        return self.packed(self.tick, self.V, self.weights)

    def step(self) -> bool:
        self.V += self.x - (self.V >> 4)
        self.x = 0
        self.tick += 1
        if self.V >= 1000:
            self.V = 0
            return True
        return False


class TwinChip:
    """The chip `lif` in plain Python: the functions of `nodes.chip` on an image of `neurobus.wire.link`."""

    def __init__(self, image: bytes):
        self.p = link.LIF_PARAMS.unpack(image)
        state = link.LIF_STATE.unpack(image[link.LIF_PARAMS.size :])
        self.tick, self.post = state["tick"], self._unit(state["post"], state["tick"])
        self.V, self.I_ex, self.I_in, self.r = state["V"], state["I_ex"], state["I_in"], state["r"]
        self.head = image[: link.LIF_PARAMS.size]
        body = image[link.LIF_PARAMS.size + link.LIF_STATE.size :]
        n, plastic = self.p["synapses"], self.p["plastic"]
        self.weights = [int.from_bytes(body[2 * i : 2 * i + 2], "little", signed=True) for i in range(n)]
        self.pre = [self._unit(mark, self.tick) for mark in body[2 * n : 2 * n + plastic]]
        self.x_ex = self.x_in = 0

    @classmethod
    def of(cls, image: bytes) -> TwinChip:
        return cls(image)

    def _unit(self, mark: int, tick: int) -> int:
        now = tick >> self.p["shift"]
        return now - (now - (mark - 1)) % 255 + 1 if mark else 0

    def _mark(self, unit: int) -> int:
        now = self.tick >> self.p["shift"]
        return (unit - 1) % 255 + 1 if unit and now - (unit - 1) < chip.FORGOTTEN else 0

    def now(self) -> bytes:
        units = self.tick >> self.p["shift"]
        state = link.LIF_STATE.pack({
            "tick": self.tick, "V": self.V, "I_ex": self.I_ex, "I_in": self.I_in, "r": self.r,
            "post": self._mark(self.post), "x_ex": min(self.x_ex, 65535), "x_in": min(self.x_in, 65535),
            "unit": units % 255 + 1, "sweep": 64 - units % 64,
        })  # fmt: skip
        weights = b"".join(w.to_bytes(2, "little", signed=True) for w in self.weights)
        return self.head + state + weights + bytes(map(self._mark, self.pre))

    def input(self, synapse: int) -> None:
        w, p = self.weights[synapse], self.p
        if synapse < p["plastic"]:
            now = (self.tick >> p["shift"]) + 1
            if self.post and now - self.post < chip.FORGOTTEN:
                w = chip.depressed(w, now - self.post, p["A_minus"], p["k_minus"])
                self.weights[synapse] = w
            self.pre[synapse] = now
        self.kick(w)

    def kick(self, weight: int) -> None:
        if weight >= 0:
            self.x_ex += weight
        else:
            self.x_in -= weight

    def step(self) -> bool:
        p = self.p
        V = self.V
        if self.r == 0:
            V = chip.membrane(V, self.I_ex, self.I_in, p["b"], p["d_m"], p["c_ex"], p["c_in"])
        else:
            self.r -= 1
        self.I_ex = chip.current(self.I_ex, p["d_ex"], self.x_ex)
        self.I_in = chip.current(self.I_in, p["d_in"], self.x_in)
        self.x_ex = self.x_in = 0
        fired = p["V_th"] <= V
        if fired:
            V, self.r, now = p["V_reset"], p["t_ref"], (self.tick >> p["shift"]) + 1
            self.post = now
            for j, pre in enumerate(self.pre if p["A_plus"] else ()):
                if pre and now - pre < chip.FORGOTTEN:
                    w = self.weights[j]
                    self.weights[j] = chip.potentiated(w, now - pre, p["A_plus"], p["k_plus"], p["w_max"])
        self.V = V
        self.tick += 1
        return fired


class RaceChip:
    """The chip `race` in plain Python: `firmware/avr/chip_race.c`, function for function."""

    OPEN, INHIBITED, MINE, MATE, EARLIER, FOREIGN, VIRGIN, TAKEN = (1 << bit for bit in range(8))
    NONE = 0xFFFF

    def __init__(self, image: bytes):
        self.p = link.RACE_PARAMS.unpack(image)
        self.head = image[: link.RACE_PARAMS.size]
        self.s = link.RACE_STATE.unpack(image[link.RACE_PARAMS.size :])
        body = image[link.RACE_PARAMS.size + link.RACE_STATE.size :]
        n = self.p["inputs"]
        self.weights, self.levels = list(body[:n]), list(body[n : 2 * n])

    @classmethod
    def of(cls, image: bytes) -> RaceChip:
        return cls(image)

    @property
    def tick(self) -> int:
        return self.s["tick"]

    def now(self) -> bytes:
        return self.head + link.RACE_STATE.pack(self.s) + bytes(self.weights) + bytes(self.levels)

    def kick(self, weight: int) -> None:
        self.s["flags"] |= self.TAKEN
        self.s["V"] = max(0, min(self.s["V"] + weight, 0xFFFF))

    def input(self, synapse: int) -> None:
        p, s = self.p, self.s
        t = min(s["tick"] - s["began"], self.NONE - 1)
        s["flags"] |= self.TAKEN
        if synapse >= p["learns"]:
            s["order"], s["began"] = 1, s["tick"]
            s["flags"] |= self.OPEN
        elif not s["flags"] & self.OPEN:
            if p["inputs"] <= synapse < p["youngers"] and t >= p["delay"]:
                s["claim"] = self.NONE
        elif synapse < p["inputs"]:
            s["S"] += self.weights[synapse]
            late = min((t - p["start"]) >> p["level"], p["top"]) if t > p["start"] else 0
            self.levels[synapse] = p["top"] - late
        elif synapse < p["youngers"]:
            s["flags"] |= self.MATE
            ahead = t - p["delay"] - s["fired"]
            if s["fired"] == self.NONE:
                s["flags"] |= self.INHIBITED | self.EARLIER
            elif ahead < 0 or (ahead == 0 and synapse < p["elders"]):
                s["flags"] |= self.EARLIER
        elif synapse < p["foreign"]:
            s["flags"] |= self.FOREIGN
            if s["fired"] == self.NONE and not s["flags"] & self.MINE:
                s["flags"] |= self.INHIBITED
        elif synapse < p["teachers"]:
            s["flags"] |= self.MINE
        else:
            s["order"] = 2

    def _weigh(self) -> None:
        square = sum(w * w for w in self.weights)
        self.s["flags"] &= ~self.VIRGIN
        self.s["flags"] |= 0 if square else self.VIRGIN
        self.s["threshold"] = min((square >> self.p["shift"] >> 1) + self.p["V_th"], 0xFFFF)

    def _move(self, shift: int, way: int) -> None:
        moved = (
            w + way * ((8 * level - w) >> shift) for w, level in zip(self.weights, self.levels, strict=True)
        )
        self.weights = [max(0, min(w, 127)) for w in moved]
        self._weigh()

    def _carry_out(self) -> None:
        p, s = self.p, self.s
        if s["order"] == 1:
            s["V"] = s["S"] = 0
            s["fired"] = s["claim"] = self.NONE
            self.levels = [0] * len(self.levels)
            s["flags"] = self.OPEN | s["flags"] & self.VIRGIN
            self._weigh()
        elif s["order"] == 2:
            s["flags"] &= ~self.OPEN
            s["began"] = s["tick"]
            mine, foreign = s["flags"] & self.MINE, s["flags"] & self.FOREIGN
            if s["flags"] & self.VIRGIN:
                if mine and (foreign or not s["flags"] & self.MATE):
                    s["claim"] = (p["elders"] - p["inputs"]) * p["delay"]
            elif s["fired"] != self.NONE and not mine:
                self._move(p["repel"], -1)
            elif s["fired"] != self.NONE and foreign and not s["flags"] & self.EARLIER:
                self._move(p["attract"], 1)
        s["order"] = 0

    def step(self) -> bool:
        s, fired = self.s, False
        s["flags"] &= ~self.TAKEN
        self._carry_out()
        if s["claim"] != self.NONE:
            if s["claim"] == 0:
                self._move(0, 1)
                fired = True
            s["claim"] = (s["claim"] - 1) & self.NONE
        if s["flags"] & (self.OPEN | self.INHIBITED) == self.OPEN and s["fired"] == self.NONE:
            s["V"] = min(s["V"] + (s["S"] >> self.p["shift"]), 0xFFFF)
            if s["V"] >= s["threshold"]:
                s["fired"] = min(s["tick"] - s["began"], self.NONE - 1)
                fired = True
        s["tick"] += 1
        return fired


@dataclass
class FakeBoard:
    """`receive` and `tick` with the time in s; `take_out` what it sends."""

    serial: int = 0xA1
    schema: int = link.SCHEMA
    version: int = link.VERSION
    drift: float = 0.0
    kind: type[Chip] | type[TwinChip] | type[RaceChip] = Chip
    timer_hz: int = TIMER_HZ
    deaf: bool = False
    """Neither hears nor speaks: a program that hangs."""

    def __post_init__(self) -> None:
        self.nonce = 1
        self.counts = {"late": 0, "problems": 0}
        self._out: list[bytes] = []
        self._decoder = framing.Decoder(90)
        self._start("power")

    def _start(self, why: str) -> None:
        self._reset_cause = link.RESET[why]
        self.chip: Chip | TwinChip | RaceChip | None = None
        self._writing: tuple[int, bytearray] | None = None
        self._session()
        self._running = False
        self._horizon = 0
        self._promise: int | None = None
        self._inputs: list[tuple[int, int | None, int]] = []
        self._lit: tuple[str, ...] = ()

    def _session(self) -> None:
        self._seq = self._taken = self._acked = 0
        self._outstanding: deque[tuple[int, link.Message, bytes]] = deque()
        self._moved = 0.0
        self._asked = False
        self._ack_due: float | None = None

    def reset(self, why: str = "external") -> None:
        """The reset button."""
        self.nonce += 1
        self._start(why)
        self._hello(0)

    def clock(self, now: float) -> int:
        return int((now + 100.0) * self.timer_hz * (1 + self.drift)) & 0xFFFFFFFF

    # -- sending ------------------------------------------------------------------------------------

    def _emit(self, message: link.Message, seq: int, body: bytes) -> None:
        self._out.append(framing.encode(bytes((message.id, seq, self._taken)) + body))

    def _say(self, message: link.Message, now: float, **values: Any) -> None:
        body = link.payload(message, **values)[3:]
        if not message.sequenced:
            self._emit(message, 0, body)
            return
        self._seq = (self._seq + 1) & 0xFF
        if not self._outstanding:
            self._moved = now
        self._outstanding.append((self._seq, message, body))
        self._emit(message, self._seq, body)

    @property
    def _chip_name(self) -> str:
        return "race" if self.kind is RaceChip else "lif"

    def _hello(self, token: int) -> None:
        body = link.payload(
            link.HELLO, token=token, version=self.version, schema=self.schema, mcu=link.MCU["host"],
            chip=link.CHIP[self._chip_name], held=0, reset=self._reset_cause, nonce=self.nonce,
            serial=self.serial, clock_hz=16_000_000, timer_hz=self.timer_hz, room=400, synapses=100, leds=8,
            led=2, rx_ring=RING, queue=QUEUE,
        )  # fmt: skip
        self._emit(link.HELLO, 0, body[3:])

    def take_out(self) -> bytes:
        data = b"" if self.deaf else b"".join(self._out)
        self._out.clear()
        return data

    # -- hearing ------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        if self.deaf:
            return
        bad = self._decoder.bad
        for payload in self._decoder.feed(data):
            try:
                self._packet(link.decode(payload), now)
            except link.Malformed:
                self.counts["problems"] += 1
        if self._decoder.bad > bad:
            self._want()
        self._run(now)

    def _want(self) -> None:
        if not self._asked:
            self._asked = True
            self._emit(link.RESEND, 0, b"")

    def _packet(self, p: link.Packet, now: float) -> None:
        if p.message is link.ASK:
            if p.values["take"]:
                self._running, self._promise = False, None
                self._session()
            self._hello(p.values["token"])
            return
        if link.is_news(p.ack, self._acked, len(self._outstanding)):
            for _ in range((p.ack - self._acked) & 0xFF):
                self._outstanding.popleft()
            self._acked, self._moved = p.ack, now
        if p.message is link.RESEND:
            self._again(now)
        elif p.message is link.PING:
            tick = self.chip.tick if self.chip else 0
            self._say(link.PONG, now, token=p.values["token"], clock=self.clock(now), tick=tick, free=99,
                      queued=len(self._inputs))  # fmt: skip
        elif p.message.sequenced:
            if p.seq != (self._taken + 1) & 0xFF:
                self._ack_due = now
                if 0 < (p.seq - self._taken) & 0xFF < 128:
                    self._want()
                return
            if p.message in (link.INPUT, link.KICK) and len(self._inputs) > QUEUE:
                self._want()
                return
            self._taken, self._asked, self._ack_due = p.seq, False, now
            self._obey(p, now)

    def _again(self, now: float) -> None:
        self._moved = now
        for seq, message, body in self._outstanding:
            self._emit(message, seq, body)

    def _obey(self, p: link.Packet, now: float) -> None:
        m, neuron = p.message, self.chip
        if m is link.BEGIN:
            self.chip, self._writing, self._running = (
                None,
                (p.values["length"], bytearray(p.values["length"])),
                False,
            )
            self._inputs.clear()
            self._promise = None
        elif m is link.WRITE and self._writing:
            self._writing[1][p.values["offset"] : p.values["offset"] + len(p.values["bytes"])] = p.values[
                "bytes"
            ]
        elif m is link.COMMIT and self._writing:
            image = bytes(self._writing[1])
            if framing.crc16(image) != p.values["crc"]:
                self._say(link.PROBLEM, now, fault=link.FAULT["commit"], detail=0)
                return
            self.chip = self.kind.of(image)
            self._horizon = self.chip.tick
            self._say(link.LOADED, now, tick=self.chip.tick, length=len(image), crc=p.values["crc"])
        elif m in (link.IDENTIFY, link.PALETTE, link.MIRROR):
            self._lit = (*self._lit, m.name)
        elif m is link.NAME:
            self.serial = p.values["serial"]
        elif neuron is None:
            self._say(link.PROBLEM, now, fault=link.FAULT["empty"], detail=m.id)
        elif m is link.INPUT or m is link.KICK:
            due = link.widen(p.values["tick"], neuron.tick)
            if not self._running:
                self._horizon = max(self._horizon, due)
                self._run(now)
            rows = (
                [(s, neuron.weights[s] if isinstance(neuron, Chip) else 0) for s in p.values["synapses"]]
                if m is link.INPUT
                else [(None, p.values["weight"])]
            )
            if due < neuron.tick:
                self.counts["late"] += len(rows)
                numbers = tuple(link.NO_SYNAPSE if synapse is None else synapse for synapse, _ in rows)
                self._say(link.LATE, now, synapses=numbers, due=due & 0xFFFF, acts=neuron.tick & 0xFFFF)
            for synapse, weight in rows:
                if due <= neuron.tick:
                    self._act(neuron, synapse, weight)
                else:
                    self._inputs.append((due, synapse, weight))
        elif m is link.HORIZON:
            self._horizon = max(self._horizon, p.values["tick"])
            self._promise = p.values["tick"]
        elif m is link.RUN:
            self._running = True
            self._due = p.values["tick"], p.values["at"], p.values["period"]
        elif m is link.STOP:
            self._running = False
            self._horizon = neuron.tick
            self._say(link.DONE, now, tick=neuron.tick)
        elif m is link.READ:
            image = neuron.now()
            end = p.values["offset"] + p.values["length"] if p.values["length"] else len(image)
            for at in range(p.values["offset"], end, link.CHUNK):
                self._say(link.IMAGE, now, offset=at, bytes=image[at : min(at + link.CHUNK, end)])
        elif m is link.CHECK:
            image = neuron.now()
            self._say(link.CHECKED, now, tick=neuron.tick, length=len(image), crc=framing.crc16(image))

    @staticmethod
    def _act(neuron: Chip | TwinChip | RaceChip, synapse: int | None, weight: int) -> None:
        if isinstance(neuron, Chip):
            neuron.x += weight
        elif synapse is None:
            neuron.kick(weight)
        else:
            neuron.input(synapse)

    def press(self, now: float, weight: int = 300) -> None:
        """The button. On a stepped board it does not act: the host says when."""
        if self.chip is not None:
            self._say(link.POKE, now, tick=self.chip.tick & 0xFFFF, weight=weight)
            if self._running:
                self._inputs.append((self.chip.tick, None, weight))

    # -- time ---------------------------------------------------------------------------------------

    def _due_now(self, now: float) -> int:
        """The tick up to which updates are due."""
        tick, at, period = self._due
        since = (self.clock(now) - at + (1 << 31)) % (1 << 32) - (1 << 31)
        return tick + since * 65536 // period + 1

    def _run(self, now: float) -> None:
        neuron = self.chip
        if neuron is None:
            return
        to = self._horizon
        if self._running:
            to = max(to, self._due_now(now))
        while neuron.tick < to and len(self._outstanding) < 40:
            for entry in [entry for entry in self._inputs if entry[0] <= neuron.tick]:
                self._inputs.remove(entry)
                self._act(neuron, entry[1], entry[2])
            if neuron.step():
                self._say(link.SPIKE, now, tick=neuron.tick & 0xFFFF)
        if self._promise is not None and neuron.tick >= self._promise:
            self._promise = None
            self._say(link.DONE, now, tick=neuron.tick)

    def tick(self, now: float) -> None:
        if self.deaf:
            return
        self._run(now)
        if self._outstanding and now >= self._moved + 0.03:
            self._again(now)
        if self._ack_due is not None and now >= self._ack_due:
            self._ack_due = None
            self._emit(link.ACK, 0, bytes((99,)))


@dataclass
class Line:
    """Two wires with a delay and faults: `wrong` is the chance of a byte to be damaged, lost or doubled."""

    wrong: float = 0.0
    delay_s: float = 0.0004
    rng: random.Random = field(default_factory=lambda: random.Random(1))
    cut: bool = False

    def __post_init__(self) -> None:
        self._on_way: list[deque[tuple[float, bytes]]] = [deque(), deque()]
        self.damaged = 0

    def put(self, way: int, data: bytes, now: float) -> None:
        if not data or self.cut:
            return
        if self.wrong:
            out = bytearray()
            for byte in data:
                if self.rng.random() < self.wrong:
                    self.damaged += 1
                    kind = self.rng.randrange(3)
                    if kind == 0:
                        out.append(byte ^ (1 << self.rng.randrange(8)))
                    elif kind == 1:
                        out += bytes((byte, byte))
                else:
                    out.append(byte)
            data = bytes(out)
        jitter = self.rng.random() * self.delay_s * 0.3
        self._on_way[way].append((now + self.delay_s + jitter, data))

    def get(self, way: int, now: float) -> bytes:
        found = []
        while self._on_way[way] and self._on_way[way][0][0] <= now:
            found.append(self._on_way[way].popleft()[1])
        return b"".join(found)
