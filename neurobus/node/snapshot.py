"""Snapshots on disk: the state of one process at one step, a file each."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import msgpack

from neurobus.errors import InputError
from neurobus.node.sealed import SNAPSHOT, seal, unseal

_NAME = re.compile(r"(.+)\.(\d{1,18})\.snap")


def path_of(folder: Path, name: str, step: int) -> Path:
    """The file of process `name` at `step`."""
    return folder / f"{name}.{step}.snap"


def step_of(file_name: str) -> int | None:
    """The step of a snapshot's file name; None for any other name."""
    found = _NAME.fullmatch(file_name)
    return int(found[2]) if found else None


def write_snapshot(folder: Path, name: str, step: int, state: dict[str, Any]) -> Path:
    """Write atomically: a reader sees the old file or the new one, never half of one.

    That holds against killed processes. It is no fsync: 302 of them would stop the clock for a second.
    """
    path = path_of(folder, name, step)
    scratch = folder / f".{name}.{step}.tmp"
    with open(scratch, "wb") as file:
        file.write(seal(SNAPSHOT, msgpack.packb(state)))
    os.replace(scratch, path)
    return path


def read_snapshot(folder: Path, name: str, step: int | None = None) -> dict[str, Any] | None:
    """The state of `name` at `step`, or its newest; None where there is none. Raises InputError where the
    file is damaged or is no snapshot."""
    if step is None:
        found = (_NAME.fullmatch(entry) for entry in os.listdir(folder))
        steps = [int(match[2]) for match in found if match and match[1] == name]
        if not steps:
            return None
        step = max(steps)
    path = path_of(folder, name, step)
    if not path.exists():
        return None
    try:
        state = msgpack.unpackb(unseal(SNAPSHOT, path.read_bytes()))
        if not isinstance(state, dict):
            raise ValueError("it holds no state")
    except (OSError, ValueError, msgpack.UnpackException) as error:
        raise InputError(f"cannot be resumed from: {error}", path) from error
    return state
