"""`neurobus train`: teach a network, and see what it has learnt."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from neurobus import __version__, modelpath
from neurobus.classroom import brain as brains
from neurobus.classroom import course as courses
from neurobus.classroom import pictures, readout, witness
from neurobus.classroom.course import Choice, Course, Result
from neurobus.cli.common import (
    RATE,
    SEED,
    find_models,
    json_option,
    print_json,
    recorder,
    recording_options,
    trust_option,
)
from neurobus.cli.perform import perform
from neurobus.cluster import folder as folders
from neurobus.cluster.folder import Manifest
from neurobus.cluster.launcher import Launch
from neurobus.cluster.options import Options, refuse_pace
from neurobus.cluster.resume import resumable, resume_step
from neurobus.cluster.summary import Summary, exit_code, resume_hint
from neurobus.errors import InputError, RunError
from neurobus.words import counted, number

LOOK_EVERY_S = 0.1
RESUME = "neurobus train --resume"


@click.command(name="train")
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option(
    "--data", default="digits", metavar="DATA", help="digits (scikit-learn's), FILE.npz or FILE.csv."
)
@click.option(
    "--passes", type=click.IntRange(min=0), default=3, help="Over the training samples. Default: 3."
)
@click.option("--order", type=click.IntRange(min=0), default=1, metavar="SEED", help="Of the presentation.")
@click.option("--split", type=click.IntRange(min=0), metavar="SEED",
              help="Hold out a random part. Default: the last 797 digits, by other writers.")  # fmt: skip
@click.option("--train", "n_train", type=click.IntRange(min=1), metavar="N",
              help="Samples to train on. Default: 1000 digits, or two thirds of a file.")  # fmt: skip
@click.option("--test", "n_test", type=click.IntRange(min=0), metavar="N",
              help="Held-out samples to test with. Default: all.")  # fmt: skip
@click.option("--clock", type=click.Choice(["wall", "virtual"]), help="Instead of the config's.")
@click.option("--pace", type=RATE, metavar="RATE",
              help="Virtual clock: no faster than RATE times real time.")  # fmt: skip
@click.option("--brain", "begin", type=click.Path(path_type=Path), metavar="FILE",
              help="Begin with what this brain has learnt; with --passes 0 it is only tested.")  # fmt: skip
@click.option("--out", "out_before", type=click.Path(path_type=Path), hidden=True)
@click.option("-o", "--output", "out", type=click.Path(path_type=Path), metavar="FILE",
              help="The brain to write; pictures beside it. Default: CONFIG's name.brain.")  # fmt: skip
@click.option("--seed", type=SEED, help="Instead of the config's.")
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE",
              help="Change the config, e.g. groups.reader.count=50. Repeatable.")  # fmt: skip
@recording_options
@click.option("--save", type=click.Path(path_type=Path), metavar="DIR",
              help="Where to keep snapshots. Default: the user's state folder.")  # fmt: skip
@click.option("--resume", type=click.Path(path_type=Path), metavar="DIR", help="Go on with a stopped course.")
@click.option("--from", "demonstration", type=click.Path(path_type=Path), metavar="LOG",
              help="Learn from a recorded demonstration: repeat its pokes, --passes times.")  # fmt: skip
@trust_option
@json_option
def command(config: Path | None, data: str, passes: int, order: int, split: int | None, n_train: int | None,
            n_test: int | None, clock: str | None, pace: float | None, begin: Path | None,
            out_before: Path | None, out: Path | None, seed: int | None,
            overrides: tuple[str, ...], record: Path | None, overwrite: bool,
            save: Path | None, resume: Path | None, demonstration: Path | None,
            trust: bool, as_json: bool) -> None:  # fmt: skip
    """Teach the network of CONFIG: every neuron a process that learns alone from the spikes it hears.

    \b
    neurobus train configs/digits/thirty.toml
    neurobus train configs/digits/hundred.toml --split 7 --order 3 --json
    neurobus train configs/digits/thirty.toml --data mine.npz      (arrays X, y, perhaps X_test, y_test)
    neurobus train configs/first/habit.toml --from configs/first/habit.mcap

    Writes NAME.brain, NAME.weights.png and NAME.confusion.png. Ctrl-C stops politely, to be resumed. Under
    the virtual clock the weights are a function of config, data, order and seed; with --clock wall they are
    the same as long as nothing was late.
    """
    out = out or out_before
    find_models(*([config.parent] if config else []))
    if demonstration is not None:
        if config is None or resume is not None or clock == "wall":
            raise InputError("--from LOG goes with a CONFIG and the virtual clock, and not with --resume")
        file = out or Path(f"{config.stem}.brain")
        brains.require_free(file, overwrite)
        from neurobus.cli.demonstration import imitate

        imitate(config, demonstration, passes, list(overrides), seed, file, save, as_json)
        return
    if resume is not None:
        course, options = _resumed(resume, config, trust)
        stem = Path(options.config_name).stem
    elif config is None:
        raise InputError("give a CONFIG, or --resume DIR")
    else:
        origin, target = (str(path) if path else None for path in (begin, out))
        choice = Choice(data, passes, order, split, n_train, n_test, origin, target)
        course, options = _begun(config, list(overrides), seed, save, begin, choice)
        stem = config.stem
    options.clock = clock or options.clock or course.config.run.clock
    refuse_pace(pace, options.clock)
    for note in course.notes:
        click.echo(note, err=True)
    file = Path(course.choice.out or f"{stem}.brain")
    brains.require_free(file, overwrite)
    listening = _witness(course, options)
    options.programs = [listening, *recorder(record, overwrite)]
    begun_at = _resume_step(options)
    left_ns = course.duration_ns - (begun_at or 0) * course.network.dt_ns
    launch = Launch(options, stem, max(left_ns, course.network.dt_ns), pace, resume_with=RESUME)
    summary = perform(launch, quiet=as_json, during=_watching(course, options, as_json), hint=False)
    _finish(course, options, summary, file, as_json)


def _begun(path: Path, overrides: list[str], seed: int | None, save: Path | None, begin: Path | None,
           choice: Choice) -> tuple[Course, Options]:  # fmt: skip
    from neurobus import config as configs

    brain = brains.load(begin) if begin else None
    course = courses.plan(configs.load(path, overrides), choice, seed, brain)
    state = save or folders.state_dir() / f"{path.stem}-{os.getpid()}"
    options = Options(
        config_text=course.config.text,
        config_name=path.name,
        files=dict(course.config.files),
        overrides=list(course.config.overrides),
        seed=seed,
        replaced=course.spikes_ns(),
        weights=None if brain is None else course.network.synapses.weight.astype("<f8").tobytes(),
        state=str(state.absolute()),
        python_path=[str(path.absolute().parent), os.getcwd()],
    )
    return course, options


def _resumed(folder: Path, config: Path | None, trust: bool) -> tuple[Course, Options]:
    if not resumable(folder) or not (folder / courses.LESSON).exists():
        raise InputError(f"{folder} holds no stopped course; a course prints its folder when it is stopped")
    from neurobus import config as configs

    options = Options.kept(folder, trust)
    if config is not None:
        options.python_path, options.left_out = [str(config.absolute().parent), os.getcwd()], []
    modelpath.look_in(options.python_path)
    modelpath.leave_out(options.left_out)
    options.resume = options.state = str(folder.absolute())
    assert options.config_text is not None
    read = configs.loads(options.config_text, options.config_name, options.files, options.overrides)
    read.path = Path(options.config_name)
    course = courses.plan(read, Choice.read(folder), options.seed)
    if course.spikes_ns() != options.replaced:
        raise InputError(f"the data '{course.choice.data}' is not what this course began with", folder)
    return course, options


def _resume_step(options: Options) -> int | None:
    if options.resume is None:
        return None
    return resume_step(Path(options.resume))


def _witness(course: Course, options: Options) -> tuple[str, dict[str, Any]]:
    assert options.state is not None
    return witness.MODULE, {
        "timing": asdict(course.room.timing),
        "n_slots": course.n_slots,
        "readers": [course.network.ids[i] for i in course.room.readers],
        "path": str(Path(options.state) / witness.PROGRESS),
        "begin": _resume_step(options),
    }


def _answers(course: Course, options: Options) -> tuple[readout.Readout, int]:
    assert options.state is not None
    return witness.read(Path(options.state) / witness.PROGRESS, course.room.timing, course.n_slots)


def _watching(course: Course, options: Options, quiet: bool) -> Any:
    """The progress bar with the running accuracy. It writes down what is taught, too."""

    async def watch(console: Console, manifest: Manifest) -> None:
        assert options.state is not None
        course.choice.write(Path(options.state))
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[right]}"), TimeElapsedColumn(),
        )  # fmt: skip
        with Progress(
            *columns, console=console, transient=True, disable=quiet or not console.is_terminal
        ) as bar:
            task = bar.add_task("learning", total=course.n_learnt or None, right="")
            while True:
                await asyncio.sleep(LOOK_EVERY_S)
                heard, done = _answers(course, options)
                if not done:
                    continue
                share = courses.running(course, heard, min(done, course.n_learnt) or done)
                right = f"{100 * share:.0f} % of the last hundred right" if share == share else ""
                if done < course.n_learnt:
                    bar.update(task, completed=done, right=right)
                else:
                    bar.update(task, description="testing", completed=done - course.n_learnt,
                               total=course.n_slots - course.n_learnt, right=right)  # fmt: skip

    return watch


def _finish(course: Course, options: Options, summary: Summary, target: Path, as_json: bool) -> None:
    assert options.state is not None
    heard, done = _answers(course, options)
    if summary.signal or summary.model_s * 1e9 + (_resume_step(options) or 0) * course.network.dt_ns < (
        course.duration_ns
    ):
        _stopped(course, options, summary, done, as_json)
        return
    if options.programs and witness.MODULE.rpartition(".")[2] not in summary.observers:
        raise RunError("nobody listened to the end, so the answers are not known; the weights are in "
                       f"{options.state}")  # fmt: skip
    weights = learnt(Path(options.state), course)
    outcome = courses.result(course, heard)
    share = figures(course, outcome, summary)
    brain = courses.brain_of(course, weights, {**share, "neurobus": __version__, "clock": summary.clock})
    brain.save(target)
    drawn = draw(course, outcome, weights, target)
    done_with = {**asdict(summary), **share, "brain": str(target), "pictures": [str(path) for path in drawn]}
    if as_json:
        print_json(done_with)
        return
    click.echo(render(course, outcome, summary, [target, *drawn]), err=True)


def _stopped(course: Course, options: Options, summary: Summary, done: int, as_json: bool) -> None:
    # Stopped before all had written down where they are, there is nothing to go on from.
    saved = summary.state is not None
    go_on = resume_hint(options.state or "", RESUME if saved else None, "; go on with: {}")
    if as_json:
        print_json({**asdict(summary), "accuracy": None, "train_accuracy": None, "samples": done,
                    "resume": options.state if saved else None})  # fmt: skip
    else:
        click.echo(f"stopped after {number(done)} of {counted(course.n_slots, 'sample')}{go_on}", err=True)
    sys.exit(exit_code(summary) if summary.signal else 4)


def learnt(state: Path, course: Course) -> Any:
    """The weights in the newest snapshots, in the network's order."""
    from neurobus.cluster.weights import read_weights

    return read_weights(state, course.network, course.config.run)


