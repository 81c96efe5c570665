"""Who else has a port open: one that only reads takes half of what a board says, and no lock tells of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from neurobus.cluster import folder as folders

SIMULATED = "ttySIM"
"""What the names of simulated boards' ports begin with, in the folder of their rig."""
LSOF_S = 5.0
UNKNOWN = (
    "another program, of another user"
    if sys.platform == "linux" or shutil.which("lsof")
    else "another program; lsof, which would name it, is not installed"
)


def holder(name: str, rig: bool = False) -> str | None:
    """Everybody but us who has the port open, as `process 1234 (avrdude)`; None where there is nobody. Only
    what this user may see: on Linux by /proc, else by lsof where it is installed. For a simulated board its
    rig, which holds the other end, is none unless asked for. May take a tenth of a second."""
    device = os.path.realpath(name)
    pids = _by_proc(device) if sys.platform == "linux" else _by_lsof(device)
    others = [
        pid for pid in sorted(set(pids)) if pid != os.getpid() and (rig or not _simulates(pid, Path(name)))
    ]
    return " and ".join(f"process {pid} ({_called(pid)})" for pid in others) or None


def _simulates(pid: int, port: Path) -> bool:
    """Whether it is the rig behind this port, which is told its folder, or who started it."""
    if not port.name.startswith(SIMULATED):
        return False
    return pid == folders.owner_of(port.parent) or str(port.parent) in _words(pid)


def _by_proc(device: str) -> Iterator[int]:
    for process in os.scandir("/proc"):
        if process.name.isdigit():
            with suppress(OSError):
                for link in os.scandir(f"/proc/{process.name}/fd"):
                    with suppress(OSError):
                        if os.readlink(link.path) == device:
                            yield int(process.name)
                            break


def _by_lsof(device: str) -> list[int]:
    if (lsof := shutil.which("lsof")) is None:
        return []
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run([lsof, "-t", device], capture_output=True, text=True, timeout=LSOF_S)
        return [int(word) for word in done.stdout.split() if word.isdigit()]
    return []


def _words(pid: int) -> list[str]:
    """Its command line, where it may be seen."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    return []


def _called(pid: int) -> str:
    words = _words(pid)
    if "neurobus.bridge" in words[:-1]:
        return f"the bridge of '{words[words.index('neurobus.bridge') + 1]}'"
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            ["ps", "-o", "comm=", "-p", str(pid)], capture_output=True, text=True, timeout=LSOF_S
        )
        return os.path.basename(done.stdout.strip())
    return "unknown"
