"""Samples beside a config, one in a row, one input in a column: `.npy`, `.npz`, `.csv`, a `.png` as one."""

from __future__ import annotations

import io
import zipfile
from pathlib import PurePath

import numpy as np

from neurobus.config.locate import meant
from neurobus.config.tables import CsvTable
from neurobus.errors import InputError
from neurobus.model import Array

SUFFIXES = (".npy", ".npz", ".csv", ".png")


def parse(content: bytes, file: str, array: str | None = None) -> Array:
    """The samples in a file, shape (samples, inputs); images are laid out row by row. Raises InputError.

    `array`: which of a `.npz`. A CSV begins with a line of column names; a PNG gives luminance from 0 to 1.
    """
    suffix = PurePath(file).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"samples cannot be read from a '{suffix}'; use one of {', '.join(SUFFIXES)}", file)
    if array is not None and suffix != ".npz":
        raise InputError(f'only a .npz holds several arrays; leave out array = "{array}"', file)
    if suffix == ".csv":
        table = CsvTable.parse(content, file)
        return np.column_stack([table.numbers(name, table.units[name]) for name in table.cells])
    found = _image(content, file) if suffix == ".png" else _numpy(content, file, array)
    if found.dtype.kind not in "biuf":
        raise InputError(f"holds {found.dtype} where numbers are needed", file)
    if found.ndim < 2 or not found.size:
        raise InputError(f"has the shape {found.shape}; samples stand in rows: (samples, inputs)", file)
    samples = found.reshape(len(found), -1).astype(np.float64)
    bad = np.argwhere(~np.isfinite(samples))
    if len(bad):
        raise InputError(f"sample {bad[0][0]}, input {bad[0][1]} is not a finite number", file)
    return samples


def _numpy(content: bytes, file: str, array: str | None) -> np.ndarray:
    try:
        loaded = np.load(io.BytesIO(content), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        if array is None and len(loaded.files) == 1:
            array = loaded.files[0]
        if array is None:
            raise InputError(f"holds several arrays; name one: array = …{meant('', loaded.files)}", file)
        if array not in loaded.files:
            raise InputError(f"holds no array '{array}'{meant(array, loaded.files)}", file)
        return np.asarray(loaded[array])
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"is no array that numpy can read: {error}", file) from error


def _image(content: bytes, file: str) -> np.ndarray:
    from matplotlib.image import imread

    try:
        image = np.asarray(imread(io.BytesIO(content), format="png"), np.float64)
    except (ValueError, SyntaxError, OSError) as error:
        raise InputError(f"is no PNG: {error}", file) from error
    if image.ndim == 3:
        colours = image[..., :3] if image.shape[2] >= 3 else image[..., :1]
        image = colours @ (np.array([0.299, 0.587, 0.114]) if colours.shape[2] == 3 else np.ones(1))
    return image[None]
