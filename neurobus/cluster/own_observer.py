"""An observer of a user's own as a program of a run: named by a person, imported in its own process."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from neurobus.cluster import folder as folders
from neurobus.cluster.options import ObserverContext
from neurobus.errors import InputError
from neurobus.guard import Guard, file_of
from neurobus.loading import load_class
from neurobus.observer import Observer, serve_program

MODULE = "neurobus.cluster.own_observer"
Given = tuple[str, dict[str, str]]
"""A class, as `module:Class`, and its options."""


def parse(text: str) -> Given:
    """`MODULE[:CLASS][,KEY=VALUE …]`. Raises InputError."""
    target, *pairs = text.split(",")
    if target.endswith(".py"):
        raise InputError(f"'{target}' is a file; did you mean '{target.removesuffix('.py')}'?")
    split = [pair.partition("=") for pair in pairs]
    if not target or not all(key and equals for key, equals, _ in split):
        raise InputError(f"'{text}' is no observer; write MODULE:CLASS or MODULE:CLASS,KEY=VALUE")
    return target, {key.strip(): value.strip() for key, _, value in split}


def programs(texts: Iterable[str]) -> list[tuple[str, dict[str, Any]]]:
    """Observers as programs of a run. Raises InputError."""
    found: list[tuple[str, dict[str, Any]]] = []
    for target, options in map(parse, texts):
        name = f"observer:{target.partition(':')[0].rpartition('.')[2]}"
        taken = sum(one["name"].partition("#")[0] == name for _, one in found)
        name += f"#{taken + 1}" if taken else ""
        found.append((MODULE, {"name": name, "target": target, "options": options}))
    return found


def make(target: str, options: Mapping[str, str]) -> Observer:
    """The observer of a class `module:Class`, or of the only one in `module`. Raises InputError."""
    try:
        cls: type[Observer] = load_class(target.replace(":", "."), Observer, "observer")
    except ImportError as error:
        raise InputError(str(error)) from error
    return cls(**_converted(cls, options))


def _converted(cls: type[Observer], given: Mapping[str, str]) -> dict[str, Any]:
    known = {} if cls.__init__ is object.__init__ else dict(inspect.signature(cls).parameters)
    if unknown := next((key for key in given if key not in known), None):
        raise InputError(f"{cls.__name__} has no option '{unknown}'; it has {', '.join(known) or 'none'}")
    if missing := next((key for key, p in known.items() if p.default is p.empty and key not in given), None):
        raise InputError(f"{cls.__name__} needs its option '{missing}'; write ,{missing}=VALUE")
    hints = get_type_hints(cls.__init__) if given else {}
    return {key: _value(key, text, hints.get(key, str)) for key, text in given.items()}


def _value(key: str, text: str, kind: Any) -> Any:
    """An option as the type that its annotation names: int, float, bool, Path; text for all others."""
    if kind is bool:
        if text not in ("true", "false"):
            raise InputError(f"option {key} = '{text}' is not true or false")
        return text == "true"
    try:
        return kind(text) if kind in (int, float, Path) else text
    except ValueError:
        raise InputError(f"option {key} = '{text}' is not of type {kind.__name__}") from None


def main(context: ObserverContext) -> None:
    """Arguments: `target`, `options`. What it raises before it is ready ends the run's start."""
    guard = Guard(lambda line: None, file_of(folders.state_dir(), context.name))
    try:
        serve_program(context, make(context.arguments["target"], context.arguments["options"]))
    except InputError:
        raise
    except Exception as error:
        raise InputError(guard.caught(error)) from error
