"""The run folder: how a running cluster is found, by name, from any terminal.

`<runtime>/<name>/` (mode 0700) holds the bus's sockets, `manifest.json` and the options the launcher
gave. It goes when the run ends. States are kept elsewhere, to outlive the run.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from neurobus.bus.peer import Endpoints
from neurobus.errors import InputError, NoClusterError

ANOTHER = "set NEUROBUS_RUNTIME_DIR to a folder of your own"
LONGEST_SOCKET_PATH = 100
"""sun_path holds 104 bytes on macOS and 108 on Linux."""


def runtime_dir() -> Path:
    """`$NEUROBUS_RUNTIME_DIR`, else `$XDG_RUNTIME_DIR/neurobus`, else a folder in /tmp of this user's."""
    given = os.environ.get("NEUROBUS_RUNTIME_DIR")
    if given:
        return Path(given)
    xdg = os.environ.get("XDG_RUNTIME_DIR")
    # After su it still names the folder of who one was before.
    if xdg and os.path.isdir(xdg) and os.access(xdg, os.W_OK) and os.stat(xdg).st_uid == os.geteuid():
        return Path(xdg) / "neurobus"
    return Path("/tmp") / f"neurobus-{os.getuid()}"


def state_dir() -> Path:
    """Where snapshots outlive their run: `$NEUROBUS_STATE_DIR`, else `$XDG_STATE_HOME/neurobus`."""
    given = os.environ.get("NEUROBUS_STATE_DIR")
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(given) if given else Path(base) / "neurobus"


@dataclass
class Manifest:
    """What another process needs to know of a running cluster. Nothing of it is imported or run.

    `t0_ns`: reading of the host's monotonic clock at model time 0 (wall clock), or None before the start.
    `streams[i]`: the stream that carries the spikes of `ids[i]`. `external`: ids that no process owns.
    `levels_mv[i]`: potential at rest and spike threshold, where `ids[i]` has a membrane. `groups`: members by
    index.
    `grains[i]`: the unit in which `ids[i]` feels a poke, and how many of it at most; None: as it is.
    `guests`: who was started by hand and is there now, and whether it is a neuron, else a source; `left`: ids
    beyond those of the config that nobody has any more.
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
    grains: list[tuple[float, int] | None] = field(default_factory=list)
    t0_ns: int | None = None
    pace: float | None = None
    options: dict[str, Any] = field(default_factory=dict)
    groups: dict[str, list[int]] = field(default_factory=dict)
    guests: dict[str, bool] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    def lives(self, index: int) -> bool:
        """Whether a process of this run, or a guest, is this neuron or source just now."""
        name = self.ids[index]
        return name in self.guests or (name not in self.external and name not in self.left)

    def is_neuron(self, index: int) -> bool:
        """Whether this is a neuron; else it is a source, or has left."""
        return self.guests.get(self.ids[index], index < self.n_neurons)

    @property
    def n_config_ids(self) -> int:
        """How many ids the config gives; behind them stands who was started by hand."""
        by_hand = {*self.guests, *self.left}
        n = len(self.ids)
        while n and self.ids[n - 1] in by_hand and self.ids[n - 1] not in self.external:
            n -= 1
        return n

    @property
    def answering(self) -> set[str]:
        """The streams of all processes that answer questions."""
        silent = {*self.external, *self.left} - self.guests.keys()
        return set(self.streams) - silent

    @property
    def neurons_now(self) -> int:
        """Neurons of the config and those started by hand."""
        own = set(self.ids[: self.n_neurons])
        return self.n_neurons + sum(neuron and name not in own for name, neuron in self.guests.items())

    @property
    def processes_now(self) -> int:
        return self.processes + len(self.guests)

    @property
    def bus(self) -> Endpoints:
        return Endpoints(**self.endpoints)

    def write(self, folder: Path) -> None:
        scratch = folder / ".manifest.tmp"
        scratch.write_text(json.dumps(asdict(self)))
        scratch.replace(folder / "manifest.json")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Who runs it, what it is called and where its bus is follow from the folder, not from what is
        written there. Raises ValueError where it is none, InputError where the folder is not ours alone,
        OSError."""
        is_safe(folder)
        try:
            found = msgspec.convert(json.loads((folder / "manifest.json").read_bytes()), cls)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise ValueError(f"{folder} holds no manifest: {error}") from error
        owner = owner_of(folder)
        if (
            owner is None
            or found.dt_ns < 1
            or not 0 <= found.n_neurons <= len(found.ids) == len(found.streams)
        ):
            raise ValueError(f"{folder} holds no manifest")
        found.name, found.pid, found.endpoints = folder.name, owner, Endpoints.in_folder(folder).as_dict()
        return found


@dataclass(frozen=True)
class Built:
    """What a launcher is told of the network it asked for. `begin`: the step at which the run begins;
    `told`: lines for a person."""

    manifest: Manifest
    begin: int
    restarts: int
    snapshot_every_s: float
    duration_ns: int | None
    told: list[str]

    @classmethod
    def of(cls, facts: dict[str, Any]) -> Built:
        """Back from `asdict`."""
        return cls(**{**facts, "manifest": Manifest(**facts["manifest"])})


def alive(pid: int) -> bool:
    """Whether a process of this number runs. 0, 1 and negative numbers name no process of a run: to signal
    them would reach a group, the init process or all."""
    if pid <= 1:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def owner_of(folder: Path) -> int | None:
    """The launcher that made the folder."""
    made = _made_by(folder)
    return made[0] if made else None


