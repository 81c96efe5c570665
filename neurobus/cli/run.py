"""`neurobus run`: start a network and see it through."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from neurobus.cli.common import (
    RATE,
    SEED,
    TIME,
    ids_of,
    json_option,
    print_json,
    recorder,
    recording_options,
    trust_option,
    with_option,
)
from neurobus.cli.plain import CELLS, use_stand_ins
from neurobus.cluster.options import Options, refuse_pace
from neurobus.cluster.resume import resume_step
from neurobus.cluster.spawning import fork_server_ahead
from neurobus.cluster.summary import exit_code
from neurobus.errors import InputError, one_line

if TYPE_CHECKING:
    from neurobus.cli.perform import View


@click.command(name="run")
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option(
    "--clock",
    type=click.Choice(["wall", "virtual"]),
    help="Real time, or deterministic and as fast as possible.",
)
@click.option(
    "--pace",
    type=RATE,
    metavar="RATE",
    help="Virtual clock: no faster than RATE times real time.",
)
@click.option(
    "--for",
    "for_ns",
    type=TIME,
    metavar="TIME",
    help="Model time to run, such as 10s. Default: the config's duration.",
)
@click.option("--seed", type=SEED, help="Instead of the config's.")
@recording_options
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change the config, e.g. groups.exc.count=200. Repeatable.",
)
@click.option(
    "--resume", type=click.Path(path_type=Path), metavar="DIR", help="Continue from the snapshots in DIR."
)
@click.option(
    "--save",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where to keep snapshots. Default: the user's state folder.",
)
@click.option(
    "--replay",
    "replayed",
    type=click.Path(path_type=Path),
    metavar="LOG",
    help="Play recorded neurons beside live ones (with --only).",
)
@click.option("--top", "as_top", is_flag=True, help="Watch it in this terminal, as `neurobus top` does.")
@click.option("--raster", is_flag=True, help="Draw its spikes in characters as they happen.")
@click.option("--only", metavar="IDS", help="Which neurons of --replay are played back: a,exc,AV*,n.3..7.")
@with_option
@trust_option
@json_option
def command(
    config: Path | None,
    clock: str | None,
    pace: float | None,
    for_ns: int | None,
    seed: int | None,
    record: Path | None,
    overwrite: bool,
    overrides: tuple[str, ...],
    resume: Path | None,
    save: Path | None,
    replayed: Path | None,
    only: str | None,
    as_top: bool,
    raster: bool,
    observers: tuple[str, ...],
    trust: bool,
    as_json: bool,
) -> None:
    """Start the network of CONFIG: one process per neuron, spikes on the bus.

    \b
    neurobus run configs/first/ring.toml --for 2s --record ring.mcap
    neurobus run configs/balanced.toml --clock virtual --set groups.exc.count=200
    neurobus run configs/worm/worm.toml --set switches.touch_nose=true --raster
    neurobus run configs/first/ring.toml --for 2s --with mine:Count,every=100

    To resume without naming CONFIG looks for models in the current folder alone; beside the config that DIR
    names only with --trust.

    Ctrl-C once stops politely, prints the summary and exits with 130.
    """
    if resume is not None:
        resume_step(resume)
    if config is None and resume is None:
        raise InputError("give a CONFIG, or --resume DIR")
    if (only is None) != (replayed is None):
        raise InputError("--replay LOG and --only IDS go together")
    if record is not None and replayed is not None and record.exists() and record.samefile(replayed):
        raise InputError("this log is played, so it is not recorded over; name another file", record)
    options = _options(config, resume, overrides, seed, trust)
    options.clock = clock or options.clock
    refuse_pace(pace, options.clock)
    if save is not None:
        options.state = str(save.absolute())
    stem = config.stem if config else Path(options.config_path or options.config_name).stem
    with fork_server_ahead() as fork_server:  # it imports while we do
        from neurobus.cli.perform import perform
        from neurobus.cluster.launcher import Launch
        from neurobus.cluster.own_observer import programs

        options.programs = [*recorder(record, overwrite), *programs(observers)]
        if replayed is not None:
            options.replaced = recorded_spikes(replayed, ids_of(only) or [])
        during = view(as_top, raster, for_ns)
        launch = Launch(options, stem, for_ns, pace)
        summary = perform(launch, quiet=as_json, during=during, fork_server=fork_server)
    if as_json:
        print_json(asdict(summary))
    sys.exit(exit_code(summary))


def _options(
    config: Path | None, resume: Path | None, overrides: tuple[str, ...], seed: int | None, trust: bool
) -> Options:
    path = [str(config.absolute().parent)] if config else []
    if resume is None:
        assert config is not None
        return Options(
            config_path=str(config), overrides=list(overrides), seed=seed, python_path=[*path, os.getcwd()]
        )
    options = Options.kept(resume, trust)
    options.resume = options.state = str(resume.absolute())
    options.stimuli = []
    if config is not None:
        options.config_path, options.started_in = str(config), os.getcwd()
        options.python_path, options.left_out = [*path, os.getcwd()], []
    options.overrides = [*options.overrides, *overrides]
    options.seed = seed if seed is not None else options.seed
    return options


def recorded_spikes(log: Path, only: list[str]) -> dict[str, list[int]]:
    """Spike times (ns) of some neurons in a log. Raises InputError for one that is not in it."""
    from neurobus.log import read
    from neurobus.names import pick

    recorded = read(log)
    for problem in recorded.problems:
        click.echo(one_line(f"{log} is not complete: {problem}"), err=True)
    ids = recorded.header.ids
    chosen = pick(only, ids, recorded.header.groups, str(log))
    return {ids[i]: recorded.spikes_t[recorded.spikes_i == i].tolist() for i in chosen}


def view(as_top: bool, raster: bool, for_ns: int | None) -> View | None:
    """What is seen of a run while it runs. Raises InputError where it cannot be."""
    if as_top and raster:
        raise InputError("--top and --raster exclude each other")
    if as_top and not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise InputError("--top needs a terminal; --raster draws in characters without one")
    if raster:
        use_stand_ins(CELLS)  # a row of characters stays in its columns
    if not (as_top or raster):
        return None
    from neurobus.cli.watch import RasterView, TopView

    return TopView() if as_top else RasterView(for_ns)
