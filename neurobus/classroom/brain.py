"""A brain is a file: the weights of a network, the config they belong to, and where they come from.

A zip that anyone can open: `brain.json` (facts), `config.toml` and `files/…` (the network), `weights.npy`
(float64, one for each synapse in the network's order: by source, target, declaration).
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neurobus import config, network
from neurobus.config import Config
from neurobus.errors import InputError
from neurobus.model import Array
from neurobus.network import Network
from neurobus.network.held import faults
from neurobus.streams import OF_THE_RUN, STREAMS, drawn_otherwise

FORMAT = 1


@dataclass
class Brain:
    """`weights` (synapses,). `facts`: provenance and figures, for `info`: plain values. `streams`: version of
    the random streams that its network was drawn by; files without one are of version 1."""

    config_name: str
    config_text: str
    files: dict[str, bytes]
    overrides: list[str]
    seed: int
    weights: Array
    facts: dict[str, Any] = field(default_factory=dict)
    streams: int = STREAMS

    def config(self) -> Config:
        return config.loads(self.config_text, self.config_name, self.files, self.overrides)

    def network(self) -> Network:
        """The network with these weights. Raises InputError when they do not fit it, or when it was drawn
        otherwise."""
        built = network.build(self.config(), self.seed)
        if word := drawn_otherwise(self.streams, built.drew - OF_THE_RUN):
            raise InputError(f"{word}; its weights belong to other synapses", self.config_name)
        return with_weights(built, self.weights)

    def save(self, path: Path) -> None:
        """Write atomically. Raises InputError where that cannot be."""
        facts = {
            key: value
            for key, value in asdict(self).items()
            if key not in ("weights", "files", "config_text")
        }
        array = io.BytesIO()
        np.save(array, self.weights.astype("<f8"), allow_pickle=False)
        scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(scratch, "w", zipfile.ZIP_DEFLATED) as file:
                file.writestr("brain.json", json.dumps({"format": FORMAT, **facts}, indent=1))
                file.writestr("config.toml", self.config_text)
                for name, content in self.files.items():
                    file.writestr(f"files/{name}", content)
                file.writestr("weights.npy", array.getvalue())
            os.replace(scratch, path)
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", path) from error


def require_free(path: Path, overwrite: bool) -> None:
    """Raises InputError where a brain at `path` would destroy something: a brain without `overwrite`, and
    what is no brain in any case."""
    if not path.exists():
        return
    if not overwrite:
        raise InputError("is there already; name another file, or add --overwrite", path)
    try:
        with zipfile.ZipFile(path) as file:
            file.getinfo("brain.json")
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, NotImplementedError) as error:
        raise InputError(
            "is there already and is no brain, so it is kept; name another file", path
        ) from error


def load(path: Path) -> Brain:
    """The brain in a file. Raises InputError: not there, damaged, or of a later format."""
    try:
        with zipfile.ZipFile(path) as file:
            facts = json.loads(file.read("brain.json"))
            if facts.pop("format") != FORMAT:
                raise InputError("is a brain of another version of neurobus", path)
            facts.setdefault("streams", 1)
            files = {name.removeprefix("files/"): file.read(name) for name in file.namelist()
                     if name.startswith("files/")}  # fmt: skip
            weights = np.load(io.BytesIO(file.read("weights.npy")), allow_pickle=False)
            brain = Brain(config_text=file.read("config.toml").decode(), files=files,
                          weights=np.asarray(weights, np.float64), **facts)  # fmt: skip
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", path) from error
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        raise InputError("is no brain, or damaged", path) from error
    if brain.weights.ndim != 1 or not np.all(np.isfinite(brain.weights)):
        raise InputError("is damaged: its weights are no numbers", path)
    return brain


def weights_from(data: bytes) -> Array:
    """Weights as float64, little-endian. Raises InputError where they are none."""
    if len(data) % 8 or not np.all(np.isfinite(weights := np.frombuffer(data, "<f8"))):
        raise InputError("the weights to begin with are damaged: they are no numbers")
    return weights


def with_weights(built: Network, weights: Array) -> Network:
    """A network with other weights. Raises InputError when there is not one for each synapse."""
    from dataclasses import replace

    if weights.shape != built.weight.shape:
        raise InputError(f"{weights.size} weights for {built.weight.size} synapses: of another network",
                         built.config.path)  # fmt: skip
    network = replace(built, weight=weights.copy())
    for word in faults(network):
        raise InputError(word, built.config.path)
    return network


def picture(built: Network, pre: list[int], post: list[int]) -> Array:
    """(len(post), len(pre)) weights between two populations, 0 where there is no synapse; later declared
    synapses of a pair count on top."""
    row = np.full(len(built.ids), -1)
    column = np.full(len(built.ids), -1)
    row[post], column[pre] = np.arange(len(post)), np.arange(len(pre))
    chosen = (row[built.post] >= 0) & (column[built.pre] >= 0)
    found = np.zeros((len(post), len(pre)))
    np.add.at(found, (row[built.post[chosen]], column[built.pre[chosen]]), built.weight[chosen])
    return found
