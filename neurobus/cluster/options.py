"""What a launcher asks of the fork server: written once into the run folder, read once."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgpack

from neurobus.errors import InputError
from neurobus.versions import STREAMS


@dataclass
class Options:
    """A run. `config_path`, or `config_text` with `config_name` and the `files` it names (from a log).

    `clock`, `seed`: instead of the config's. `replaced`: neuron id → spike times (ns) that a recording
    plays in its place. `stimuli`: (t_ns, neuron, weight) from a log. `programs`: observers that are part
    of the run, as (dotted module with a `main(ObserverContext)`, arguments). `weights`: float64, in the
    network's order, instead of the config's. `resume`: folder of snapshots; `state`: where this run keeps its
    own, `state_by_name` where nobody named it: then the next run of the same name takes it over.
    `python_path`: where the run looks for models; `started_in`: where `config_path` begins. `guarded`: the
    config is a stranger's, and only shipped models are imported. `left_out`: folders that are not
    looked into, as whoever wrote the state folder named them, and not who runs it.
    """

    clock: str | None = None
    config_path: str | None = None
    config_text: str | None = None
    config_name: str = "config.toml"
    files: dict[str, bytes] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)
    seed: int | None = None
    replaced: dict[str, list[int]] = field(default_factory=dict)
    stimuli: list[tuple[int, str, float]] = field(default_factory=list)
    programs: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    weights: bytes | None = None
    resume: str | None = None
    state: str | None = None
    state_by_name: bool = False
    snapshots: bool = True
    python_path: list[str] = field(default_factory=list)
    started_in: str = field(default_factory=os.getcwd)
    guarded: bool = False
    left_out: list[str] = field(default_factory=list)
    streams: int = STREAMS

    @property
    def source(self) -> str:
        """What the run is of, for a person and to tell whose snapshots they are."""
        return str(self.config_file.resolve()) if self.config_file else self.config_name

    @property
    def config_file(self) -> Path | None:
        """The config's file, from wherever it is asked for; None for a config that has none."""
        if not self.config_path:
            return None
        return Path(
            self.config_path if self.started_in == os.getcwd() else Path(self.started_in, self.config_path)
        )

    def write(self, folder: Path) -> None:
        scratch = folder / ".options.tmp"
        scratch.write_bytes(msgpack.packb(asdict(self)))
        scratch.replace(folder / "options")

    @classmethod
    def read(cls, folder: Path) -> Options:
        return cls(**{"streams": 1, **msgpack.unpackb((folder / "options").read_bytes())})

    @classmethod
    def kept(cls, folder: Path, trust: bool = False) -> Options:
        """Those of a run that is to go on from its state folder. What would be imported is not read from
        there: programs are named anew, and models are looked for in the current folder; beside the config
        that the folder names only with `trust`, as whose folder it is nobody knows.

        Raises InputError where they are damaged or missing.
        """
        try:
            found = cls.read(folder)
            if not isinstance(found.config_name, str) or not isinstance(found.overrides, list):
                raise ValueError("other types")
            if not all(isinstance(path, str) for path in found.python_path):
                raise ValueError("other types")
        except (OSError, ValueError, TypeError, msgpack.UnpackException) as error:
            raise InputError("is damaged, or not of a run", folder / "options") from error
        found.programs, found.stimuli = [], []
        beside = [str(found.config_file.absolute().parent)] if found.config_file else []
        beside += [path for path in found.python_path if path not in (*beside, os.getcwd())]
        found.left_out = [] if trust else beside
        found.python_path = [*(beside if trust else []), os.getcwd()]
        return found


def program_name(module: str, arguments: dict[str, Any]) -> str:
    """What a program of a run is called on the bus; there may be several of one module."""
    name: str = arguments.get("name") or module.rpartition(".")[2]
    return name


def refuse_pace(pace: float | None, clock: str | None) -> None:
    """Raises InputError where a pace is asked of the wall clock. `clock` None: not known yet."""
    if pace is not None and clock == "wall":
        raise InputError("--pace goes with --clock virtual; the wall clock's pace is 1")


@dataclass(frozen=True)
class ObserverContext:
    """What a program that is part of a run is given: where the bus is and who is on it."""

    name: str
    folder: Path
    endpoints: dict[str, str]
    lifeline_fd: int
    arguments: dict[str, Any]
    header: dict[str, Any]
    """Facts for a log: config text, files, seed, dt_ns, ids and so on."""
    streams: list[str]
    single: dict[str, int]
    """Streams of one neuron → its index."""
