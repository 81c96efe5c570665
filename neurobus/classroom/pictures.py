"""What each neuron has learnt, and how often it is right: two pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from neurobus.classroom.readout import SILENT, Ints
from neurobus.model import Array
from neurobus.picture import COLOURS, FAINT, GREY, INK, MARK, STYLE, blank, require_suffix, save

MOST_PICTURES = 400


def weights(W: Array, class_of: Ints, names: list[str], shape: tuple[int, int], title: str, caption: str,
            out: Path) -> Path:  # fmt: skip
    """(K, D) weights as K pictures, a column for each class. `class_of` (K,), SILENT where nobody knows."""
    import matplotlib

    require_suffix(out)
    kinds = [*range(len(names)), *([SILENT] if np.any(class_of == SILENT) else [])]
    columns = [np.flatnonzero(class_of == kind) for kind in kinds]
    rows = min(max(map(len, columns)), max(1, MOST_PICTURES // len(kinds)))
    high = max(float(np.abs(W).max()), 1e-9)
    signed = float(W.min()) < 0
    aspect = shape[0] / shape[1]
    wide = 0.86
    with matplotlib.rc_context(STYLE):
        figure = blank(len(kinds) * wide + 0.2, rows * wide * min(max(aspect, 0.25), 2) + 0.9, above_in=0.5)
        axes = figure.subplots(rows, len(kinds), squeeze=False)
        for x, (kind, members) in enumerate(zip(kinds, columns, strict=True)):
            for y in range(rows):
                axis = axes[y, x]
                axis.set_xticks([])
                axis.set_yticks([])
                for side in axis.spines.values():
                    side.set_visible(False)
                if y >= len(members):
                    axis.set_facecolor("white")
                    continue
                picture = W[members[y]].reshape(shape)
                if signed:
                    axis.imshow(
                        picture, cmap="RdBu_r", vmin=-high, vmax=high, interpolation="nearest", aspect="auto"
                    )
                elif picture.any():
                    axis.imshow(
                        picture, cmap="magma", vmin=0, vmax=high, interpolation="nearest", aspect="auto"
                    )
                else:
                    axis.set_facecolor(FAINT)
            axes[0, x].set_title(
                "?" if kind == SILENT else names[kind], loc="center", fontsize=11, fontweight="bold"
            )
        _head(figure, title, caption)
        return save(figure, out)


def confusion(table: Ints, names: list[str], title: str, caption: str, out: Path) -> Path:
    """(C, C + 1) counts, the last column silence: rows are what was shown, columns what was answered."""
    import matplotlib
    from matplotlib.colors import LinearSegmentedColormap

    require_suffix(out)
    classes = len(names)
    silent = bool(table[:, -1].any())
    shown = table if silent else table[:, :-1]
    share = shown / np.maximum(shown.sum(axis=1, keepdims=True), 1)
    right = LinearSegmentedColormap.from_list("right", ["#ffffff", COLOURS[0]])
    wrong = LinearSegmentedColormap.from_list("wrong", ["#ffffff", MARK])
    diagonal = np.arange(classes)[:, None] == np.arange(shown.shape[1])
    cell = 0.42
    with matplotlib.rc_context(STYLE):
        figure = blank(shown.shape[1] * cell + 1.7, classes * cell + 1.5, above_in=0.5)
        axis = figure.subplots()
        axis.imshow(np.where(diagonal, share, np.nan), cmap=right, vmin=0, vmax=1)
        worst = max(float(share[~diagonal].max(initial=0.0)), 0.05)
        axis.imshow(np.where(diagonal, np.nan, share), cmap=wrong, vmin=0, vmax=worst * 1.6)
        for i, j in np.ndindex(*shown.shape):
            if shown[i, j]:
                dark = diagonal[i, j] and share[i, j] > 0.5
                axis.text(j, i, f"{shown[i, j]}", ha="center", va="center", fontsize=8,
                          color="white" if dark else INK)  # fmt: skip
        axis.set_xticks(range(shown.shape[1]), [*names, *(["silent"] if silent else [])],
                        rotation=0 if max(map(len, names)) < 4 and not silent else 45)  # fmt: skip
        axis.set_yticks(range(classes), names)
        axis.set_xlabel("answered")
        axis.set_ylabel("shown")
        axis.tick_params(length=0)
        for side in axis.spines.values():
            side.set_visible(False)
        axis.set_xticks(np.arange(-0.5, shown.shape[1]), minor=True)
        axis.set_yticks(np.arange(-0.5, classes), minor=True)
        axis.grid(which="minor", color=FAINT, linewidth=0.8)
        axis.tick_params(which="minor", length=0)
        _head(figure, title, caption)
        return save(figure, out)


def _head(figure: object, title: str, caption: str) -> None:
    from matplotlib.figure import Figure

    assert isinstance(figure, Figure)
    width, height = figure.get_size_inches()
    figure.text(0.14 / width, 1 - 0.18 / height, title, fontsize=13, fontweight="bold", va="top")
    figure.text(0.14 / width, 1 - 0.42 / height, caption, fontsize=8.5, color=GREY, va="top")
