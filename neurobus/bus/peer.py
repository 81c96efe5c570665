"""A peer of the bus: one PUB socket and one SUB socket."""

from __future__ import annotations

import ctypes
import functools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import zmq
import zmq.backend

from neurobus.errors import RunError
from neurobus.wire import bus as wire

_recv, _send = zmq.backend.Socket.recv, zmq.backend.Socket.send
LINGER_MS = 2000
PATIENT_HWM = 0
"""Queue limit of neurons, recorder and launcher: none, they are read to the end."""
OBSERVER_HWM = 100_000
"""Queue limit (frames) of an observer: beyond it, it loses frames of its own and counts the gaps."""


@dataclass(frozen=True)
class Endpoints:
    """Where a bus is reached: `inward` takes what peers send, `outward` carries it to the run's own
    processes without limit, `tap` to observers, each with a bounded queue."""

    inward: str
    outward: str
    tap: str

    @classmethod
    def in_folder(cls, folder: Path) -> Endpoints:
        return cls(*(f"ipc://{folder / name}" for name in ("in", "out", "tap")))

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def receive(socket: zmq.Socket[bytes]) -> bytes | None:
    """The next frame, or None. The backend's own `recv`: 0.3 µs a frame and 3.4 for the one that finds
    nothing, where asking for EVENTS first costs 2.3 each time."""
    try:
        data: bytes = _recv(socket, 1)  # 1 is zmq.NOBLOCK, without the price of a Flag
    except zmq.Again:
        return None
    return data


def await_frame(socket: zmq.Socket[bytes]) -> bytes | None:
    """The next frame, or None when none came within the socket's RCVTIMEO."""
    try:
        data: bytes = _recv(socket, 0)
    except zmq.Again:
        return None
    return data


@functools.cache
def _functions() -> tuple[Any, ...] | None:
    """`zmq_msg_recv`, `zmq_msg_data`, `zmq_send` and `zmq_msg_init` of the library that pyzmq uses, if it is
    reached so: its backend in C is linked to it."""
    try:
        library = ctypes.CDLL(sys.modules["zmq.backend.cython._zmq"].__file__)
        return library.zmq_msg_recv, library.zmq_msg_data, library.zmq_send, library.zmq_msg_init
    except (KeyError, OSError, AttributeError):
        return None


@functools.cache
def _clock_and_poll() -> tuple[int, int]:
    """Addresses of `clock_gettime` and `ppoll`; 0 where Python's monotonic clock is another one."""
    if sys.platform != "linux":
        return 0, 0
    system = ctypes.CDLL(None)
    return _address(system.clock_gettime), _address(system.ppoll)


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


class Peer:
    """Both sockets of one peer. Not thread-safe. `observer`: listen on the tap."""

    def __init__(self, endpoints: Endpoints, observer: bool = False):
        self._context = zmq.Context()
        self._publisher = self._context.socket(zmq.PUB)
        self._subscriber = self._context.socket(zmq.SUB)
        for socket in (self._publisher, self._subscriber):
            socket.setsockopt(zmq.LINGER, LINGER_MS)
            socket.setsockopt(zmq.RECONNECT_IVL, 20)
        self._publisher.setsockopt(zmq.SNDHWM, PATIENT_HWM)
        self._subscriber.setsockopt(zmq.RCVHWM, OBSERVER_HWM if observer else PATIENT_HWM)
        self._publisher.connect(endpoints.inward)
        self._subscriber.connect(endpoints.tap if observer else endpoints.outward)
        self.fd: int = self._subscriber.FD
        """Readable when something may have arrived; edge-triggered, so read until `receive` is None."""

    def send(self, data: bytes) -> None:
        """Put one frame on the bus."""
        _send(self._publisher, data)

    def subscribe(self, prefix: bytes) -> None:
        self._subscriber.subscribe(prefix)

    def unsubscribe(self, prefix: bytes) -> None:
        self._subscriber.unsubscribe(prefix)

    def receive(self) -> bytes | None:
        """The next frame, or None."""
        return receive(self._subscriber)

    def patience(self, ms: int) -> None:
        """How long `linger` waits."""
        self._subscriber.setsockopt(zmq.RCVTIMEO, ms)

    def linger(self) -> bytes | None:
        """The next frame, or None when none came for as long as `patience` said."""
        return await_frame(self._subscriber)

    def converse(self, handle: Callable[[bytes], bool]) -> None:
        """Hand each frame to `handle`, until none came for as long as `patience` said or it says False. One
        loop here, not three calls a frame: with hundreds of processes none of them finds its code in a
        cache."""
        subscriber = self._subscriber
        try:
            while handle(_recv(subscriber, 0)):
                pass
        except zmq.Again:
            pass

    def lines(self) -> tuple[int, ...] | None:
        """For compiled code that receives and sends: addresses of `zmq_msg_recv`, `zmq_msg_data` and
        `zmq_send`, of a message, the SUB and the PUB socket, and of `clock_gettime` and `ppoll` (0 where they
        are not to be used). They hold as long as this peer; None where there are none."""
        functions = _functions()
        if functions is None:
            return None
        *called, init = functions
        self._message = (ctypes.c_uint64 * 8)()  # a zmq_msg_t
        init(self._message)
        sockets = int(self._subscriber.underlying), int(self._publisher.underlying)
        return (*map(_address, called), ctypes.addressof(self._message), *sockets, *_clock_and_poll())

    def wait(self, timeout_s: float) -> bytes | None:
        """The next frame, or None after `timeout_s` seconds."""
        return self._subscriber.recv() if self._subscriber.poll(int(timeout_s * 1000)) else None

    def frames(self) -> Iterator[bytes]:
        """Frames until none is waiting."""
        while (data := self.receive()) is not None:
            yield data

    def join(self, name: str, timeout_s: float = 10.0) -> None:
        """Block until what this peer sends reaches the bus and its subscriptions are in force.

        It says hello until it hears itself. ZeroMQ keeps the order within a connection, so every
        subscription made before this one is in force too. Raises RunError after `timeout_s`.
        """
        hello, echo = wire.topic(wire.HELLO, name), wire.hello(name)
        self.subscribe(hello)
        give_up = time.monotonic() + timeout_s
        pause = 0.005
        while time.monotonic() < give_up:
            self.send(echo)
            again = time.monotonic() + pause
            while (left := again - time.monotonic()) > 0:
                data = self.wait(left)
                if data == echo:
                    self.unsubscribe(hello)
                    return
            pause = min(2 * pause, 0.2)
        raise RunError("the bus does not answer; is its hub or conductor alive?")

    def close(self, linger_ms: int = LINGER_MS) -> None:
        """Send what is queued (for at most that long) and close."""
        # Subscriptions are queued too, anew when a connection breaks: nobody waits for a bus that has gone.
        self._subscriber.close(0)
        self._context.destroy(linger_ms)
