"""Neurons started by hand on a running bus, as the manifest names them.

A guest stands behind all ids of the config, or in the place of an external one. Its index is its own for the
whole run: who has left keeps it, and has it again when it comes back, so that nobody's index ever moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from neurobus.wire.verbs import Guest

if TYPE_CHECKING:
    from neurobus.cluster.folder import Manifest

T = TypeVar("T")
MOST = 100
"""Ids beyond those of the config, in one run."""
TOO_MANY = f"more than {MOST} neurons were started by hand; those beyond are not let in"


def join(manifest: Manifest, name: str, guest: Guest) -> str | None:
    """Enter a guest into a manifest. Returns why it cannot be, or None. Lists are replaced, never changed."""
    from neurobus.config.schema import wrong_id  # most launchers never read a config

    if wrong := wrong_id(name):
        return wrong
    own = name not in manifest.guests and name not in manifest.left
    if name not in manifest.ids:
        if len(manifest.guests.keys() | set(manifest.left)) >= MOST:
            return TOO_MANY
        manifest.ids, manifest.streams = [*manifest.ids, name], [*manifest.streams, name]
    elif own and name not in manifest.external:
        return f"'{name}' joined from outside, but is alive in this run"
    index = manifest.ids.index(name)
    manifest.weight_units = _with(manifest.weight_units, index, guest.unit, "")
    manifest.levels_mv = _with(manifest.levels_mv, index, guest.level_mv, None)
    manifest.grains = _with(manifest.grains, index, guest.grain, None)
    manifest.guests = {**manifest.guests, name: guest.neuron}
    manifest.left = [other for other in manifest.left if other != name]
    return None


def _with(column: Sequence[T], index: int, value: T, none: T) -> list[T]:
    """The column with `value` at `index`; what it lacks before that is `none`."""
    whole = [*column, *[none] * (index + 1 - len(column))]
    whole[index] = value
    return whole


def leave(manifest: Manifest, name: str) -> bool:
    """Take a guest off a manifest; False where it is none."""
    if name not in manifest.guests:
        return False
    manifest.guests = {other: neuron for other, neuron in manifest.guests.items() if other != name}
    if name not in manifest.external:
        manifest.left = [*manifest.left, name]
    return True
