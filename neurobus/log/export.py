"""Spikes, potentials and weights in other programs' formats: `FORMATS` lists them, each has its own file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TypeVar

from neurobus.errors import InputError
from neurobus.log.format import Log

T = TypeVar("T")


@dataclass(frozen=True)
class Format:
    """`module`: in `neurobus.log.exports`, with `write(log, out)`, which returns the files it has written.
    `begins`: the bytes by which its files are known; nothing else is ever written over."""

    module: str
    suffixes: tuple[str, ...]
    begins: bytes

    @property
    def write(self) -> Callable[[Log, Path], list[Path]]:
        write: Callable[[Log, Path], list[Path]] = import_module(f"neurobus.log.exports.{self.module}").write
        return write


FORMATS = {one.module: one for one in (
    Format("csv", (".csv",), b"time_ms,"),
    Format("sonata", (".h5", ".hdf5"), b"\x89HDF"),
    Format("nwb", (".nwb",), b"\x89HDF"),
)}  # fmt: skip


def export(log: Log, out: str | Path, format: str | None = None) -> list[Path]:
    """Writes the log to `out`; `format` is one of `FORMATS`, by default that of the suffix. Returns the
    files it has written. A part begins with the potentials and weights told last before it, at their own
    times.

    Raises `InputError` for an unknown format, a missing library, a place that cannot be written, or one that
    holds what no export has.
    """
    out = Path(out)
    by_suffix = (name for name, one in FORMATS.items() if out.suffix.lower() in one.suffixes)
    name = format or next(by_suffix, "")
    if name not in FORMATS:
        raise InputError(f"cannot export as '{format or out.suffix}'; formats: {', '.join(FORMATS)}", out)
    return _written(out, lambda: FORMATS[name].write(log, out))


def weights_csv(log: Log, out: str | Path) -> Path:
    """Writes the recorded weights alone to `out`, as CSV. Raises as `export`."""
    from neurobus.log.exports.csv import write_weights

    out = Path(out)
    _written(out, lambda: write_weights(log, out))
    return out


def _written(out: Path, write: Callable[[], T]) -> T:
    try:
        if out.is_file():
            with out.open("rb") as file:
                head = file.read(16)
            if head and not head.startswith(tuple(one.begins for one in FORMATS.values())):
                # A log, a config, a thesis.
                raise InputError("is there already and is no export, so it is kept; name another file", out)
        out.parent.mkdir(parents=True, exist_ok=True)
        return write()
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", out) from error
