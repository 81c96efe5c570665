"""The run folder: how a running cluster is found, by name, from any terminal.

`<runtime>/<name>/` (mode 0700) holds the bus's sockets, `manifest.json` and the options the launcher
gave. It goes when the run ends. States are kept elsewhere, to outlive the run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from neurobus.bus.peer import Endpoints
from neurobus.errors import InputError, NoClusterError

LONGEST_SOCKET_PATH = 100
"""sun_path holds 104 bytes on macOS and 108 on Linux."""


def runtime_dir() -> Path:
    """`$NEUROBUS_RUNTIME_DIR`, else `$XDG_RUNTIME_DIR/neurobus`, else a folder in /tmp of this user's."""
    given = os.environ.get("NEUROBUS_RUNTIME_DIR")
    if given:
        return Path(given)
    xdg = os.environ.get("XDG_RUNTIME_DIR")
    if xdg and os.access(xdg, os.W_OK):
        return Path(xdg) / "neurobus"
    return Path("/tmp") / f"neurobus-{os.getuid()}"


def state_dir() -> Path:
    """Where snapshots outlive their run: `$NEUROBUS_STATE_DIR`, else `$XDG_STATE_HOME/neurobus`."""
    given = os.environ.get("NEUROBUS_STATE_DIR")
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(given) if given else Path(base) / "neurobus"


@dataclass
class Manifest:
    """What another process needs to know of a running cluster.

    `t0_ns`: reading of the host's monotonic clock at model time 0 (wall clock), or None before the start.
    `streams[i]`: the stream that carries the spikes of `ids[i]`. `external`: ids that no process owns.
    `levels_mv[i]`: potential at rest and spike threshold, where `ids[i]` has a membrane.
    """

    name: str
    pid: int
    config: str
    clock: str
    seed: int
    dt_ns: int
    endpoints: dict[str, str]
    ids: list[str]
    n_neurons: int
    streams: list[str]
    processes: int
    external: list[str]
    weight_units: list[str]
    started_unix_ns: int
    min_delay: int = 1
    levels_mv: list[tuple[float, float] | None] = field(default_factory=list)
    t0_ns: int | None = None
    pace: float | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def bus(self) -> Endpoints:
        return Endpoints(**self.endpoints)

    def write(self, folder: Path) -> None:
        scratch = folder / ".manifest.tmp"
        scratch.write_text(json.dumps(asdict(self)))
        scratch.replace(folder / "manifest.json")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        return cls(**json.loads((folder / "manifest.json").read_text()))


def alive(pid: int) -> bool:
    """Whether a process of this number runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def owner_of(folder: Path) -> int | None:
    """The launcher that made the folder."""
    try:
        return int((folder / "pid").read_text())
    except (OSError, ValueError):
        return None


def live(folder: Path) -> bool:
    """Whether the process that made the folder still runs."""
    owner = owner_of(folder)
    return owner is not None and alive(owner)


def create(stem: str) -> Path:
    """A run folder for this process, named after the config; `stem-2` where `stem` is taken."""
    base = runtime_dir()
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    stem = re.sub(r"[^A-Za-z0-9_.-]", "-", stem)[:40] or "run"
    for n in range(1, 1000):
        folder = base / (stem if n == 1 else f"{stem}-{n}")
        owner = owner_of(folder)
        if folder.exists() and owner is not None and not alive(owner):
            remove(folder)
        # Filled before it gets its name, so that no other launcher takes it for one left behind.
        scratch = Path(tempfile.mkdtemp(prefix=".new-", dir=base))
        (scratch / "pid").write_text(str(os.getpid()))
        try:
            os.rename(scratch, folder)
        except OSError:
            shutil.rmtree(scratch, ignore_errors=True)
            continue
        if len(str(folder)) + 5 > LONGEST_SOCKET_PATH:
            remove(folder)
            raise InputError(
                f"the folder for sockets, {base}, has too long a path; "
                "set NEUROBUS_RUNTIME_DIR to a shorter one"
            )
        return folder
    raise InputError(f"no free run folder in {base}")


def remove(folder: Path, owner: int | None = None) -> None:
    """Remove a run folder, unless it is another launcher's than `owner` by now: the name of a run which was
    killed is free for the next one before the last of its processes is gone."""
    if owner is None or owner_of(folder) in (None, owner):
        shutil.rmtree(folder, ignore_errors=True)


def running() -> list[Manifest]:
    """Manifests of the clusters that run, by name."""
    found = []
    base = runtime_dir()
    for folder in sorted(base.iterdir()) if base.is_dir() else []:
        if not live(folder):
            continue
        try:
            found.append(Manifest.read(folder))
        except (OSError, ValueError, TypeError):
            continue
    return found


def find(name: str | None) -> Manifest:
    """The cluster of that name, or the only one that runs. Raises NoClusterError."""
    clusters = running()
    if name is not None:
        for manifest in clusters:
            if manifest.name == name:
                return manifest
        raise NoClusterError(f"no cluster named '{name}' is running" + _named(clusters))
    if not clusters:
        raise NoClusterError("no cluster is running; start one with 'neurobus run CONFIG'")
    if len(clusters) > 1:
        raise NoClusterError("more than one cluster is running; name one with --cluster" + _named(clusters))
    return clusters[0]


def _named(clusters: list[Manifest]) -> str:
    return " (running: " + ", ".join(m.name for m in clusters) + ")" if clusters else ""
