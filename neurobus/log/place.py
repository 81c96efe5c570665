"""Where a log may be written: nothing that holds anything is lost without a word, and nobody writes where
another does."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from mcap.writer import MCAP0_MAGIC as MAGIC

from neurobus.errors import InputError

SUFFIX = ".mcap"
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
"""A file system without locks: there a second writer is not noticed."""


def require_free(path: Path, overwrite: bool) -> None:
    """Looked at before a run begins: `path` is a good name for a recording, and its place is free.

    Raises `InputError`. Creates nothing.
    """
    if path.suffix.lower() != SUFFIX:
        raise InputError(f"a recording is a {SUFFIX}: write {path.with_suffix(SUFFIX).name}, and "
                         "'neurobus log export' makes CSV, SONATA or NWB of it", path)  # fmt: skip
    require_folder(path)
    if path.exists():
        fd = _opened(path, os.O_RDWR)
        try:
            claim(fd, path, overwrite)
        finally:
            os.close(fd)


def require_folder(path: Path) -> None:
    """Raises `InputError` where `path` cannot be made: its folder is not there, or closed to this user."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise InputError(f"cannot be written: there is no folder {folder}", path)
    if not os.access(folder, os.W_OK | os.X_OK) and not path.exists():
        raise InputError(f"cannot be written: this user may not write in {folder}", path)


def opened_to_write(path: Path, overwrite: bool) -> int:
    """A file descriptor of an empty file that is this program's alone until it closes it. Raises
    `InputError`."""
    require_folder(path)
    fd = _opened(path, os.O_RDWR | os.O_CREAT)
    try:
        claim(fd, path, overwrite)
        if os.fstat(fd).st_size:
            os.ftruncate(fd, 0)
    except BaseException:
        os.close(fd)
        raise
    return fd


def claim(fd: int, path: Path, overwrite: bool) -> None:
    """Lock an open file against other writers. Raises `InputError` where one has it, or it holds something
    that is to be kept: anything without `overwrite`, and what is no log in any case."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError("another program records into this file, or plays it; name another", path) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise InputError(f"cannot be written: {error.strerror}", path) from error
    if not os.fstat(fd).st_size:
        return
    if not overwrite:
        raise InputError("is there already; name another file, or add --overwrite", path)
    if os.pread(fd, len(MAGIC), 0) != MAGIC:
        raise InputError("is there already and is no log, so it is kept; name another file", path)


@contextlib.contextmanager
def kept(path: Path) -> Iterator[None]:
    """Within the block nobody records over the log at `path`. One being recorded may be read all the same."""
    with path.open("rb") as file:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield


def _opened(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", path) from error
