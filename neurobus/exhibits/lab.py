"""Runs a config as `neurobus run` does, under the virtual clock and into a log, and hands out arrays."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

import neurobus
from neurobus import config as configs
from neurobus import network as networks
from neurobus.cluster.launcher import Hooks, Launch, Launcher
from neurobus.cluster.options import Options
from neurobus.cluster.summary import Summary
from neurobus.cluster.weights import read_weights
from neurobus.errors import InputError, RunError
from neurobus.log import read
from neurobus.log.format import Log
from neurobus.model import Array
from neurobus.network import Network

RECORDING = "neurobus.log.recording"
PAPERS = Path("configs") / "papers"


def papers_folder() -> Path:
    """configs/papers of the checkout that neurobus runs from, or of the current folder."""
    for root in (Path(neurobus.__file__).parents[1], Path.cwd()):
        if (root / PAPERS).is_dir():
            return root / PAPERS
    raise InputError(f"no {PAPERS} here: exhibits need a checkout of neurobus; change into one")


@dataclass(frozen=True)
class Run:
    """A run that is over: its log and, where it kept snapshots, its last state. Times in ms."""

    log: Log
    summary: Summary
    network: Network
    state: Path | None

    def members(self, name: str) -> list[int]:
        """Indices of a neuron, source or group. Raises InputError."""
        if name not in self.network.groups:
            raise InputError(f"there is no '{name}' in this network", self.network.config.path)
        return [int(i) for i in self.network.groups[name]]

    def ids(self, name: str) -> list[str]:
        return [self.network.ids[i] for i in self.members(name)]

    @cached_property
    def _trains(self) -> list[Array]:
        order = np.argsort(self.log.spikes_i, kind="stable")
        cuts = np.searchsorted(self.log.spikes_i[order], np.arange(1, len(self.network.ids)))
        return np.split(self.log.spikes_t[order] / 1e6, cuts)

    def trains_ms(self, name: str) -> list[Array]:
        """Spike times of each member of a group, ascending."""
        return [self._trains[i] for i in self.members(name)]

    def spikes_ms(self, name: str) -> Array:
        """Spike times of a neuron, or of all members of a group together; ascending, shape (N,)."""
        return np.sort(np.concatenate(self.trains_ms(name)))

    def raster(self, name: str) -> tuple[Array, Array]:
        """Spikes of a group as (t, place of the member in the group), for drawing."""
        trains = self.trains_ms(name)
        rows = np.repeat(np.arange(len(trains), dtype=np.float64), [train.size for train in trains])
        return np.concatenate(trains), rows

    def potential(self, name: str) -> tuple[Array, Array]:
        """(t, mV) of a neuron named in `record_potentials`, each shape (M,): a sample where it moved by more
        than `potential_delta`, so a receiver holds the last one."""
        (index,) = self.members(name)
        mine = self.log.samples.i == index
        return self.log.samples.t[mine] / 1e6, self.log.samples.v_mv[mine]

    def weights(self, pre: str, post: str) -> Array:
        """Weights at the end of the run of all synapses from `pre` to `post`, in the order (pre, post). The
        run must have been asked to keep its state."""
        final, synapses = self._final_weights, self.network.synapses
        wanted = np.isin(synapses.pre, self.members(pre)) & np.isin(synapses.post, self.members(post))
        return final[wanted]

    @cached_property
    def _final_weights(self) -> Array:
        if self.state is None:
            raise RunError("this run kept no state; ask with keep_state=True")
        return read_weights(self.state, self.network, self.network.config.run)


class Lab:
    """Where exhibits run their configs. `changes`: overrides of every run, from the command line.

    `word` is told what is under way. Logs and states live in a temporary folder, until `close`.
    """

    def __init__(self, changes: Sequence[str] = (), word: Callable[[str], None] = lambda text: None):
        self.changes, self.word = list(changes), word
        self.runs = 0
        self._folder = tempfile.TemporaryDirectory(prefix="neurobus-exhibit-")

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *exception: object) -> None:
        self._folder.cleanup()

    def path(self, name: str) -> Path:
        """The config called `name`, or any file beside it. Raises InputError."""
        path = papers_folder() / (name if "." in name else f"{name}.toml")
        if not path.is_file():
            raise InputError("this exhibit's config is not there", path)
        return path

    def build(self, name: str, *overrides: str, seed: int | None = None) -> Network:
        """The network of configs/papers/NAME.toml, changed as by `run`, without running it."""
        return networks.build(configs.load(self.path(name), [*overrides, *self.changes]), seed)

    def run(self, name: str, *overrides: str, for_ms: float | None = None, seed: int | None = None,
            keep_state: bool = False, played: Mapping[str, list[int]] | None = None) -> Run:  # fmt: skip
        """Runs configs/papers/NAME.toml, changed by `overrides` as by `--set`, to its end. `played`: spikes
        (ns) of sources, by id.

        Raises InputError for a config that is wrong, RunError for a run that lost anything.
        """
        path, overrides_ = self.path(name), [*overrides, *self.changes]
        self.runs += 1
        self.word(f"{path.name} {' '.join(overrides)}".rstrip())
        here = Path(self._folder.name)
        log = here / f"{self.runs}.mcap"
        state = here / f"{self.runs}.state" if keep_state else None
        options = Options(
            clock="virtual",
            config_path=str(path),
            overrides=overrides_,
            seed=seed,
            replaced=dict(played or {}),
            programs=[(RECORDING, {"path": str(log)})],
            state=str(state) if state else None,
            snapshots=keep_state,
            python_path=[str(path.parent), os.getcwd()],
        )
        for_ns = None if for_ms is None else round(for_ms * 1e6)
        network = networks.build(configs.load(path, overrides_), seed)
        if for_ns is None and network.config.run.duration_ns is None:
            raise InputError("an exhibit's config must say its duration in [run]", path)
        launch = Launch(options, path.stem, for_ns, hooks=Hooks(word=self.word))
        summary = asyncio.run(Launcher(launch).run())
        recorded = read(log)
        self._require_whole(summary, recorded)
        return Run(recorded, summary, network, state)

    @staticmethod
    def _require_whole(summary: Summary, log: Log) -> None:
        wrong = [f"{n} {name}" for name in ("lost", "late", "duplicates", "dropped")
                 if (n := getattr(summary, name))]  # fmt: skip
        wrong += summary.notes[:1] + log.problems[:1]
        if wrong:
            raise RunError(f"a run of this exhibit was not whole: {', '.join(wrong)}")
