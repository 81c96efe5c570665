"""Where compiled code is kept between runs, and that one process at a time writes there."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from neurobus.errors import InputError


def cache_dir() -> Path:
    """Where compiled kernels are kept between runs."""
    given = os.environ.get("NEUROBUS_CACHE_DIR")
    return (
        Path(given)
        if given
        else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "neurobus"
    )


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """While no other process compiles into the folder. One that wants the same kernel then finds it there;
    and numba's own cache of the helpers gives wrong functions when two processes write it at once."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise InputError(
            f"no compiled kernel can be kept there: {error.strerror}; "
            "set NEUROBUS_CACHE_DIR to a folder of your own",
            folder,
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
