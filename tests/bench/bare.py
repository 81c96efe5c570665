"""The peers: what bare pyzmq and msgpack do with the same messages, in poll loops without asyncio.

    python -m tests.bench.bare ring N HOPS
    python -m tests.bench.bare windows N WINDOWS SPIKES_IN SPIKES_OUT
    python -m tests.bench.bare processes N

Each forks its processes from this one, which has imported what they need, and prints a line of JSON.
Frames, sockets and the hub are those of the product (`neurobus/wire/bus.py`, `neurobus/bus/`), written
out once more so that nothing of it is imported.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np
import zmq

IDLE_MS = 20_000
"""A process that hears nothing for so long ends: nobody is left to end it."""
END = b"c/*\0"
WARM_UP_LAPS = 50

pack, unpack = msgpack.Packer(autoreset=True).pack, msgpack.unpackb
Socket = zmq.Socket[bytes]


class Bus:
    """Endpoints in a folder, and the processes forked onto them."""

    def __init__(self, folder: str):
        self.inward, self.outward, self.tap = (f"ipc://{folder}/{name}" for name in ("in", "out", "tap"))
        self.pids: list[int] = []
        gc.collect()
        gc.freeze()

    def fork(self, body: Callable[..., None], *args: Any) -> None:
        pid = os.fork()
        if pid == 0:
            try:
                body(self, *args)
            finally:
                os._exit(0)
        self.pids.append(pid)

    def sockets(self, connect: bool, *kinds: int) -> list[Socket]:
        """Unlimited sockets, the first on `inward`, the second on `outward`, the third on `tap`."""
        context = zmq.Context()
        sockets = [context.socket(kind) for kind in kinds]
        for socket, endpoint in zip(sockets, (self.inward, self.outward, self.tap), strict=False):
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.SNDHWM, 0)
            socket.setsockopt(zmq.RCVHWM, 0)
            (socket.connect if connect else socket.bind)(endpoint)
        return sockets

    def peer(self, *topics: bytes) -> tuple[Socket, Socket, Callable[[int], Any]]:
        """An axon, dendrites that also hear the end, and the dendrites' poll."""
        pub, sub = self.sockets(True, zmq.PUB, zmq.SUB)
        for topic in (END, *topics):
            sub.subscribe(topic)
        poller = zmq.Poller()
        poller.register(sub, zmq.POLLIN)
        return pub, sub, poller.poll

    def end(self) -> None:
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def hub(bus: Bus) -> None:
    """ZeroMQ's proxy, as the wall clock has it."""
    sockets = bus.sockets(False, zmq.SUB, zmq.PUB, zmq.PUB)
    sockets[0].subscribe(b"")
    threading.Thread(target=lambda: zmq.proxy(*sockets), daemon=True).start()
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(1)


def payload(data: bytes) -> Any:
    return unpack(data.partition(b"\0")[2])


# -- ring: each process waits for one spike of the one before it ------------------------------------


def spikes_of(i: int) -> bytes:
    return b"s/n.%d\0" % i


def ring(bus: Bus, n: int, hops: int) -> dict[str, Any]:
    bus.fork(hub)
    for i in range(1, n):
        bus.fork(ring_node, i)
    pub, sub, poll = bus.peer(spikes_of(n - 1))
    while not poll(200):
        pub.send(spikes_of(0) + pack((0, 0, False, [0], None)))
    time.sleep(0.3)
    while poll(0):  # spikes sent more than once while the others connected
        sub.recv()
    laps = hops // n
    for lap in range(WARM_UP_LAPS + laps):
        if lap == WARM_UP_LAPS:
            begun = time.perf_counter()
        pub.send(spikes_of(0) + pack((0, lap, False, [lap * n], None)))
        poll(IDLE_MS)
        payload(sub.recv())
    return {"us": (time.perf_counter() - begun) / (laps * n) * 1e6, "hops": laps * n}


