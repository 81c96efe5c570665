"""Resuming: which snapshot of a run is whole, and the file `resume.json` that says so.

`resume.json` names the step at which every process of a run has written its state. What runs write there
besides, and who may, is the state folder's affair (`neurobus.cluster.state`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurobus.cluster.options import Options
from neurobus.errors import InputError
from neurobus.node.snapshot import read_snapshot, step_of

FILE, SCRATCH = "resume.json", ".resume.tmp"


def resumable(folder: Path) -> bool:
    """Whether a run has kept a whole snapshot there."""
    return (folder / FILE).exists()


def resume_step(folder: Path) -> int:
    """The step from which the run in `folder` can go on. Raises InputError."""
    path = folder / FILE
    try:
        facts = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(
            "holds no snapshots to resume from; a run prints its folder as 'state'", folder
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError("is damaged, or not of a run: it is no JSON", path) from error
    step = facts.get("step") if isinstance(facts, dict) else None
    if not isinstance(step, int) or isinstance(step, bool) or not 0 <= step < 1 << 62:
        raise InputError("is damaged, or not of a run: it names no step", path)
    return step


def state_at(folder: Path, name: str, step: int) -> dict[str, Any]:
    """What process `name` wrote at a step that all wrote. Raises InputError."""
    state = read_snapshot(folder, name, step)
    if state is None:
        raise InputError(f"no snapshot of '{name}' at step {step}", folder)
    return state


class Snapshots:
    """Which snapshots are whole, of a run of `n` processes. `step`: of the last one kept. Pure."""

    def __init__(self, n: int):
        self._n = n
        self._saved: dict[int, set[str]] = {}
        self.step: int | None = None

    def saved(self, name: str, step: int) -> bool:
        """A process has written its state at a step. Whether all have now: only then does it count, and what
        was there before may go."""
        if self.step is not None and step <= self.step:
            return False
        self._saved.setdefault(step, set()).add(name)
        return len(self._saved[step]) == self._n

    def kept(self, step: int) -> None:
        self.step = step
        self._saved = {later: names for later, names in self._saved.items() if later > step}


def keep(options: Options, step: int, facts: Mapping[str, Any], first: bool) -> None:
    """Make the snapshot at `step` the one to resume from, and remove those before it.

    `facts`: about the run, for a person. `first`: of this run, whose options are written with it.
    Raises OSError; the snapshot before is whole then.
    """
    folder = Path(options.state or "")
    if first:
        options.write(folder)
    (folder / SCRATCH).write_text(json.dumps({"step": step, **facts}))
    os.replace(folder / SCRATCH, folder / FILE)
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    for name in names:
        of = step_of(name)
        if of is not None and of < step:  # a process may have kept a later one
            (folder / name).unlink(missing_ok=True)
