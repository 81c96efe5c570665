"""The state folder: where a run keeps its snapshots, for `--resume`, longer than it lives itself.

It is a folder that people name, so it may be the wrong one. What is not a state folder is refused, and in
one only files that a run has written are ever removed, once the network is built.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from pathlib import Path
from typing import Any

from neurobus.cluster import resume
from neurobus.errors import InputError
from neurobus.node.snapshot import step_of

MARK = ".neurobus-state"
"""Says that the folder is a state folder, and whose; the run that uses it holds a lock on it."""
OPTIONS, LESSON, PROGRESS = "options", "lesson.json", "answers.npz"
_OWN = {resume.FILE, resume.SCRATCH, OPTIONS, ".options.tmp", LESSON, PROGRESS, "answers.tmp"}
_SCRATCH = re.compile(r"\..+\.\d+\.tmp")
ANOTHER = "name another folder with --save or NEUROBUS_STATE_DIR"
LOCK_PATIENCE_S = 3.0
"""The last processes of a killed run hold the lock for a moment longer."""


def refuse(folder: Path, config: str | None) -> None:
    """Raises InputError unless a run may keep its snapshots in `folder`: there is none, or it is empty, or
    it is a state folder (of `config`, where one is given) that no run uses. Writes nothing."""
    if folder.is_symlink():
        raise InputError("is a symbolic link; name the folder itself that is to hold the snapshots", folder)
    try:
        entries = os.listdir(folder)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        what = "is" if os.path.lexists(folder) else "on the way there is"
        raise InputError(f"{what} a file; snapshots take a folder of their own; {ANOTHER}", folder) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", folder) from error
    if not entries:
        return
    mark = _mark(folder)
    if mark is None and not _unmarked(folder, entries):
        raise InputError(
            "is not empty and is no state folder, so it was left as it is; name a new or an empty folder",
            folder,
        )
    if config is not None and mark is not None and mark["config"] != config:
        raise InputError(f"holds the snapshots of {mark['config']}; name another folder", folder)
    if mark is not None:
        os.close(_locked(folder))


def take(folder: Path, config: str, keep_to: int | None = None) -> int:
    """Make `folder` this run's: locked, marked, and cleared of what earlier runs wrote there, but for all
    up to step `keep_to` where the run goes on from there. Returns the descriptor that holds the lock.

    Raises InputError, as `refuse`, and where it cannot be written.
    """
    refuse(folder, None)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _locked(folder)
        os.truncate(lock, 0)
        os.pwrite(lock, json.dumps({"state": 1, "config": config, "pid": os.getpid()}).encode(), 0)
        for path in own_files(folder):
            step = step_of(path.name)
            if keep_to is None or (step is not None and step > keep_to):
                path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot hold snapshots: {error.strerror}; {ANOTHER}",
            error.filename or folder,
        ) from error
    return lock


def own_files(folder: Path) -> list[Path]:
    """The files in a state folder that runs have written; whatever else lies there is not ours."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    return [folder / name for name in sorted(names)
            if name in _OWN or step_of(name) is not None or _SCRATCH.fullmatch(name)]  # fmt: skip


def _mark(folder: Path) -> dict[str, Any] | None:
    try:
        mark = json.loads((folder / MARK).read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return mark if isinstance(mark, dict) and mark.get("state") == 1 and "config" in mark else None


def _unmarked(folder: Path, entries: list[str]) -> bool:
    """Whether it is a state folder all the same, of a run that wrote no mark: nothing else is in it."""
    if len(own_files(folder)) != len(entries) or OPTIONS not in entries:
        return False
    try:
        resume.resume_step(folder)
    except InputError:
        return False
    return True


def _locked(folder: Path) -> int:
    """The mark's descriptor, locked. Raises InputError where a run holds it, OSError."""
    lock = os.open(folder / MARK, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    give_up = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() > give_up:
                os.close(lock)
                pid = (_mark(folder) or {}).get("pid")
                raise InputError(f"is in use by another run (process {pid})", folder) from None
            time.sleep(0.05)
        except OSError:
            os.close(lock)
            raise
