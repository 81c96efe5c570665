"""Starts a fork server. It imports for longer than whoever asks for the run, so it is started first, and told
its folder on its stdin when there is one. This module imports next to nothing, for the same reason."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Started:
    """`begun`: by the monotonic clock, s."""

    process: subprocess.Popen[bytes]
    begun: float


def fork_server() -> Started:
    """A fork server that waits to be told its run folder, in a process group of its own."""
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    root = str(Path(__file__).resolve().parents[2])
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [root, env.get("PYTHONPATH", "")]))
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "neurobus.cluster.fork_server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        env=env,
        process_group=0,
    )
    return Started(process, begun)


@contextlib.contextmanager
def fork_server_ahead() -> Iterator[Started]:
    """A fork server for a launcher that is still to be made; none is left when that comes to nothing."""
    started = fork_server()
    process = started.process
    try:
        yield started
    finally:
        if process.returncode is None:  # nobody took it and saw to its end; it has no children
            process.kill()
            process.wait()
