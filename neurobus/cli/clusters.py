"""Running clusters, for the verbs that work on one."""

from __future__ import annotations

import time
from collections.abc import Iterable

from neurobus.cluster import folder as folders
from neurobus.cluster.folder import Manifest
from neurobus.errors import InputError, NoClusterError
from neurobus.names import pick

START_PATIENCE_S = 10.0


def chosen(manifest: Manifest, words: Iterable[str]) -> list[str]:
    """The ids of a running cluster that `words` mean (`neurobus.names.pick`). Raises InputError."""
    return [manifest.ids[i] for i in picked(manifest, words)]


def picked(manifest: Manifest, words: Iterable[str]) -> list[int]:
    """The indices that `words` mean, of those who have not left. Raises InputError."""
    words = [part.strip() for word in words for part in word.split(",")]
    if gone := [word for word in words if word in manifest.left]:
        raise InputError(f"'{gone[0]}' has left '{manifest.name}'")
    found = pick(words, manifest.ids, manifest.groups, f"'{manifest.name}'")
    there = [i for i in found if manifest.ids[i] not in manifest.left]
    if not there:
        raise InputError(f"no neuron '{words[0]}' in '{manifest.name}'")
    return there


def started(name: str | None) -> Manifest:
    """The running cluster of that name, or the only one, once it has started. Raises NoClusterError."""
    give_up = time.monotonic() + START_PATIENCE_S
    while (manifest := folders.find(name)).t0_ns is None:
        if time.monotonic() > give_up:
            raise NoClusterError(f"'{manifest.name}' is still starting; try again in a moment")
        time.sleep(0.1)
    return manifest


def model_ns(manifest: Manifest) -> int | None:
    """Model time now; None under the virtual clock, where only what is heard tells it."""
    if manifest.clock != "wall" or manifest.t0_ns is None:
        return None
    return max(0, time.monotonic_ns() - manifest.t0_ns)


def runs(manifest: Manifest) -> bool:
    """Whether the cluster still runs: its folder goes when it ends."""
    return folders.alive(manifest.pid) and (folders.runtime_dir() / manifest.name / "manifest.json").exists()
