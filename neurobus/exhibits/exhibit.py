"""What an exhibit is: a claim, the runs that put it to the test, the rows they must meet, the picture.

    class Thorpe(Exhibit):
        title = "Order decides"
        claim = "A rank-order cell answers to the order in which its inputs arrive, not to their contrast."
        source = "Thorpe 1990"

        def measure(self, lab):
            run = lab.run("thorpe", "groups.reader.params.mod=0.8")
            self.t_ms = run.spikes_ms("reader")
            return [Row.near("spikes", self.t_ms.size, 3, 0, source="Thorpe 1990, fig. 1")]

        def draw(self, figure):
            figure.subplots().plot(self.t_ms, ...)

The module's name is the exhibit's name; `lab.run("thorpe")` runs configs/papers/thorpe.toml.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from neurobus.config.locate import meant
from neurobus.errors import InputError
from neurobus.exhibits import papers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from neurobus.exhibits.lab import Lab


@dataclass(frozen=True)
class Row:
    """One number that was measured, and what it must be. `passed` None: told, not judged."""

    what: str
    measured: float | str
    expected: str
    passed: bool | None
    unit: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        # NumPy's scalars are no JSON.
        if self.passed is not None:
            object.__setattr__(self, "passed", bool(self.passed))
        if not isinstance(self.measured, str):
            object.__setattr__(self, "measured", float(self.measured))

    @classmethod
    def near(cls, what: str, measured: float, expected: float, tolerance: float, unit: str = "",
             source: str = "") -> Row:  # fmt: skip
        """Passes where |measured - expected| <= tolerance."""
        words = f"{number(expected)} ± {number(tolerance)}" if tolerance else number(expected)
        return cls(what, measured, _with(words, unit), abs(measured - expected) <= tolerance, unit, source)

    @classmethod
    def between(cls, what: str, measured: float, low: float, high: float, unit: str = "",
                source: str = "") -> Row:  # fmt: skip
        """Passes where low <= measured <= high."""
        words = f"{number(low)} to {number(high)}"
        return cls(what, measured, _with(words, unit), low <= measured <= high, unit, source)

    @classmethod
    def below(cls, what: str, measured: float, limit: float, unit: str = "", source: str = "") -> Row:
        """Passes where measured < limit."""
        return cls(what, measured, _with(f"< {number(limit)}", unit), measured < limit, unit, source)

    @classmethod
    def above(cls, what: str, measured: float, limit: float, unit: str = "", source: str = "") -> Row:
        """Passes where measured > limit."""
        return cls(what, measured, _with(f"> {number(limit)}", unit), measured > limit, unit, source)

    @classmethod
    def that(cls, what: str, passed: bool, measured: str, expected: str, source: str = "") -> Row:
        """Passes where `passed` is true; measured and expected in words."""
        return cls(what, measured, expected, passed, "", source)

    @classmethod
    def told(cls, what: str, measured: float | str, unit: str = "", source: str = "") -> Row:
        """A number to know, which nothing hangs on."""
        return cls(what, measured, "", None, unit, source)

    def text(self) -> str:
        """The measured value as a person reads it."""
        if isinstance(self.measured, str):
            return self.measured
        return _with(number(self.measured), self.unit)


def number(value: float) -> str:
    """Four significant digits; whole numbers whole."""
    return f"{value:,.0f}" if abs(value) < 1e7 and value == round(value) else f"{value:.4g}"


def _with(words: str, unit: str) -> str:
    return f"{words} {unit}".rstrip()


class Exhibit(ABC):
    """One exhibit. `measure` keeps on `self` what `draw` needs.

    `title` a few words; `claim` one sentence; `source` the paper. `quick`: below ten seconds, and so part of
    the tests; the others run with `make papers`. `controls`: changes to the config (`PATH=VALUE`, or several
    of them), each of which must make a row fail: they show that the exhibit can. `size_in`: width and height
    of the picture.
    """

    title: ClassVar[str]
    claim: ClassVar[str]
    source: ClassVar[str]
    quick: ClassVar[bool] = True
    controls: ClassVar[tuple[str | tuple[str, ...], ...]] = ()
    size_in: ClassVar[tuple[float, float]] = (9.6, 5.4)

    @abstractmethod
    def measure(self, lab: Lab) -> list[Row]:
        """Run what is to be run, and say what came of it."""

    @abstractmethod
    def draw(self, figure: Figure) -> None:
        """The picture a reader of the paper would recognise, into an empty figure; title and source stand
        above and below it already."""


def names() -> list[str]:
    """All exhibits, by name."""
    return sorted(module.name for module in pkgutil.iter_modules(papers.__path__))


def load(name: str) -> type[Exhibit]:
    """The exhibit called `name`. Raises InputError where there is none."""
    if name not in names():
        raise InputError(f"no exhibit '{name}'{meant(name, names())}")
    module = importlib.import_module(f"{papers.__name__}.{name}")
    (found,) = [value for value in vars(module).values() if isinstance(value, type)
                and issubclass(value, Exhibit) and value.__module__ == module.__name__]  # fmt: skip
    return found
