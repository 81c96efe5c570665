"""neurobus as its users start it, and the bare peers, each as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
TIMEOUT_S = 120


class Failed(RuntimeError):
    """A program of the bench did not end as it should."""


def program(module: str, *args: object) -> list[str]:
    return [sys.executable, "-m", module, *map(str, args)]


def run(config: Path, *args: object) -> dict[str, Any]:
    """`neurobus run CONFIG … --json`; its summary."""
    return _last_object(program("neurobus", "run", config, "--json", *args))


def bare(*args: object) -> dict[str, Any]:
    """A peer of `tests.bench.bare`; what it measured."""
    return _last_object(program("tests.bench.bare", *args))


def _last_object(command: list[str]) -> dict[str, Any]:
    with started(command) as process:
        out, err = process.communicate(timeout=TIMEOUT_S)
    if process.returncode:
        raise Failed(f"{' '.join(command[2:])}: exit code {process.returncode}: {err.strip()[-500:]}")
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


@contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A program that is killed if it still runs at the end of the block."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None and not pipe.closed:
                pipe.close()


def left_behind() -> list[int]:
    """Processes that still belong to a run of this bench (they carry its runtime folder)."""
    mark = f"NEUROBUS_RUNTIME_DIR={os.environ['NEUROBUS_RUNTIME_DIR']}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        if int(entry.name) == os.getpid():
            continue
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found
