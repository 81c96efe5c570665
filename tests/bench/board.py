"""[board_bare, board_trip, learning_1 … learning_32] The firmware alone: a simulated Uno, a bare loop.

`Bare` is what the bridge is held against: no event loop, no bus, no accounts but what the board needs: acks,
credits, and to be told again what it asks for.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from statistics import median, quantiles

import serial

from neurobus.wire import framing, link
from tests.bench.cluster import Failed
from tests.bench.figure import RUNS, Figure, spread
from tests.firmware.boards import board, symbols
from tests.firmware.host import Host, image
from tests.rig import Rig

BAUD = 500_000
SECONDS = 2.0
TRIPS = 200
NETWORKS = (1, 8, 32)
PLASTIC = 31
WINDOWS = 40


def measure() -> list[Figure]:
    return [*_bare(), *_learning()]


# -- one board, a bare loop -------------------------------------------------------------------------


class Bare:
    """A board in session over pyserial. `taken`: the last seq of the board's."""

    def __init__(self, port: str):
        self.serial = serial.Serial(port, BAUD, timeout=0)
        self.decoder = framing.Decoder()
        self.seq = self.taken = self.told = self.acked = 0
        self.credit = 0
        self.frames: list[bytes] = []
        self.spikes = self.resent = self.tick = 0
        self.open()

    def open(self) -> None:
        token = 1
        give_up = time.monotonic() + 5
        while not self.credit:
            token += 1
            self.serial.write(link.encode(link.ASK, token=token, take=1))
            time.sleep(0.05)
            for payload in self.decoder.feed(self.serial.read(4096)):
                if payload[0] == link.HELLO.id:
                    hello = link.decode(payload).values
                    if hello["token"] == token:
                        self.credit = hello["rx_ring"] - link.RESERVE
            if time.monotonic() > give_up:
                raise Failed("the simulated board does not answer")

    def frame(self, id: int, body: bytes) -> bytes:
        self.seq = (self.seq + 1) & 0xFF
        self.told = self.taken
        frame = framing.encode(bytes((id, self.seq, self.taken)) + body)
        self.frames.append(frame)
        return frame

    def room(self, size: int) -> bool:
        return sum(map(len, self.frames)) + size <= self.credit

    def hear(self) -> None:
        for payload in self.decoder.feed(self.serial.read(4096)):
            news = (payload[2] - self.acked) & 0xFF
            if 0 < news <= len(self.frames):
                del self.frames[:news]
                self.acked = payload[2]
            if payload[0] >= 0x40:
                self.taken = payload[1]
                self.spikes += payload[0] == link.SPIKE.id
            elif payload[0] == link.RESEND.id:
                self.resent += 1
                self.serial.write(b"".join(self.frames))

    def load(self, whole: bytes) -> None:
        frames = [(link.BEGIN, link.payload(link.BEGIN, chip=link.CHIP["lif"], length=len(whole))[3:])]
        for at in range(0, len(whole), link.CHUNK):
            part = whole[at : at + link.CHUNK]
            frames.append((link.WRITE, link.payload(link.WRITE, offset=at, bytes=part)[3:]))
        frames.append((link.COMMIT, link.payload(link.COMMIT, crc=framing.crc16(whole))[3:]))
        for message, body in frames:
            while not self.room(len(body) + 7):
                self.hear()
            self.serial.write(self.frame(message.id, body))
        while self.frames:
            self.hear()
        self.ack()

    def ack(self) -> None:
        self.told = self.taken
        self.serial.write(framing.encode(bytes((link.ACK.id, 0, self.taken, 255))))

    def input(self, tick: int) -> bytes:
        return self.frame(link.INPUT.id, (tick & 0xFFFF).to_bytes(2, "little") + b"\0\0")


@contextmanager
def _board() -> Iterator[tuple[Rig, Bare]]:
    with Rig([board("uno")]) as rig:
        bare = Bare(rig.ports[0])
        try:
            # One synapse, each spike of which makes the neuron fire: V_th is reached in one step.
            bare.load(image([30_000], V_th=1 << 12, c_ex=60_000, d_ex=0xFFFF, d_m=0xFFFF))
            yield rig, bare
        finally:
            bare.serial.close()


