"""`neurobus log`: look into logs."""

from __future__ import annotations

import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from neurobus.cli.common import (
    RECORDING,
    find_models,
    ids_of,
    json_option,
    overwrite_option,
    print_json,
    trust_option,
    window_options,
)
from neurobus.errors import InputError, RunError, one_line
from neurobus.log import Log, info, read
from neurobus.log import recover as recovered
from neurobus.log.diff import diff as compare
from neurobus.log.diff import same_weights
from neurobus.log.export import FORMATS, weights_csv
from neurobus.log.export import export as write
from neurobus.log.names import only as chosen
from neurobus.words import counted, some

A_LOG = click.Path(path_type=Path)


@click.group(name="log", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Look into logs.

    \b
    neurobus log info ring.mcap
    neurobus log verify ring.mcap
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@command.command(name="info", short_help="what a log holds")
@click.argument("log", type=A_LOG)
@json_option
def info_(log: Path, as_json: bool) -> None:
    """Say what LOG holds, and what is lost where it is damaged.

    \b
    neurobus log info ring.mcap
    """
    facts = info.describe(read(log))
    print_json(facts) if as_json else click.echo(info.render(facts))


@command.command(short_help="its spikes as CSV, SONATA or NWB; its weights as CSV")
@click.argument("log", type=A_LOG)
@click.argument("out", type=A_LOG, required=False)
@click.option("-o", "--output", "output", type=A_LOG, metavar="FILE", help="The same as OUT.")
@click.option("--format", "name", type=click.Choice(list(FORMATS)), help="Default: OUT's suffix.")
@click.option("--weights", is_flag=True, help="Its recorded weights instead of its spikes; to a .csv.")
@window_options
@json_option
def export(
    log: Path, out: Path | None, output: Path | None, name: str | None, weights: bool, start_ns: int,
    end_ns: int | None, only: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Write LOG to OUT, its spikes, and potentials and weights where they were recorded: .h5 (SONATA),
    .nwb, or .csv, with OUT.potentials.csv and OUT.weights.csv beside it; or with --weights its weights
    alone to a .csv.

    \b
    neurobus log export ring.mcap ring.csv --only n.0,n.1
    neurobus log export learn.mcap weights.csv --weights
    """
    if (out is None) == (output is None):
        raise InputError("name one file to write: OUT, or -o FILE")
    out = out or output
    assert out is not None
    part = read(log, start_ns or None, end_ns)
    if (ids := ids_of(only)) is not None:
        part = chosen(part, ids)
    if not part.complete:
        click.echo(one_line(f"{log} is not complete: {part.problems[0]}"), err=True)
    if weights:
        if (name or out.suffix.lower().removeprefix(".")) != "csv":
            raise InputError("weights are exported as CSV; name a .csv", out)
        if not part.weights.t.size:
            raise InputError("holds no weights; a config with run.record_weights records them", log)
        path, n = weights_csv(part, out), int(part.weights.t.size)
        print_json({"path": str(path), "weights": n}) if as_json else click.echo(
            f"{counted(n, 'weight')} in {path}"
        )
        return
    paths = write(part, out, name)
    figures = {"spikes": part.spikes_t.size, "samples": part.samples.t.size, "weights": part.weights.t.size}
    if as_json:
        print_json({"path": str(paths[0]), "files": [str(path) for path in paths],
                    **{name: int(n) for name, n in figures.items()}})  # fmt: skip
    else:
        held = ", ".join(counted(int(n), name.removesuffix("s")) for name, n in figures.items()
                         if n or name == "spikes")  # fmt: skip
        click.echo(f"{held} in {', '.join(map(str, paths))}")


@command.command(short_help="whether two logs hold the same spikes")
@click.argument("a", type=A_LOG)
@click.argument("b", type=A_LOG)
@json_option
@click.pass_context
def diff(ctx: click.Context, a: Path, b: Path, as_json: bool) -> None:
    """Compare the spikes of logs A and B, by time and neuron, and show where they first part.

    \b
    neurobus log diff wall.mcap virtual.mcap

    Exit code 1 when they differ.
    """
    difference = compare(read(a), read(b))
    if as_json:
        print_json({"equal": difference.equal, **asdict(difference)})
    else:
        click.echo(difference.render())
    ctx.exit(0 if difference.equal else 1)


@command.command(short_help="save what can be read of a cut or damaged log")
@click.argument("log", type=A_LOG)
@click.option(
    "-o", "--output", "out", type=A_LOG, metavar="FILE", help="Default: LOG.recovered.mcap, beside it."
)
@overwrite_option("a log")
@json_option
def recover(log: Path, out: Path | None, overwrite: bool, as_json: bool) -> None:
    """Write all that can be read of a cut or damaged LOG into a sound one.

    \b
    neurobus log recover crashed.mcap -o saved.mcap
    """
    saved = recovered(log, out or log.with_suffix(".recovered.mcap"), overwrite)
    if as_json:
        print_json({"path": str(saved.path), "spikes": int(saved.spikes_t.size), "problems": saved.problems})
        return
    click.echo(f"{saved.path}: {counted(saved.spikes_t.size, 'spike')} up to {saved.end_ns / 1e6:g} ms")
    for problem in saved.problems:
        click.echo(f"  {one_line(problem)}")


@command.command(short_help="run a log's own config again and compare the spikes")
@click.argument("log", type=A_LOG)
@trust_option
@json_option
@click.pass_context
def verify(ctx: click.Context, log: Path, trust: bool, as_json: bool) -> None:
    """Run LOG's own config, seed, pokes and external spikes again under the virtual clock, and compare its
    spikes, and its weights where they were recorded.

    \b
    neurobus log verify ring.mcap

    Exit code 1 when the spikes differ. A wall-clock run repeats exactly as long as nothing came late.
    A log names the models of its network. Those that neurobus does not ship are imported only with --trust.
    """
    verdict = _verify(read(log), trust, quiet=as_json)
    if as_json:
        print_json({key: value for key, value in verdict.items() if key != "text"})
    else:
        click.echo(verdict["text"])
    ctx.exit(0 if verdict["verified"] else 1)


def _verify(recorded: Log, trust: bool, quiet: bool) -> dict[str, Any]:
    from neurobus.cli.perform import perform
    from neurobus.cluster.launcher import Launch
    from neurobus.log.rerun import late, rerun

    find_models(recorded.path.parent, trust=trust)
    options = rerun(recorded, [str(recorded.path.absolute().parent), os.getcwd()])
    options.guarded = not trust
    if not quiet:
        name = recorded.header.config_name
        click.echo(one_line(f"running {recorded.end_ns / 1e9:g} s of {name} again ..."), err=True)
    with tempfile.TemporaryDirectory(prefix="neurobus-verify-") as folder:
        again_path = Path(folder) / "again.mcap"
        options.programs = [(RECORDING, {"path": str(again_path)})]
        summary = perform(Launch(options, f"{recorded.path.stem}-verify", recorded.end_ns), quiet=True)
        if summary.model_s * 1e9 < recorded.end_ns - recorded.header.dt_ns:
            raise click.Abort
        again = read(again_path)
    if not again.complete:
        raise RunError(f"the second run was not recorded whole: {again.problems[0]}")
    # What a recording plays is an input here, and no result.
    results = [id for id in recorded.header.config_ids if id not in options.replaced]
    difference = compare(chosen(recorded, results), chosen(again, results))
    weighed, moved = same_weights(recorded, again)
    came_late = late(recorded)
    notes = list(recorded.problems)
    if by_hand := list(recorded.header.guests):
        notes.append(f"{some(by_hand)}: started by hand and not run again; no neuron of the config heard it")
    if came_late:
        notes.append(
            f"{counted(came_late, 'input')} came late in this run, so the virtual clock need not repeat it"
        )
    if difference.equal and not moved:
        weights = f" and {counted(weighed, 'weight')}" if weighed else ""
        text = f"verified: {counted(difference.spikes_a, 'spike')}{weights} identical"
    elif difference.equal:
        text = f"not verified: the same spikes, but {moved:,} of {weighed:,} weights differ"
    else:
        text = "not verified: A is the log, B its second run\n" + difference.render()
    return {
        "verified": difference.equal and not moved,
        "spikes": difference.spikes_a,
        "weights": weighed,
        "weights_differ": moved,
        "late": came_late,
        "difference": None if difference.equal else asdict(difference),
        "notes": notes,
        "text": "\n".join([text, *(f"note: {one_line(note)}" for note in notes)]),
    }