def ring_node(bus: Bus, i: int) -> None:
    pub, sub, poll = bus.peer(spikes_of(i - 1))
    mine = spikes_of(i)
    while poll(IDLE_MS):
        epoch, seq, last, times, _ = payload(sub.recv())
        pub.send(mine + pack((epoch, seq, last, [times[0] + 1], None)))


# -- windows: a sequencer hands every process one message per window, and waits for all answers -----


def windows(bus: Bus, n: int, count: int, spikes_in: int, spikes_out: int) -> dict[str, Any]:
    for i in range(n):
        bus.fork(windows_node, i, spikes_out)
    inward, outward = bus.sockets(False, zmq.SUB, zmq.PUB)
    inward.subscribe(b"")
    topics = [b"d/n.%d\0" % i for i in range(n)]
    keys = np.arange(spikes_in, dtype=np.int64).tobytes()
    heard: set[bytes] = set()
    while len(heard) < n:
        for topic in topics:
            outward.send(topic + pack((0, 0, keys, b"", b"", None, None)))
        while inward.poll(100):
            heard.add(inward.recv().partition(b"\0")[0])
    begun = time.perf_counter()
    for window in range(1, count + 1):
        for topic in topics:
            outward.send(topic + pack((window, window * 15, keys, b"", b"", None, None)))
        for _ in range(n):
            payload(inward.recv())
    wall_s = time.perf_counter() - begun
    return {"per_s": n * count / wall_s, "wall_s": wall_s}


def windows_node(bus: Bus, i: int, spikes_out: int) -> None:
    pub, sub, poll = bus.peer(b"d/n.%d\0" % i)
    mine, keys, seq = b"a/n.%d\0" % i, np.arange(spikes_out, dtype=np.int64).tobytes(), 0
    while poll(IDLE_MS):
        number, horizon, *_ = payload(sub.recv())
        pub.send(mine + pack((number, 0, horizon + 1, horizon, seq, keys, 0, b"", b"")))
        seq += spikes_out


# -- processes: each reports through the bus once it has heard itself ---------------------------------


def processes(bus: Bus, n: int) -> dict[str, Any]:
    """Prints the pids when all are connected, and ends when told so on stdin.

    The server forks them once this process hears the bus: so it needs no sockets of its own before.
    """
    go, told = os.pipe()
    bus.fork(hub)
    bus.fork(processes_server, n, go)
    pub, sub, poll = bus.peer(b"r/")
    join(pub, sub, poll, b"h/launcher\0")
    os.write(told, b"\n")
    ready: dict[bytes, int] = {}
    while len(ready) < n:
        if not poll(IDLE_MS):
            raise SystemExit(f"{n - len(ready)} processes did not connect")
        name, _, report = sub.recv().partition(b"\0")
        ready[name] = unpack(report)[1]["pid"]
    print(json.dumps({"pids": list(ready.values())}), flush=True)
    sys.stdin.readline()
    pub.send(END)
    time.sleep(0.3)
    return {}


def processes_server(bus: Bus, n: int, go: int) -> None:
    os.read(go, 1)
    for i in range(n):
        bus.fork(processes_node, i)
    for pid in bus.pids[-n:]:
        os.waitpid(pid, 0)


def processes_node(bus: Bus, i: int) -> None:
    pub, sub, poll = bus.peer()
    join(pub, sub, poll, b"h/n.%d\0" % i)
    pub.send(b"r/n.%d\0" % i + pack(["ready", {"pid": os.getpid()}]))
    while poll(IDLE_MS) and not sub.recv().startswith(END):
        pass


def join(pub: Socket, sub: Socket, poll: Callable[[int], Any], hello: bytes) -> None:
    """Say hello until it comes back."""
    sub.subscribe(hello)
    pause = 10
    while True:
        pub.send(hello + pack([0]))
        if poll(pause):
            sub.recv()
            sub.unsubscribe(hello)
            return
        pause = min(2 * pause, 200)


def main() -> None:
    what, *numbers = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/tmp") as folder:
        bus = Bus(folder)
        try:
            found = {"ring": ring, "windows": windows, "processes": processes}[what](bus, *map(int, numbers))
        finally:
            bus.end()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
