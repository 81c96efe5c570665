"""Running clusters, for the verbs that work on one."""

from __future__ import annotations

import time
from collections.abc import Iterable

from neurobus.cluster import folder as folders
from neurobus.cluster.folder import Manifest
from neurobus.errors import NoClusterError
from neurobus.names import pick

START_PATIENCE_S = 10.0


def chosen(manifest: Manifest, words: Iterable[str]) -> list[str]:
    """The ids of a running cluster that `words` mean (`neurobus.names.pick`). Raises InputError."""
    return [manifest.ids[i] for i in pick(words, manifest.ids, manifest.groups, f"'{manifest.name}'")]


def started(name: str | None) -> Manifest:
    """The running cluster of that name, or the only one, once it has started. Raises NoClusterError."""
    give_up = time.monotonic() + START_PATIENCE_S
    while (manifest := folders.find(name)).t0_ns is None:
        if time.monotonic() > give_up:
            raise NoClusterError(f"'{manifest.name}' is still starting; try again in a moment")
        time.sleep(0.1)
    return manifest


def runs(manifest: Manifest) -> bool:
    """Whether the cluster still runs: its folder goes when it ends."""
    return folders.alive(manifest.pid) and (folders.runtime_dir() / manifest.name / "manifest.json").exists()