def _bare() -> list[Figure]:
    rates, trips, wires, counts = [], [], [], []
    for _ in range(RUNS):
        with _board() as (rig, bare):
            times, wire = _round_trips(rig, bare)
            trips.append(median(times))
            wires.append(median(wire))
            tail = quantiles(times, n=100)[98]
            rates.append(_sustained(bare))
            counts.append({**rig.stats(), "resent": bare.resent, "alone": _alone(rig, bare)})
    more = {
        "spread": spread(rates),
        "host_without_delay": round(median(stats["alone"] for stats in counts)),
        "bytes_lost": sum(stats["overruns"] + stats["dropped"] for stats in counts),
        "told_again": sum(stats["resent"] for stats in counts),
    }
    goal, line = "what the bridge is held against", BAUD / 10 / 11
    rate = Figure(
        "board_bare", median(rates), "spikes/s in and out", goal, None, "what the line can carry", line, more
    )
    more = {"spread": spread(trips), "against_spread": spread(wires), "p99": round(tail)}
    wire = "on the wire and on the chip, by the rig's cycles"
    return [
        rate,
        Figure("board_trip", median(trips), "µs there and back", goal, None, wire, median(wires), more),
    ]


def _round_trips(rig: Rig, bare: Bare) -> tuple[list[float], list[float]]:
    """µs by the host's clock, and by the board's from the first bit in to the last bit out. Stepped: a spike
    that arrives is the order to go on."""
    times = []
    for _ in range(TRIPS):
        bare.tick += 2
        spikes, begun = bare.spikes, time.perf_counter()
        # What acts in update k is seen in the potential of k + 1, so the board is told to go there.
        came = bare.input(bare.tick)
        bare.serial.write(came + bare.frame(link.HORIZON.id, (bare.tick + 2).to_bytes(4, "little")))
        while bare.spikes == spikes:
            bare.hear()
            if time.perf_counter() - begun > 2:
                raise Failed("no spike came back")
        times.append((time.perf_counter() - begun) * 1e6)
        bare.ack()
        time.sleep(0.002)
        bare.hear()
    bursts = rig.bursts()
    wire = [
        (out[3] - come[2]) * 1e-3
        for come, out in pairwise(bursts)
        if come[0] == "in" and out[0] == "out" and come[1] > 11
    ]
    return times, wire


def _sustained(bare: Bare) -> float:
    """Stepped, an input in every update, as many on their way as credits allow: spikes/s that come back."""
    spikes, begun = bare.spikes, time.monotonic()
    while (passed := time.monotonic() - begun) < SECONDS:
        out = b""
        while bare.room(11):
            bare.tick += 1
            out += bare.input(bare.tick)
        if out:
            bare.serial.write(out)
        elif bare.taken != bare.told:
            bare.ack()
        bare.hear()
    return (bare.spikes - spikes) / passed


def _alone(rig: Rig, bare: Bare) -> float:
    """The same in board time, which stands still while the host is awaited: what line and firmware can do."""
    rig.ask("pace", "free", 0.01)
    spikes, begun = bare.spikes, rig.stats()["ns"]
    _sustained(bare)
    return (bare.spikes - spikes) / (rig.stats()["ns"] - begun) * 1e9


# -- learning ---------------------------------------------------------------------------------------


def _learning() -> list[Figure]:
    """Networks of all to all: everybody hears everybody, through synapses that learn. Cycles, by the rig, of
    the two functions in which a chip learns: at a spike that arrives, and at one of its own."""
    table = {n: _cycles(n) for n in NETWORKS}
    alone = table[NETWORKS[0]]
    return [
        Figure(f"learning_{n}", row["event"], "cycles an STDP event", "as for one board", row == alone,
               f"1 board; a network of {n}", alone["event"], row)
        for n, row in table.items()
    ]  # fmt: skip


def _cycles(n: int) -> dict[str, float]:
    one = board("uno")
    address = symbols(one.elf)
    with Rig([one] * n, "hold") as rig:
        hosts = [Host(rig, i, BAUD) for i in range(n)]
        for i, host in enumerate(hosts):
            host.pump(20)
            host.open()
            host.load(image([9000] * PLASTIC, PLASTIC, V_th=4 << 16))
            for function in ("chip_input", "chip_learn"):
                rig.profile(i, address[function])
        for window in range(WINDOWS):
            for i, host in enumerate(hosts):
                host.send(
                    link.INPUT, tick=window * 10 + 1, synapses=tuple({(window + i) % PLASTIC, i % PLASTIC})
                )
                host.go(window * 10 + 10)
        found = [rig.profile(i) for i in range(n)]
        for host in hosts:
            host.close()
    came = [calls[address["chip_input"]]["min"] for calls in found]
    learnt = [calls[address["chip_learn"]]["min"] for calls in found if calls[address["chip_learn"]]["n"]]
    if not learnt:
        raise Failed("no board has fired")
    return {"event": max(came), "spike": max(learnt), "spike_a_synapse": round(max(learnt) / PLASTIC, 1)}
