"""A brain is a file: the weights of a network, the config they belong to, and where they come from.

A zip that anyone can open: `brain.json` (facts), `config.toml` and `files/…` (the network), `weights.npy`
(float64, one for each synapse in the network's order: by source, target, declaration).
"""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from neurobus import config, network
from neurobus.config import Config
from neurobus.errors import InputError
from neurobus.model import Array
from neurobus.network import Network
from neurobus.network.held import faults
from neurobus.streams import OF_THE_RUN, drawn_otherwise
from neurobus.versions import STREAMS
from neurobus.words import counted

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
        if word := drawn_otherwise(self.streams, built.account.drew - OF_THE_RUN):
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


MOST_UNPACKED, UNPACKED_RATIO = 1 << 26, 32
"""What the members of a brain may hold in bytes: so much, or that multiple of the file's size."""


class _Facts(msgspec.Struct):
    """`brain.json`."""

    format: int
    config_name: str
    overrides: list[str]
    seed: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
    facts: dict[str, Any]
    streams: Annotated[int, Meta(ge=1)] = 1


def load(path: Path) -> Brain:
    """The brain in a file. Raises InputError: not there, damaged, or of a later format. The file may be a
    stranger's: types are checked, and what it unpacks to is bounded."""
    try:
        members = _members(path)
        facts = msgspec.json.decode(members["brain.json"], type=_Facts)
        if facts.format != FORMAT:
            raise InputError("is a brain of another version of neurobus", path)
        files = {name.removeprefix("files/"): content for name, content in members.items()
                 if name.startswith("files/")}  # fmt: skip
        brain = Brain(facts.config_name, members["config.toml"].decode(), files, facts.overrides, facts.seed,
                      _weights(members["weights.npy"]), facts.facts, facts.streams)  # fmt: skip
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", path) from error
    except Exception as error:  # whatever a damaged zip, array or text makes its reader raise
        raise InputError("is no brain, or damaged", path) from error
    if brain.weights.ndim != 1 or not np.all(np.isfinite(brain.weights)):
        raise InputError("is damaged: its weights are no numbers", path)
    return brain


def _members(path: Path) -> dict[str, bytes]:
    """The content of each member, checked against its checksum. Raises whatever a damaged zip does."""
    with zipfile.ZipFile(path) as file:
        infos = file.infolist()
        if sum(info.file_size for info in infos) > max(MOST_UNPACKED, UNPACKED_RATIO * path.stat().st_size):
            raise zipfile.BadZipFile("it unpacks to far more than its size")
        return {info.filename: file.read(info) for info in infos}


def _weights(data: bytes) -> Array:
    """The array in `weights.npy`. Its header is looked at before room is made for what it claims."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read_header = (
        np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read_header(stream)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(data) - stream.tell():
        raise ValueError("its array has another size than it says")
    stream.seek(0)
    return np.asarray(np.load(stream, allow_pickle=False), np.float64)


INITIAL_WEIGHTS = "@weights"
"""Among a log's files: the weights its run began with, where they are not the config's."""


def weights_from(data: bytes) -> Array:
    """Weights as float64, little-endian. Raises InputError where they are none."""
    if len(data) % 8 or not np.all(np.isfinite(weights := np.frombuffer(data, "<f8"))):
        raise InputError("the weights to begin with are damaged: they are no numbers")
    return weights


def with_weights(built: Network, weights: Array) -> Network:
    """A network with other weights. Raises InputError when there is not one for each synapse."""
    from dataclasses import replace

    if weights.shape != built.synapses.weight.shape:
        sizes = f"{counted(weights.size, 'weight')} for {counted(built.synapses.weight.size, 'synapse')}"
        raise InputError(f"{sizes}: of another network", built.config.path)
    network = replace(built, synapses=built.synapses._replace(weight=weights.copy()))
    for word in faults(network):
        raise InputError(word, built.config.path)
    return network


def picture(built: Network, pre: list[int], post: list[int]) -> Array:
    """(len(post), len(pre)) weights between two populations, 0 where there is no synapse; later declared
    synapses of a pair count on top."""
    row = np.full(len(built.ids), -1)
    column = np.full(len(built.ids), -1)
    row[post], column[pre] = np.arange(len(post)), np.arange(len(pre))
    chosen = (row[built.synapses.post] >= 0) & (column[built.synapses.pre] >= 0)
    found = np.zeros((len(post), len(pre)))
    np.add.at(
        found,
        (row[built.synapses.post[chosen]], column[built.synapses.pre[chosen]]),
        built.synapses.weight[chosen],
    )
    return found
