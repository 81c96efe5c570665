"""Which snapshot of a run is whole, and what `--resume` needs beside it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from neurobus.cluster import state as states
from neurobus.cluster.options import Options
from neurobus.node.snapshot import step_of


class Snapshots:
    """Of one run of `n` processes. `step`: that of the last whole snapshot, None before there is one."""

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

    def keep(self, options: Options, step: int, built: dict[str, Any]) -> None:
        """This is the snapshot to resume from. Raises OSError, with the one before still whole."""
        folder = Path(options.state or "")
        scratch, known = folder / ".resume.tmp", {name: built[name] for name in ("clock", "name", "seed")}
        if self.step is None:
            options.write(folder)
        scratch.write_text(json.dumps({"step": step, **known}))
        os.replace(scratch, folder / states.RESUME)
        self.step = step
        self._saved = {later: names for later, names in self._saved.items() if later > step}
        for old in states.own_files(folder):
            of = step_of(old.name)
            if of is not None and of < step:  # a neuron may have kept a later one
                old.unlink(missing_ok=True)
