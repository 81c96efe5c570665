"""Neurons started by hand on a running bus, as the manifest names them.

A guest stands behind all ids of the config, or in the place of an external one. Its index is its own for the
whole run: who has left keeps it, and has it again when it comes back, so that nobody's index ever moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

if TYPE_CHECKING:
    from neurobus.cluster.folder import Manifest

T = TypeVar("T")
MOST = 100
"""Ids beyond those of the config, in one run."""
TOO_MANY = f"more than {MOST} neurons were started by hand; those beyond are not let in"
TOLD = "guest"
"""Under this name a guest's "ready" says what it is."""


class Presence(msgspec.Struct):
    """What a guest tells of itself: as `Manifest.weight_units`, `levels_mv` and `grains` have it."""

    neuron: bool
    unit: str = ""
    level_mv: tuple[float, float] | None = None
    grain: tuple[float, int] | None = None


def read(told: Any) -> Presence:
    """Raises ValueError for what no guest says."""
    try:
        return msgspec.convert(told, Presence)
    except msgspec.ValidationError as error:
        raise ValueError(f"no guest: {error}") from error


def join(manifest: Manifest, name: str, presence: Presence) -> str | None:
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
    manifest.weight_units = _with(manifest.weight_units, index, presence.unit, "")
    manifest.levels_mv = _with(manifest.levels_mv, index, presence.level_mv, None)
    manifest.grains = _with(manifest.grains, index, presence.grain, None)
    manifest.guests = {**manifest.guests, name: presence.neuron}
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
