"""Neurons by name: ids, groups and patterns."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from fnmatch import fnmatchcase

import numpy as np
import numpy.typing as npt

from neurobus.errors import InputError
from neurobus.log.format import Header


def select(header: Header, names: Iterable[str]) -> npt.NDArray[np.bool_]:
    """Which neurons `names` mean, shape (len(ids),): an id, a group, or a pattern such as `AV*`.

    Raises `InputError` for a name that means none.
    """
    chosen = np.zeros(len(header.ids), bool)
    position = {name: index for index, name in enumerate(header.ids)}
    for name in names:
        if name in position:
            hits = [position[name]]
        else:
            matching = [index for index, known in enumerate(header.ids) if fnmatchcase(known, name)]
            hits = header.groups.get(name) or matching
        if not hits:
            near = get_close_matches(name, [*header.ids, *header.groups], 1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; it has {', '.join(header.ids[:4])} …"
            raise InputError(f"no neuron or group '{name}' in this log{hint}")
        chosen[hits] = True
    return chosen