def figures(course: Course, outcome: Result, summary: Summary) -> dict[str, Any]:
    """What `--json` has beyond a run's summary. Shares are 0..1, null where nothing was shown."""
    return {
        "accuracy": _number(outcome.accuracy),
        "train_accuracy": _number(outcome.train_accuracy),
        "samples": course.n_learnt,
        "tested": course.n_slots - course.n_learnt,
        "unanswered": outcome.silent,
        "class_of": outcome.class_of.tolist(),
    }


def _number(share: float) -> float | None:
    return None if share != share else round(share, 6)


def draw(course: Course, outcome: Result, weights: Any, target: Path) -> list[Path]:
    """Both pictures, beside the brain."""
    samples, room = course.samples, course.room
    W = brains.picture(brains.with_weights(course.network, weights), room.inputs, room.readers)
    tested = course.n_slots - course.n_learnt
    title = Path(course.config.path.name if course.config.path else "config").stem
    passes = counted(course.choice.passes, "pass")
    taught = f"{counted(len(room.readers), 'neuron')}, {passes} over {counted(len(samples.train), 'sample')}"
    share = f": {100 * outcome.accuracy:.1f} % of {tested} held-out samples right" if tested else ""
    paths = [pictures.weights(W, outcome.class_of, samples.names, samples.shape, title, taught + share,
                              target.with_suffix(".weights.png"))]  # fmt: skip
    if tested:
        paths.append(pictures.confusion(outcome.confusion, samples.names, title, share.removeprefix(": "),
                                        target.with_suffix(".confusion.png")))  # fmt: skip
    return paths


def render(course: Course, outcome: Result, summary: Summary, written: list[Path]) -> str:
    """What a person reads at the end."""
    tested = course.n_slots - course.n_learnt
    lines = []
    if course.n_learnt:
        per = 1000 * summary.wall_s / course.n_slots
        lines.append(f"{counted(course.n_learnt, 'sample')} learnt from ({per:.1f} ms each); in the last "
                     f"pass {100 * outcome.train_accuracy:.1f} % were right at sight")  # fmt: skip
    if tested:
        worst = outcome.confusion[:, :-1].copy()
        np.fill_diagonal(worst, 0)
        i, j = np.unravel_index(int(worst.argmax()), worst.shape)
        names = course.samples.names
        lines.append(f"held out: {100 * outcome.accuracy:.2f} % of {number(tested)} right")
        if worst[i, j]:
            lines.append(f"most often {names[int(i)]} was taken for {names[int(j)]}: {worst[i, j]} times")
        if outcome.silent:
            lines.append(f"{counted(outcome.silent, 'sample')} answered by nobody")
    lines.append("written: " + ", ".join(map(str, written)))
    return "\n".join(lines)
