"""Reading a config: TOML and overrides in, checked structs out; every mistake at its line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import field

from neurobus.config.schema import Document
from neurobus.errors import InputError


class Config(Document, kw_only=True):
    """A config with where it came from. `files`: every CSV read, by the name written in the config."""

    name: str
    path: Path | None = None
    text: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)

    def error(self, path: tuple[str | int, ...], message: str) -> InputError:
        """An error at the line of a table or key, such as `("groups", 0, "params", "I_e")`."""
        raise NotImplementedError


def load(path: Path, overrides: Sequence[str] = ()) -> Config:
    """The config in the file `path`, with the CSVs it names. Raises InputError."""
    raise NotImplementedError


def loads(text: str, name: str, files: Mapping[str, bytes], overrides: Sequence[str] = ()) -> Config:
    """A config from memory, CSVs from `files`: how a log runs itself again. Raises InputError."""
    raise NotImplementedError
