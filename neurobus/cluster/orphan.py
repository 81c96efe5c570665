"""A process that works for long must notice that nobody waits for it any more."""

from __future__ import annotations

import contextlib
import select
import signal
from collections.abc import Iterator
from types import FrameType

LOOK_S = 0.2


class OrphanedError(BaseException):
    """The pipe has lost its other end. No `except Exception` is meant."""


def hung_up(fd: int) -> bool:
    """Whether the other end of a pipe is closed, whatever still waits to be read from it."""
    poll = select.poll()
    poll.register(fd, select.POLLHUP)
    return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))


@contextlib.contextmanager
def work_while_held(fd: int) -> Iterator[None]:
    """Raise `OrphanedError` into the work once `fd`, the reading end of a pipe, has hung up. By a timer's
    signal, not a thread: the work forks. What it forks has no timer, and the default for the signal."""

    def look(number: int, frame: FrameType | None) -> None:
        if hung_up(fd):
            raise OrphanedError

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, LOOK_S, LOOK_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """`OrphanedError` waits until the work within is over, which must be short: raised in a callback of an
    event loop or of C, it would be printed there and be lost."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
