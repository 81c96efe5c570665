"""Whether this machine has room for a run: memory, processes, open files. Asked before anything is started,
for what happens without room is worse: the system kills whom it likes, or a library aborts."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MB_OF_PROCESS = 4.0
"""The least that a process of a neuron takes (PSS), its sockets and buffers included."""
FILES_OF_PROCESS, OTHER_FILES = 2, 60
"""What hub or conductor hold open for each process, and otherwise."""
THREADS_OF_PROCESS, OTHER_THREADS = 3, 20
"""ZeroMQ has two of its own in each."""
CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Room:
    """What there is; None where there is no limit, or the system does not tell. `threads`: of this user's,
    beside those that run already."""

    memory_mb: float | None
    files: int | None
    threads: int | None


def missing(processes: int, neurons: int, arrays_mb: float, room: Room) -> Iterator[str]:
    """What there is too little of, a line each. `processes`: of neurons and sources; `arrays_mb`: what a
    network's arrays take in all of them. Pure."""
    need_mb = processes * MB_OF_PROCESS + arrays_mb
    if room.memory_mb is not None and need_mb > room.memory_mb:
        fit = max(1, int(room.memory_mb / 2 / need_mb * processes))
        yield (f"{processes:,} processes need about {need_mb / 1000:,.1f} GB of memory, and "
               f"{room.memory_mb / 1000:,.1f} GB are free{_pack(neurons, processes, fit)}")  # fmt: skip
    need = processes * FILES_OF_PROCESS + OTHER_FILES
    if room.files is not None and need > room.files:
        fit = max(1, (room.files - OTHER_FILES) // FILES_OF_PROCESS)
        yield (f"{processes:,} processes need {need:,} open files, and the limit is {room.files:,} "
               f"(ulimit -n {need}){_pack(neurons, processes, fit)}")  # fmt: skip
    need = processes * THREADS_OF_PROCESS + OTHER_THREADS
    if room.threads is not None and need > room.threads:
        fit = max(1, (room.threads - OTHER_THREADS) // THREADS_OF_PROCESS)
        yield (f"{processes:,} processes have {need:,} threads, and the limit leaves {room.threads:,} "
               f"(ulimit -u){_pack(neurons, processes, fit)}")  # fmt: skip


def _pack(neurons: int, processes: int, fit: int) -> str:
    if processes <= 1:
        return ""
    return f"; pack several into one: run.neurons_per_process = {-(-neurons // min(fit, processes))}"


def here() -> Room:
    """What this machine has now."""
    return Room(_free_mb(), _files(), _threads())


def _free_mb() -> float | None:
    found = [free for free in (_of_machine_mb(), _of_group_mb()) if free is not None]
    return min(found, default=None)


def _of_machine_mb() -> float | None:
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return float(lines["MemAvailable"].split()[0]) * 1.024e-3
    except (OSError, KeyError, ValueError, IndexError):
        return None


def _of_group_mb() -> float | None:
    """Of a container: its limit less what is in use and cannot be given back at once."""
    try:
        limit = int((CGROUP / "memory.max").read_text())
        used = int((CGROUP / "memory.current").read_text())
        facts = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        return (limit - used + int(facts.get("inactive_file", 0))) * 1e-6
    except (OSError, ValueError):
        return None


def _files() -> int | None:
    """A run takes as many as it may, up to the hard limit."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return None if hard == resource.RLIM_INFINITY else hard


def _threads() -> int | None:
    soft = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if soft == resource.RLIM_INFINITY or os.geteuid() == 0:
        return None  # root is not held to it
    return max(0, soft - _running())


def _running() -> int:
    """Threads of this user."""
    total, uid = 0, os.getuid()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if entry.stat().st_uid == uid:
                total += len(os.listdir(entry / "task"))
        except OSError:
            continue
    return total
