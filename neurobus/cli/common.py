"""Options and helpers that several verbs share."""

from __future__ import annotations

import contextlib
import json
import math
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from neurobus import modelpath, units
from neurobus.bounds import MOST_SEED
from neurobus.errors import InputError, RunError

RECORDING = "neurobus.log.recording"
F = TypeVar("F", bound=Callable[..., Any])


class Time(click.ParamType[int]):
    """A time with its unit, as nanoseconds: `10s`, `"1.5 ms"`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            ns = units.to_ns(value, usual="s")
        except units.UnitError as error:
            self.fail(str(error), param, ctx)
        if ns < 0:
            self.fail(f"'{value}' is negative", param, ctx)
        return ns


TIME = Time()


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(function)


def window_options(function: F) -> F:
    """`--start`, `--end`, `--only`: which part of a log."""
    for option in (
        click.option("--only", metavar="IDS", help="Only these ids, groups, patterns: a,exc,AV*,n.3..7."),
        click.option(
            "--end", "end_ns", type=TIME, metavar="TIME", help="To this model time. Default: the end."
        ),
        click.option(
            "--start",
            "start_ns",
            type=TIME,
            default="0 s",
            metavar="TIME",
            help="From this model time. Default: 0 s.",
        ),
    ):
        function = option(function)
    return function


def cluster_option(function: F) -> F:
    return click.option(
        "--cluster", metavar="NAME", help="Which running cluster; not needed when only one runs."
    )(function)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value))


def print_rows(rows: list[Any]) -> None:
    """What a verb says of each thing it was given: one object, or a list where there are several."""
    print_json(rows[0] if len(rows) == 1 else rows)


def ids_of(text: str | None) -> list[str] | None:
    """`a,b,c` as a list; None stays None. Raises InputError when it names nobody."""
    if text is None:
        return None
    ids = [part.strip() for part in text.split(",") if part.strip()]
    if not ids:
        raise InputError("--only names no neuron; write --only a,b,c")
    return ids


def overwrite_option(what: str) -> Callable[[F], F]:
    return click.option("--overwrite", is_flag=True, help=f"Write over {what} that is there already.")


def recording_options(function: F) -> F:
    """`--record FILE` and `--overwrite`, for `recorder`."""
    place = click.option("--record", type=click.Path(path_type=Path), metavar="FILE",
                         help="Record all spikes and stimuli into FILE (.mcap).")  # fmt: skip
    return place(overwrite_option("a log")(function))


def recorder(record: Path | None, overwrite: bool) -> list[tuple[str, dict[str, Any]]]:
    """The recorder as a program of a run; none where nothing is to be recorded. Raises InputError at once
    where the log cannot be written."""
    if record is None:
        return []
    from neurobus.log.place import require_free

    require_free(record, overwrite)
    return [(RECORDING, {"path": str(record.absolute()), "overwrite": overwrite})]


def with_option(function: F) -> F:
    return click.option(
        "--with",
        "observers",
        multiple=True,
        metavar="MODULE[:CLASS][,KEY=VALUE]",
        help="Let an observer of your own hear the run (neurobus observe --help). Repeatable.",
    )(function)


SEED = click.IntRange(0, MOST_SEED)


class Rate(click.ParamType[float]):
    """How fast, as a finite number above 0: `1`, `0.5`."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            rate = float(value)
        except ValueError:
            self.fail(f"'{value}' is not a number", param, ctx)
        if not 0 < rate < math.inf:
            self.fail(f"'{value}' is no rate; it must be > 0 and finite", param, ctx)
        return rate


RATE = Rate()


def trust_option(function: F) -> F:
    return click.option(
        "--trust", is_flag=True, help="Import models that neurobus does not ship: this runs their code."
    )(function)


def find_models(*beside: Path, trust: bool = True) -> None:
    """Models of the user's own are found beside the config, or in the current folder. Without `trust` none of
    them is imported; a config out of a log or a brain has it only where a person gave it."""
    modelpath.guard(not trust)
    modelpath.look_in((*beside, Path.cwd()))


@contextlib.contextmanager
def on_interrupt(stop: Callable[[], None]) -> Iterator[None]:
    """Within the block the first Ctrl-C (or SIGTERM) calls `stop`, the next ends the program."""

    def interrupted(number: int, frame: object) -> None:
        signal.signal(number, before[signal.Signals(number)])
        stop()

    before = {number: signal.signal(number, interrupted) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def at_most(seconds: float, word: str) -> Iterator[None]:
    """Nothing within the block waits for longer, whatever it waits for. Raises RunError with that word."""

    def late(number: int, frame: object) -> None:
        raise RunError(word)

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
