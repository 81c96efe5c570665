"""One open serial port. The only home of pyserial, beside `ports`, which lists them.

A port is opened by name and held for us alone: a lock, so that no second neurobus reads half of the
bytes, and TIOCEXCL, so that no terminal program does. pyserial sets the line up; after that there is a
bare descriptor, because its reads copy and its writes block.

What an unplugged port looks like differs: a pty whose rig is gone reads as its end and refuses writes
with EIO, USB serial fails with EIO, ENXIO or ENODEV, now or at the next write. All of it is `Unplugged`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import grp
import os
import sys
import termios
from collections import deque
from collections.abc import Callable
from enum import Enum
from pathlib import Path

import serial

from neurobus.bridge.holders import SIMULATED, UNKNOWN, holder
from neurobus.cluster import folder as folders
from neurobus.errors import NeurobusError

READ_SIZE = 4096
TCGETS2, TERMIOS2_SIZE = (0x802C542A if sys.platform == "linux" else None), 44
"""Linux tells rates that have no name of their own this way only."""
GONE = {errno.EIO, errno.ENXIO, errno.ENODEV, errno.EPIPE, errno.EBADF}


class Why(Enum):
    """Why a port could not be opened."""

    MISSING = "missing"
    DENIED = "denied"
    HELD = "held"
    BROKEN = "broken"


class PortError(NeurobusError):
    """A port that cannot be opened; the message says why and what to do about it."""

    exit_code = 2

    def __init__(self, name: str, why: Why, message: str):
        super().__init__(f"{name}: {message}")
        self.name, self.why = name, why


class Unplugged(Exception):
    """An open port that is gone."""


# -- one port ---------------------------------------------------------------------------------------


class Port:
    """An open port: 8N1, no flow control, never blocking. Raises PortError where it cannot be opened.

    An Uno resets when DTR comes up. The line is therefore left up when the port is closed, and whoever
    opens it next finds the board as it was.
    """

    def __init__(self, name: str, baud: int):
        self.name, self.baud = name, baud
        if _left_behind(name):
            raise PortError(name, Why.MISSING, "no such port; its simulated board has ended")
        try:
            # A gap between bytes that is no multiple of 0.1 s stands for VMIN = 1: with VMIN = 0, which
            # pyserial would choose, a read of nothing looks like the end of the file.
            self._serial = serial.Serial(name, baud, timeout=0, inter_byte_timeout=0.01, exclusive=True)
        except (OSError, ValueError, termios.error) as error:
            raise _refusal(name, baud, error) from error
        self.fd: int = self._serial.fd
        for setting in (self._keep_dtr, self._exclude, self._hurry):
            with contextlib.suppress(OSError, termios.error, NotImplementedError, ValueError):
                setting()
        self._settings = self._settings_now()

    def fileno(self) -> int:
        return self.fd

    def set_baud(self, baud: int) -> None:
        """Go on at another rate. Raises PortError where it cannot be had, and Unplugged."""
        try:
            self._serial.baudrate = self.baud = baud
        except (OSError, ValueError, termios.error) as error:
            if _errno(error) in GONE:
                raise Unplugged("the port has ended") from error
            raise _refusal(self.name, baud, error) from error
        self._settings = self._settings_now()

    def changed(self) -> bool:
        """Whether another program has set the line otherwise since: its rate, its parity, its mode."""
        return self._settings_now() != self._settings

    def restore(self) -> None:
        """Set the line as it was. Raises PortError and Unplugged."""
        self.set_baud(self.baud)  # pyserial looks at the whole line, and sets what is not as it wants it
        with contextlib.suppress(OSError, termios.error):
            self._keep_dtr()
            termios.tcflow(self.fd, termios.TCOON)
        self._settings = self._settings_now()

    def _settings_now(self) -> bytes | None:
        """All settings of the line as the system has them; None where it does not say."""
        try:
            if TCGETS2 is not None:
                return fcntl.ioctl(self.fd, TCGETS2, bytes(TERMIOS2_SIZE))
            return repr(termios.tcgetattr(self.fd)).encode()
        except (OSError, termios.error, ValueError):
            return None

    def read(self) -> bytes:
        """What has come; empty when nothing has. Raises Unplugged."""
        try:
            data = os.read(self.fd, READ_SIZE)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise _unplugged(error) from error
        if not data:
            raise Unplugged("the port has ended")
        return data

    def write(self, data: bytes | memoryview) -> int:
        """Give what the port takes; returns how many bytes that were, 0 when it is full. Raises Unplugged."""
        try:
            return os.write(self.fd, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise _unplugged(error) from error

    def close(self) -> None:
        if self.fd >= 0:
            self.fd = -1
            with contextlib.suppress(OSError, termios.error):
                self._serial.close()

    def _keep_dtr(self) -> None:
        attributes = termios.tcgetattr(self.fd)
        attributes[2] &= ~termios.HUPCL
        termios.tcsetattr(self.fd, termios.TCSANOW, attributes)

    def _exclude(self) -> None:
        fcntl.ioctl(self.fd, termios.TIOCEXCL)

    def _hurry(self) -> None:
        """FTDI chips hold what they received for up to 16 ms unless told otherwise (Linux only)."""
        self._serial.set_low_latency_mode(True)


class Line:
    """A port in an event loop: what comes is handed on, what is sent is queued where the port is full.

    `received(data)` for all that comes, in order. `unplugged(why)` once, when the port is gone; nothing
    comes after it, and what was queued is lost. Both are called from the loop, never from `send`.
    """

    def __init__(self, port: Port, received: Callable[[bytes], None], unplugged: Callable[[str], None]):
        self.port = port
        self._received, self._unplugged = received, unplugged
        self._queue: deque[memoryview] = deque()
        self._loop = asyncio.get_running_loop()
        self.open = True
        self._loop.add_reader(port.fd, self._readable)

    @property
    def waiting(self) -> int:
        """Bytes queued that the port has not taken."""
        return sum(map(len, self._queue))

    def send(self, data: bytes) -> None:
        """In order, whole, as fast as the port takes it. Nothing happens once the port is gone."""
        if not self.open or not data:
            return
        rest = memoryview(data)
        if not self._queue:
            try:
                rest = rest[self.port.write(rest) :]
            except Unplugged as why:
                self._loop.call_soon(self._gone, str(why))
                return
            if rest:
                self._loop.add_writer(self.port.fd, self._writable)
        if rest:
            self._queue.append(rest)

    def close(self) -> None:
        """Let go of the port; what is queued is lost. `unplugged` is not called."""
        if self.open:
            self.open = False
            self._queue.clear()
            self._loop.remove_reader(self.port.fd)
            self._loop.remove_writer(self.port.fd)
            self.port.close()

    def _readable(self) -> None:
        try:
            data = self.port.read()
        except Unplugged as why:
            self._gone(str(why))
            return
        if data:
            self._received(data)

    def _writable(self) -> None:
        try:
            while self._queue:
                taken = self.port.write(self._queue[0])
                if taken < len(self._queue[0]):
                    self._queue[0] = self._queue[0][taken:]
                    return
                self._queue.popleft()
        except Unplugged as why:
            self._gone(str(why))
            return
        self._loop.remove_writer(self.port.fd)

    def _gone(self, why: str) -> None:
        if self.open:
            with contextlib.suppress(OSError, termios.error, ValueError):
                termios.tcflush(self.port.fd, termios.TCIOFLUSH)  # or closing waits for what nobody takes
            self.close()
            self._unplugged(why)


def _unplugged(error: OSError) -> Unplugged:
    if error.errno not in GONE:
        raise error
    return Unplugged(error.strerror or str(error))


def _refusal(name: str, baud: int, error: Exception) -> PortError:
    number = _errno(error)
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.EIO) and not os.path.exists(name):
        return PortError(name, Why.MISSING, "no such port; 'neurobus ports' lists those there are")
    if number in (errno.EACCES, errno.EPERM):
        return PortError(name, Why.DENIED, denied(name))
    if number in (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK):
        return PortError(name, Why.HELD, f"held by {holder(name) or holder(name, rig=True) or UNKNOWN}")
    if number in GONE:
        return PortError(name, Why.MISSING, "unplugged while it was opened")
    if number == errno.ENOTTY:
        return PortError(name, Why.BROKEN, "not a serial port")
    word = os.strerror(number) if number else str(error)
    return PortError(name, Why.BROKEN, f"cannot be opened at {baud} baud: {word}")


def _errno(error: BaseException | None) -> int | None:
    """The system's number: pyserial keeps it, or the error that has it is what it was raised from."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        if isinstance(error, termios.error) and isinstance(error.args[0], int):
            return error.args[0]
        error = error.__cause__ or error.__context__
    return None


def denied(name: str) -> str:
    try:
        group = grp.getgrgid(os.stat(name).st_gid).gr_name
    except (OSError, KeyError):
        group = "dialout"
    if group == "root":  # nobody should join that; the group's name differs between distributions
        return "permission denied, to all but root (usually group dialout or uucp may use it)"
    return f"permission denied; join its group: sudo usermod -aG {group} $USER   (then log in again)"


def _left_behind(name: str) -> bool:
    """Whether it is the link of a simulated board whose rig is gone."""
    path = Path(name)
    named = path.name.startswith(SIMULATED) and path.is_symlink() and (path.parent / "pid").exists()
    return named and not folders.live(path.parent)
