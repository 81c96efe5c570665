"""`neurobus plot`: draw a log."""

from __future__ import annotations

from pathlib import Path

import click

from neurobus.cli.common import ids_of, json_option, print_json, window_options
from neurobus.errors import InputError, one_line


@click.command(name="plot")
@click.argument("log", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    "out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A .png, .svg or .pdf. Default: a .png beside the log.",
)
@window_options
@json_option
def command(
    log: Path, out: Path | None, start_ns: int, end_ns: int | None, only: str | None, as_json: bool
) -> None:
    """Draw LOG: a raster of all spikes, rates, and potentials and weights where they were recorded.

    \b
    neurobus plot ring.mcap -o ring.svg --start 0.5s --end 1s
    """
    from neurobus.log import read
    from neurobus.log.names import only as chosen
    from neurobus.log.plot import plot

    recorded = read(log, start_ns or None, end_ns)
    if end_ns is not None and end_ns <= start_ns:
        raise InputError(f"--end {end_ns / 1e6:g} ms is not after --start {start_ns / 1e6:g} ms")
    if start_ns and start_ns >= recorded.end_ns:
        raise InputError(
            f"nothing after {start_ns / 1e6:g} ms; the log ends at {recorded.end_ns / 1e6:g} ms", log
        )
    for problem in recorded.problems:
        click.echo(one_line(f"this log is not complete: {problem}"), err=True)
    if (ids := ids_of(only)) is not None:
        recorded = chosen(recorded, ids)
    picture = plot(recorded, out or log.with_suffix(".png"), log.stem, start_ns, end_ns)
    print_json({"picture": str(picture)}) if as_json else click.echo(str(picture))
