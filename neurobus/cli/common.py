"""Options and helpers that several verbs share."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

from neurobus import units
from neurobus.errors import InputError

F = TypeVar("F", bound=Callable[..., Any])


class Time(click.ParamType[int]):
    """A time with its unit, as nanoseconds: `10s`, `"1.5 ms"`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            ns = units.to_ns(value)
        except units.UnitError as error:
            self.fail(str(error), param, ctx)
        if ns < 0:
            self.fail(f"'{value}' is negative", param, ctx)
        return ns


TIME = Time()


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(function)


def cluster_option(function: F) -> F:
    return click.option(
        "--cluster", metavar="NAME", help="Which running cluster; not needed when only one runs."
    )(function)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value))


def ids_of(text: str | None) -> list[str] | None:
    """`a,b,c` as a list; None stays None. Raises InputError when it names nobody."""
    if text is None:
        return None
    ids = [part.strip() for part in text.split(",") if part.strip()]
    if not ids:
        raise InputError("--only names no neuron; write --only a,b,c")
    return ids