def live(folder: Path) -> bool:
    """Whether the process that made the folder still runs. A number that another process has by now does
    not count, where the system tells when that one was born."""
    made = _made_by(folder)
    return made is not None and alive(made[0]) and made[1] in ("", _born(made[0]))


def _made_by(folder: Path) -> tuple[int, str] | None:
    try:
        pid, _, born = (folder / "pid").read_text().strip().partition(" ")
        return (int(pid), born) if pid.isascii() and pid.isdecimal() and 1 < int(pid) < 1 << 31 else None
    except (OSError, ValueError):
        return None


def _born(pid: int) -> str:
    """When a process was born, in the system's own ticks; "" where it does not tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


# Nobody else may put anything there. What stands in these folders is believed: which sockets to join, which
# process to stop, which config a run has. In a temporary directory anybody may be the first to make one.


def base() -> Path:
    """The runtime folder, checked. Raises InputError where it is another user's or open to others."""
    folder = runtime_dir()
    # A folder that a person names may be looked into, as theirs may be; each run's folder in it may not.
    if why := _strange(folder, stat.S_IWGRP | stat.S_IWOTH if _is_named() else 0o077):
        raise InputError(f"{why}; {ANOTHER}", folder)
    return folder


def is_safe(folder: Path) -> bool:
    """Whether a run folder is there. Raises InputError where it is there and not ours alone."""
    if why := _strange(folder, 0o077):
        raise InputError(f"{why}, so what it says of a run is not believed; remove it", folder)
    return folder.is_dir()


def _is_named() -> bool:
    return bool(os.environ.get("NEUROBUS_RUNTIME_DIR"))


def _strange(folder: Path, forbidden: int) -> str:
    """Why a folder is not to be believed: a link, another user's, or with rights for others that are among
    `forbidden` (mode bits). Empty when it may be, or is not there."""
    try:
        found = os.lstat(folder)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"cannot be looked at ({error.strerror})"
    if stat.S_ISLNK(found.st_mode):
        return "is a symbolic link"
    if not stat.S_ISDIR(found.st_mode):
        return "is a file"
    if found.st_uid != os.geteuid():
        return f"belongs to user {_user(found.st_uid)}, not to you"
    if found.st_mode & forbidden:
        return f"is open to others (mode {stat.S_IMODE(found.st_mode):o}; chmod 700 closes it)"
    return ""


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@contextlib.contextmanager
def _alone(base: Path) -> Iterator[None]:
    """While no other process gives or takes away a run folder. What looks at a folder and then acts on it
    would else act on the next one of that name."""
    lock = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def create(stem: str) -> Path:
    """A run folder for this process, named after the config; `stem-2` where `stem` is taken.

    Raises InputError where there is no place for it.
    """
    try:
        runtime_dir().mkdir(mode=0o700, parents=True, exist_ok=True)
        place = base()
        if len(str(place / f"{_plain(stem)}-99")) + 5 > LONGEST_SOCKET_PATH:
            raise InputError(
                f"the folder for sockets, {place}, has too long a path; "
                "set NEUROBUS_RUNTIME_DIR to a shorter one"
            )
        with _alone(place):
            return _create(place, _plain(stem))
    except OSError as error:
        raise InputError(
            f"no run folder can be made there: {error.strerror}; {ANOTHER}", runtime_dir()
        ) from error


def _plain(stem: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", stem)[:40].lstrip(".") or "run"


def _create(place: Path, stem: str) -> Path:
    for n in range(1, 1000):
        folder = place / (stem if n == 1 else f"{stem}-{n}")
        if os.path.lexists(folder):
            if not _left_behind(folder):
                continue
            _discard(folder)
        # Filled before it gets its name: whoever finds it finds its owner in it.
        scratch = Path(tempfile.mkdtemp(prefix=".new-", dir=place))
        try:
            (scratch / "pid").write_text(f"{os.getpid()} {_born(os.getpid())}".strip())
            os.rename(scratch, folder)
        except OSError:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        return folder
    raise InputError("has no name left for this run", place)


def _left_behind(folder: Path) -> bool:
    """Whether it is the folder of a run that is gone: it may be removed. One that holds folders is none."""
    if _strange(folder, 0o077) or owner_of(folder) is None or live(folder):
        return False
    with os.scandir(folder) as entries:
        return not any(entry.is_dir(follow_symlinks=False) for entry in entries)


def remove(folder: Path, owner: int | None = None) -> None:
    """Remove a run folder, unless it is another launcher's than `owner` by now: the name of a run which was
    killed is free for the next one before the last of its processes is gone."""
    with contextlib.suppress(OSError), _alone(folder.parent):
        if owner is None or owner_of(folder) in (None, owner):
            _discard(folder)


def _discard(folder: Path) -> None:
    """Its name goes at once, so that nobody finds half of it."""
    gone = Path(tempfile.mkdtemp(prefix=".old-", dir=folder.parent))
    try:
        os.rename(folder, gone / folder.name)
    finally:
        shutil.rmtree(gone, ignore_errors=True)


def run_folders() -> list[Path]:
    """The folders of all that runs, by name. Raises InputError where one of them is not ours alone."""
    place = base()
    try:
        names = sorted(os.listdir(place))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", place) from error
    runs = [place / name for name in names if not name.startswith(".")]
    return [folder for folder in runs if os.path.lexists(folder / "pid") and is_safe(folder) and live(folder)]


def running() -> list[Manifest]:
    """Manifests of the clusters that run, by name."""
    found = []
    for folder in run_folders():
        with contextlib.suppress(OSError, ValueError):
            found.append(Manifest.read(folder))
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
