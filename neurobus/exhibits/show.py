"""Shows one exhibit: measures, draws, and says what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurobus.exhibits.exhibit import Exhibit, Row, load
from neurobus.exhibits.lab import Lab
from neurobus.picture import COLOURS, GREY, MARK, STYLE, blank, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEAD_IN, _FOOT_IN = 0.62, 0.3


@dataclass(frozen=True)
class Shown:
    """What an exhibit came to."""

    name: str
    claim: str
    source: str
    rows: list[Row]
    runs: int
    wall_s: float
    picture: Path | None

    @property
    def passed(self) -> bool:
        """No row failed, and at least one was judged."""
        judged = [row.passed for row in self.rows if row.passed is not None]
        return bool(judged) and all(judged)

    def facts(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "name": self.name,
            "passed": self.passed,
            "claim": self.claim,
            "source": self.source,
            # NaN, where there was nothing to measure, is no JSON.
            "rows": [{key: None if v != v else v for key, v in asdict(row).items()} for row in self.rows],
            "runs": self.runs,
            "wall_s": round(self.wall_s, 2),
            "picture": str(self.picture) if self.picture else None,
        }


def show(name: str, folder: Path | None, changes: Sequence[str] = (),
         word: Callable[[str], None] = lambda text: None) -> Shown:  # fmt: skip
    """Measures exhibit `name`, under `changes` to its configs, and draws it to `folder`/NAME.png.

    Raises InputError for an unknown name or a wrong config, RunError for a run that failed.
    """
    begun = time.monotonic()
    exhibit = load(name)()
    rows: list[Row] = []
    picture = None
    with Lab(changes, word) as lab:
        try:
            rows += exhibit.measure(lab)
            picture = None if folder is None else draw(exhibit, folder / f"{name}.png", rows)
        except (ValueError, IndexError, ZeroDivisionError) as error:
            # Whoever changes the config may take away what there is to measure; without that it is a bug.
            if not changes:
                raise
            what = "picture" if rows else "measurement"
            rows.append(Row.that(what, False, f"{type(error).__name__}: {error}", "possible"))
        taken = time.monotonic() - begun
        return Shown(name, exhibit.claim, exhibit.source, rows, lab.runs, taken, picture)


def draw(exhibit: Exhibit, out: Path, rows: Sequence[Row]) -> Path:
    """The exhibit's picture under its title, over its source and verdict."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        figure = blank(*exhibit.size_in, above_in=_HEAD_IN, below_in=_FOOT_IN)
        exhibit.draw(figure)
        _frame(figure, exhibit, [row.passed for row in rows if row.passed is not None])
        return save(figure, out)


def _frame(figure: Figure, exhibit: Exhibit, judged: list[bool | None]) -> None:
    width_in, height_in = exhibit.size_in
    left = 0.2 / width_in
    figure.text(left, 1 - 0.2 / height_in, exhibit.title, fontsize=13, fontweight="bold", va="top")
    figure.text(left, 1 - 0.47 / height_in, exhibit.claim, color=GREY, fontsize=8.5, va="top")
    figure.text(left, 0.16 / height_in, exhibit.source, color=GREY, fontsize=7.5)
    good = all(judged)
    verdict = f"{sum(map(bool, judged))} of {len(judged)} numbers met"
    figure.text(
        1 - left, 0.16 / height_in, verdict, color=COLOURS[2] if good else MARK, fontsize=7.5, ha="right"
    )


def render(shown: Shown, paint: Callable[[str, bool], str] = lambda text, good: text) -> str:
    """As text for a terminal: claim, rows with their tolerance and source, verdict. `paint` colours marks."""
    rows = shown.rows
    wide = max((len(row.what) for row in rows), default=0)
    value = max((len(row.text()) for row in rows), default=0)
    expected = max((len(row.expected) for row in rows), default=0)
    lines = [shown.name, f"  {shown.claim}", f"  {shown.source}", ""]
    for row in rows:
        mark = {True: paint("✓", True), False: paint("✗", False), None: "·"}[row.passed]
        told = f"{row.expected:<{expected}}  {row.source}".rstrip()
        lines.append(f"  {mark} {row.what:<{wide}}  {row.text():>{value}}   {told}".rstrip())
    verdict = paint("passed", True) if shown.passed else paint("failed", False)
    lines += ["", f"  {verdict}, {shown.runs} run{'s' * (shown.runs != 1)} in {shown.wall_s:.1f} s"]
    if shown.picture is not None:
        lines.append(f"  {shown.picture}")
    return "\n".join(lines)
