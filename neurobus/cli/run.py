"""`neurobus run`: start a network and see it through."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

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
)
from neurobus.cli.plain import CELLS, use_stand_ins
from neurobus.cli.watch import RasterView, TopView, View
from neurobus.cluster import state as states
from neurobus.cluster.folder import Manifest
from neurobus.cluster.launcher import Hooks, Launch, Launcher, refuse_pace
from neurobus.cluster.options import Options
from neurobus.cluster.summary import Summary, exit_code, render
from neurobus.errors import InputError, one_line
from neurobus.names import pick
from neurobus.words import counted

During = Callable[[Console, Manifest], Coroutine[Any, Any, None]]


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
    trust: bool,
    as_json: bool,
) -> None:
    """Start the network of CONFIG: one process per neuron, spikes on the bus.

    \b
    neurobus run configs/first/ring.toml --for 2s --record ring.mcap
    neurobus run configs/balanced.toml --clock virtual --set groups.exc.count=200
    neurobus run configs/worm/worm.toml --set switches.touch_nose=true --raster

    To resume without naming CONFIG looks for models in the current folder alone; beside the config that DIR
    names only with --trust.

    Ctrl-C once stops politely, prints the summary and exits with 130.
    """
    if resume is not None:
        states.resume_step(resume)
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
    options.programs = recorder(record, overwrite)
    if replayed is not None:
        options.replaced = recorded_spikes(replayed, ids_of(only) or [])
    stem = config.stem if config else Path(options.config_path or options.config_name).stem
    during = view(as_top, raster, for_ns)
    summary = perform(Launch(options, stem, for_ns, pace), quiet=as_json, during=during)
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
    return TopView() if as_top else RasterView(for_ns) if raster else None


def perform(launch: Launch, quiet: bool, during: During | None = None, hint: bool = True) -> Summary:
    """Run a launch under the eyes of a person: progress, notes, summary on stderr; Ctrl-C stops politely.

    `during` runs beside it from the start on, and is cancelled at the end. `hint`: say how to go on.
    """
    # Held back until there is a loop to take it: a Ctrl-C in its making leaves half a loop, which complains.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        return asyncio.run(_perform(launch, Console(stderr=True, highlight=False), quiet, during, hint))
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


async def _perform(launch: Launch, console: Console, quiet: bool, during: During | None,
                   hint: bool) -> Summary:  # fmt: skip
    shown = console.is_terminal and not quiet
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not shown,
    )
    task = progress.add_task("building the network", total=None)

    def ready(n: int, of: int) -> None:
        progress.update(task, description="waking neurons", completed=n, total=of)

    beside: list[asyncio.Task[None]] = []

    def started(manifest: Manifest) -> None:
        progress.stop()
        if during is not None:
            beside.append(asyncio.create_task(during(console, manifest)))
        if not quiet:
            console.print(
                f"[bold]{manifest.name}[/] runs: {counted(manifest.n_neurons, 'neuron')} in "
                f"{counted(manifest.processes, 'process')}, {manifest.clock} clock. Ctrl-C stops it."
            )
            if launch.options.snapshots and launch.options.state:
                console.print(f"its state: {launch.options.state}", soft_wrap=True)

    held: list[str] = []  # while a view has the terminal

    def word(text: str) -> None:
        if isinstance(during, TopView) and beside:
            held.append(text)
        else:
            with contextlib.suppress(OSError):  # the terminal may be closed
                console.print(text, style="yellow", soft_wrap=True)

    def starting(manifest: Manifest) -> None:
        if isinstance(during, View):
            during.join(manifest)

    launch.hooks = Hooks(word=word, ready=ready, starting=starting, started=started)
    launcher = Launcher(launch)
    interrupts = 0

    def interrupt(number: signal.Signals) -> None:
        nonlocal interrupts
        interrupts += 1
        launcher.summary.interrupted = number == signal.SIGINT
        launcher.summary.signal = launcher.summary.signal or number.name
        if interrupts == 1:
            launcher.stop()
        else:
            launcher.kill()

    loop = asyncio.get_running_loop()
    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup wants it ignored
        signals.append(signal.SIGHUP)
    for number in signals:
        loop.add_signal_handler(number, interrupt, number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    progress.start()
    try:
        summary = await launcher.run()
    finally:
        progress.stop()
        for companion in beside:
            companion.cancel()
        for failure in await asyncio.gather(*beside, return_exceptions=True):
            if isinstance(failure, Exception):
                console.print(f"what watched the run failed: {failure!r}", style="yellow", soft_wrap=True)
        for text in held:
            console.print(text, style="yellow", soft_wrap=True)
        with contextlib.suppress(Exception):
            for number in signals:
                loop.remove_signal_handler(number)
    if not quiet:
        with contextlib.suppress(OSError):  # the terminal may be closed
            print(render(summary, launch.resume_with if hint else None), file=sys.stderr)
    return summary
