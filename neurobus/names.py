"""Neurons by name, the same for every verb: ids, groups, patterns, ranges, and lists of these."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from neurobus.errors import InputError

_RANGE = re.compile(r"(.*?)(\d+)\.\.(\d+)")


def pick(words: Iterable[str], ids: Sequence[str], groups: Mapping[str, Sequence[int]], of: str) -> list[int]:
    """The indices that `words` mean, each once, in the order named. Raises InputError for what means none.

    A word is an id, a group, a pattern (`AV*`, `exc.?`), a range with both ends (`n.3..7`), or several of
    these with commas between. What is an id is that, whatever else it could mean. `of`: the whole, in errors.
    """
    at = {name: index for index, name in enumerate(ids)}
    chosen: dict[int, None] = {}
    for name in (part.strip() for word in words for part in word.split(",")):
        if not name:
            continue
        found = [at[name]] if name in at else groups.get(name) or _range(name, at) or _like(name, ids)
        if not found:
            raise InputError(f"no neuron '{name}' in {of}{_meant(name, ids, groups)}")
        chosen.update(dict.fromkeys(map(int, found)))
    if not chosen:
        raise InputError("no neuron is named; write ids, groups or patterns: a,exc,AV*,n.3..7")
    return list(chosen)


def _range(name: str, at: Mapping[str, int]) -> list[int]:
    found = _RANGE.fullmatch(name)
    if not found or found[1] + found[2] not in at or found[1] + found[3] not in at:
        return []
    return [at[id] for n in range(int(found[2]), int(found[3]) + 1) if (id := f"{found[1]}{n}") in at]


def _like(pattern: str, ids: Sequence[str]) -> list[int]:
    return [index for index, id in enumerate(ids) if fnmatchcase(id, pattern)]


def _meant(name: str, ids: Sequence[str], groups: Mapping[str, Sequence[int]]) -> str:
    near = get_close_matches(name, [*ids, *groups], 1)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; there are {', '.join(ids[:4])}" + (", …" if len(ids) > 4 else "")
