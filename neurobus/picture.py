"""How all pictures look: one set of colours that colour-blind readers can tell apart, one way to save."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurobus.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
INK, GREY, FAINT, MARK = "#22262b", "#7b828a", "#e6e8eb", "#d1495b"
COLOURS = ("#2b6ca3", "#c8702a", "#2f8f6b", "#8a5aa8", "#b8902b", "#4aa0b5")
"""Blue, orange, green, purple, ochre, teal: in this order."""
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 8.5, "text.color": INK,
    "axes.edgecolor": GREY, "axes.labelcolor": GREY, "axes.linewidth": 0.6,
    "axes.spines.top": False, "axes.spines.right": False,
    "axes.titlelocation": "left", "axes.titlesize": 9.5, "axes.titlecolor": INK,
    "xtick.color": GREY, "ytick.color": GREY, "xtick.major.width": 0.6, "ytick.major.width": 0.6,
    "xtick.major.size": 2.5, "ytick.major.size": 2.5,
    "legend.frameon": False, "legend.fontsize": 8,
    "svg.fonttype": "none", "svg.hashsalt": "neurobus",
}  # fmt: skip
_MARGIN_IN = 0.14


def require_suffix(out: Path) -> None:
    """Raises `InputError` where `out` names no kind of picture there is."""
    if out.suffix.lower() not in SUFFIXES:
        raise InputError(f"cannot draw a '{out.suffix}'; name a file ending in {', '.join(SUFFIXES)}", out)


def blank(width_in: float, height_in: float, above_in: float = 0.0, below_in: float = 0.0) -> Figure:
    """An empty figure whose axes find their places by themselves; room for a title above, words below.

    Draw under `matplotlib.rc_context(STYLE)`.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    x, y = _MARGIN_IN / width_in, (_MARGIN_IN + below_in) / height_in
    high = 1 - y - (_MARGIN_IN + above_in) / height_in
    layout = ConstrainedLayoutEngine(rect=(x, y, 1 - 2 * x, high), h_pad=0.04, w_pad=0.04)
    return Figure(figsize=(width_in, height_in), dpi=160, layout=layout)


def save(figure: Figure, out: Path) -> Path:
    """Writes the same bytes for the same figure. Raises `InputError` where that cannot be."""
    metadata = {"Date": None} if out.suffix.lower() == ".svg" else None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            # Labels of a stranger's log may leave no room for axes: they keep their places then.
            warnings.filterwarnings("ignore", "constrained_layout not applied")
            figure.savefig(out, metadata=metadata, facecolor="white")
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", out) from error
    return out
