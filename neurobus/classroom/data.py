"""Labelled samples: read, checked, brought to the levels of the code. Every mistake is one clear line."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from neurobus.config.tables import CsvTable
from neurobus.errors import InputError

Levels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Named = tuple[npt.NDArray[np.float64], npt.NDArray[np.str_]]
"""Samples, and the class of each as it is written."""
DIGITS = "digits"
DIGITS_TRAINED = 1000
LABEL_COLUMNS = ("label", "class", "target", "y")


@dataclass(frozen=True)
class Samples:
    """N samples of D values each: `levels` (N, D) uint8 from 0 (silent) to `top`, `labels` (N,) from 0.

    `names`: class → what a person calls it. `shape`: rows and columns where a sample is a picture.
    `train`, `test`: which samples are shown, and which held out. `origin`: where they came from, with a
    digest of what was read.
    """

    levels: Levels
    labels: Labels
    names: list[str]
    shape: tuple[int, int]
    train: Labels
    test: Labels
    origin: str

    @property
    def n_inputs(self) -> int:
        return int(self.levels.shape[1])


def read(name: str, top: int, split: int | None = None, n_train: int | None = None) -> Samples:
    """The samples called `digits` (scikit-learn's), or those in FILE.npz or FILE.csv.

    `split`: shuffle with this seed before the first `n_train` are taken for training. Without it digits
    stay in their order (the rest is by other writers), and a file is shuffled with seed 0 unless it names
    its own `X_test`. Raises InputError.
    """
    held_out: tuple[npt.NDArray[np.float64], Labels] | None = None
    if name == DIGITS:
        X, y = _digits()
        names = [str(k) for k in range(10)]
    else:
        path, more = Path(name), None
        if path.suffix == ".npz":
            (X, written), more = _npz(path)
        elif path.suffix == ".csv":
            X, written = _csv(path)
        else:
            raise InputError(f"no data called '{name}'; write digits, FILE.npz or FILE.csv")
        y, names = _classes(written, path)
        if more is not None:
            held_out = more[0], _known(more[1], names, path)
    file = None if name == DIGITS else Path(name)
    if held_out is not None and split is None:
        if n_train is not None:
            raise InputError("has an X_test of its own; --train needs --split SEED then", file)
        both, labels = np.concatenate([X, held_out[0]]), np.concatenate([y, held_out[1]])
        train, test = np.arange(len(X)), np.arange(len(X), len(both))
        X, y = both, labels
    else:
        if held_out is not None:
            X, y = np.concatenate([X, held_out[0]]), np.concatenate([y, held_out[1]])
        n = n_train if n_train is not None else DIGITS_TRAINED if file is None else 2 * len(X) // 3
        if not 0 < n < len(X):
            raise InputError(f"--train {n} of {len(X)} samples leaves none to test; give 1 to {len(X) - 1}")
        seed = split if split is not None else None if file is None else 0
        order = np.arange(len(X)) if seed is None else np.random.RandomState(seed).permutation(len(X))
        train, test = order[:n], order[n:]
    if missing := sorted(set(range(len(names))) - set(y[train].tolist())):
        raise InputError(f"class {names[missing[0]]} has no sample to train on; take another --split", file)
    flat = X.reshape(len(X), -1)
    levels = _levels(flat, top, train, file)
    digest = hashlib.sha256(levels.tobytes() + y.astype("<i8").tobytes()).hexdigest()[:16]
    return Samples(levels, y, names, _shape(X), train, test, f"{name} sha256:{digest}")


def _digits() -> tuple[npt.NDArray[np.float64], Labels]:
    try:
        from sklearn.datasets import load_digits  # type: ignore[import-untyped]
    except ImportError as error:
        message = "--data digits needs scikit-learn; install it with: pip install 'neurobus[train]'"
        raise InputError(message) from error
    X, y = load_digits(return_X_y=True)
    return X.reshape(-1, 8, 8), y.astype(np.int64)


def _npz(path: Path) -> tuple[Named, Named | None]:
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", path) from error
    except (ValueError, zipfile.BadZipFile) as error:
        raise InputError(
            "is no NPZ of plain arrays; write it with numpy.savez(file, X=..., y=...)", path
        ) from error
    for key in ("X", "y"):
        if key not in arrays:
            have = ", ".join(sorted(arrays)) or "nothing"
            raise InputError(
                f"has no array '{key}'; it holds {have}; X is samples × values, y their classes", path
            )
    X, y = _pair(arrays["X"], arrays["y"], "X", "y", path)
    if ("X_test" in arrays) != ("y_test" in arrays):
        raise InputError("X_test and y_test go together", path)
    if "X_test" not in arrays:
        return (X, y), None
    test = _pair(arrays["X_test"], arrays["y_test"], "X_test", "y_test", path)
    if test[0].shape[1:] != X.shape[1:]:
        raise InputError(f"X_test has samples of shape {test[0].shape[1:]}, X of {X.shape[1:]}", path)
    return (X, y), test


def _pair(X: npt.NDArray[np.generic], y: npt.NDArray[np.generic], x_name: str, y_name: str,
          path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.str_]]:  # fmt: skip
    if X.ndim not in (2, 3):
        raise InputError(
            f"{x_name} has shape {X.shape}; it must be samples × values, or samples × rows × columns", path
        )
    if not (np.issubdtype(X.dtype, np.number) or X.dtype == bool) or np.iscomplexobj(X):
        raise InputError(f"{x_name} holds {X.dtype}; it must hold numbers", path)
    if y.shape != (len(X),):
        raise InputError(
            f"{y_name} has shape {y.shape}, but {x_name} has {len(X)} samples; one class each", path
        )
    if not len(X) or not X[0].size:
        raise InputError(f"{x_name} is empty", path)
    if y.dtype.kind == "f" and np.all(np.isfinite(y)) and np.all(y == np.rint(y)):
        y = y.astype(np.int64)
    if y.dtype.kind not in "iubU":
        raise InputError(f"{y_name} holds {y.dtype}; classes must be whole numbers or names", path)
    return X.astype(np.float64), (y.astype(np.int64) if y.dtype.kind == "b" else y).astype(str)


def _csv(path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.str_]]:
    try:
        table = CsvTable.parse(path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path) from error
    classes = next((name for name in table.cells if name.lower() in LABEL_COLUMNS), None)
    if classes is None or len(table.cells) < 2:
        raise InputError(
            f"the first line must name the columns, one of them {' or '.join(LABEL_COLUMNS[:2])}", path, 1
        )
    labels = table.cells[classes]
    if not labels:
        raise InputError("has no samples", path)
    if "" in labels:
        raise table.error(labels.index(""), f"no class in column '{classes}'")
    columns = [table.numbers(name, table.units[name]) for name in table.cells if name != classes]
    return np.column_stack(columns), np.array(labels)


def _classes(y: npt.NDArray[np.str_], path: Path) -> tuple[Labels, list[str]]:
    """Classes as numbers from 0, and their names. Numbered classes must leave no gap."""
    try:
        numbers = [int(label) for label in y.tolist()]
    except ValueError:
        names = sorted(set(y.tolist()))
        if len(names) < 2:
            raise InputError("has one class only; there is nothing to tell apart", path) from None
        at = {name: n for n, name in enumerate(names)}
        return np.array([at[label] for label in y.tolist()]), names
    low, high = min(numbers), max(numbers)
    if low < 0:
        raise InputError(f"class {low} is negative; number the classes 0, 1, 2, …", path)
    present = set(numbers)
    if len(present) < 2:
        raise InputError("has one class only; there is nothing to tell apart", path)
    gap = next((k for k in range(min(high, len(numbers)) + 1) if k not in present), None)
    if gap is not None:
        raise InputError(f"no sample of class {gap}, but some of class {high}; number the classes "
                         "0, 1, 2, … without a gap", path)  # fmt: skip
    return np.array(numbers), [str(k) for k in range(high + 1)]


def _known(y: npt.NDArray[np.str_], names: list[str], path: Path) -> Labels:
    at = {name: n for n, name in enumerate(names)}
    for label in y.tolist():
        if label not in at:
            raise InputError(f"y_test has class {label}, which y has not", path)
    return np.array([at[label] for label in y.tolist()])


def _levels(X: npt.NDArray[np.float64], top: int, train: Labels, file: Path | None) -> Levels:
    """Values from 0 to the largest trained on as levels 0 … top; whole numbers that fit stay as they are."""
    if not np.all(np.isfinite(X)):
        sample, value = np.argwhere(~np.isfinite(X))[0].tolist()
        what = "NaN" if np.isnan(X[sample, value]) else "infinite"
        raise InputError(f"value {value} of sample {sample} is {what}; give a finite number", file)
    if X.min() < 0:
        sample, value = np.argwhere(X < 0)[0].tolist()
        raise InputError(f"value {value} of sample {sample} is {X[sample, value]:g}; a spike can only come "
                         "sooner or later: give values >= 0 (0 is silence)", file)  # fmt: skip
    high = X[train].max()
    if high == 0:
        raise InputError("all values are 0; nobody would fire", file)
    scale = 1.0 if np.all(np.rint(X) == X) and top / 2 < high <= top else top / high
    return np.minimum(np.rint(X * scale), top).astype(np.uint8)


def _shape(X: npt.NDArray[np.float64]) -> tuple[int, int]:
    if X.ndim == 3:
        return X.shape[1], X.shape[2]
    side = round(float(np.sqrt(X.shape[1])))
    return (side, side) if side * side == X.shape[1] else (1, X.shape[1])
