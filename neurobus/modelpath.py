"""Which modules a config may name as models, and where they are looked for.

A log and a brain carry a config that somebody else may have written, and to import a module is to run it.
So where the config comes out of such a file, only the models that neurobus ships may be named, unless a
person says that they trust it. And a folder is looked into last: a `random.py` in it never stands in for
Python's own.
"""

from __future__ import annotations

import difflib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterable
from pathlib import Path

SHIPPED = "nodes."
"""What the dotted names of shipped models begin with. As this package is installed, no folder stands in for
it."""

_guarded = False
_left_out: list[str] = []


def look_in(folders: Iterable[str | Path]) -> None:
    """Model modules are looked for in `folders` too, in this order, after all places known so far."""
    for folder in folders:
        if (place := str(Path(folder).absolute())) not in sys.path:
            sys.path.append(place)


def guard(on: bool = True) -> None:
    """From now on this process, and what it forks, imports shipped models alone (or any again)."""
    global _guarded
    _guarded = on


def leave_out(folders: Iterable[str]) -> None:
    """Say of these folders, which are not looked into, that a model stands there."""
    _left_out[:] = folders


def require_allowed(name: str) -> None:
    """Raises ImportError where the model `name` may not be imported."""
    if _guarded and not name.startswith(SHIPPED):
        raise ImportError(f"model '{name}' is not one of neurobus's own, and to import it is to run it; "
                          f"--trust does that, for files whose origin you know{meant(name)}")  # fmt: skip


def shipped() -> list[str]:
    """Dotted names of the modules that neurobus ships; not all of them are models."""
    found = importlib.util.find_spec(SHIPPED.removesuffix("."))
    places = found.submodule_search_locations if found else None
    return sorted(SHIPPED + module.name for module in pkgutil.iter_modules(places or []))


def meant(name: str) -> str:
    """The tail of an error about a model that is not there: the shipped one that was meant, perhaps."""
    for folder in _left_out:
        if any(Path(folder, name.split(".")[0] + end).exists() for end in (".py", "/__init__.py")):
            return f"; that in {folder} runs only with --trust, or where the config itself is named"
    names = shipped()
    tail = SHIPPED + name.rpartition(".")[2].lower()
    close = [tail] if tail in names else difflib.get_close_matches(name, names, 1, 0.7)
    return f"; did you mean '{close[0]}'?" if close and close[0] != name else ""
