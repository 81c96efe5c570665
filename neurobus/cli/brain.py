"""`neurobus brain`: what was learnt, as a file."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from neurobus import __version__, modelpath
from neurobus.classroom import brain as brains
from neurobus.classroom.brain import Brain
from neurobus.cli.clusters import started
from neurobus.cli.common import (
    RATE,
    TIME,
    cluster_option,
    find_models,
    json_option,
    overwrite_option,
    print_json,
    recorder,
    recording_options,
    trust_option,
)
from neurobus.cli.perform import perform
from neurobus.cluster import folder as folders
from neurobus.cluster import weights as gathered
from neurobus.cluster.build import network_of
from neurobus.cluster.launcher import Launch
from neurobus.cluster.options import Options, refuse_pace
from neurobus.cluster.resume import resume_step
from neurobus.cluster.summary import exit_code
from neurobus.errors import one_line
from neurobus.words import counted, number


@click.group(name="brain")
def command() -> None:
    """What a network has learnt, as a file: its weights, its config, and where they come from.

    \b
    neurobus brain info thirty.brain
    neurobus brain load thirty.brain          in another terminal: neurobus show 7
    neurobus brain save now.brain             of the running cluster
    """


@command.command(name="save")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--state", type=click.Path(path_type=Path), metavar="DIR",
              help="Of a run that was stopped: its state folder.")  # fmt: skip
@overwrite_option("a brain")
@cluster_option
@trust_option
@json_option
def save(file: Path, state: Path | None, overwrite: bool, cluster: str | None, trust: bool,
         as_json: bool) -> None:  # fmt: skip
    """Write the weights of the running cluster (or of a stopped run) into FILE.

    \b
    neurobus brain save now.brain
    neurobus brain save later.brain --state ~/.local/state/neurobus/thirty-4711

    Models that neurobus does not ship are looked for in the current folder; beside the config that a state
    folder names only with --trust.
    """
    find_models()
    brains.require_free(file, overwrite)
    if state is not None:
        step = resume_step(state)
        options = Options.kept(state, trust)
        modelpath.look_in(options.python_path)
        modelpath.leave_out(options.left_out)
        network = network_of(options)
        weights = gathered.read_weights(state, network, network.config.run)
        origin = str(state)
    else:
        manifest = started(cluster)
        options = Options.read(folders.runtime_dir() / manifest.name)
        network = network_of(options)
        weights, step = gathered.ask_weights(manifest, network)
        origin = manifest.name
    config = network.config
    facts = {"saved_from": origin, "model_s": step * network.dt_ns * 1e-9, "neurobus": __version__}
    name = config.path.name if config.path else options.config_name
    Brain(name, config.text, dict(config.files), list(config.overrides), network.seed, weights, facts).save(
        file
    )
    changed = int(np.sum(weights != network.synapses.weight))
    if as_json:
        print_json({"brain": str(file), "synapses": len(weights), "changed": changed, **facts})
    else:
        click.echo(
            f"{file}: {counted(len(weights), 'weight')}, {number(changed)} of them other than in the config"
        )


@command.command(name="load")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--clock", type=click.Choice(["wall", "virtual"]), default="wall", help="Default: wall.")
@click.option("--pace", type=RATE, metavar="RATE",
              help="Virtual clock: no faster than RATE times real time.")  # fmt: skip
@click.option("--for", "for_ns", type=TIME, metavar="TIME", help="Model time to run. Default: until Ctrl-C.")
@click.option(
    "--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Change its config. Repeatable."
)
@recording_options
@trust_option
@json_option
def load(file: Path, clock: str, pace: float | None, for_ns: int | None, overrides: tuple[str, ...],
         record: Path | None, overwrite: bool, trust: bool, as_json: bool) -> None:  # fmt: skip
    """Bring the brain in FILE to life: start its network with the weights it has learnt.

    \b
    neurobus brain load thirty.brain

    A brain names the models of its network. Those that neurobus does not ship are imported only with --trust.
    """
    refuse_pace(pace, clock)
    find_models(file.parent, trust=trust)
    brain = brains.load(file)
    brain.overrides += overrides
    options = options_of(brain, file)
    options.guarded = not trust
    options.clock = clock
    options.programs = recorder(record, overwrite)
    summary = perform(Launch(options, file.stem, for_ns, pace), quiet=as_json)
    if as_json:
        print_json(asdict(summary))
    sys.exit(exit_code(summary))


def options_of(brain: Brain, file: Path) -> Options:
    """How to run the network of a brain. Raises InputError where its weights do not fit it."""
    network = brain.network()
    return Options(
        config_text=brain.config_text,
        config_name=brain.config_name,
        files=brain.files,
        overrides=brain.overrides,
        seed=brain.seed,
        weights=network.synapses.weight.astype("<f8").tobytes(),
        python_path=[str(file.absolute().parent), os.getcwd()],
    )


@command.command(name="info")
@click.argument("file", type=click.Path(path_type=Path))
@trust_option
@json_option
def info(file: Path, trust: bool, as_json: bool) -> None:
    """Say what is in FILE.

    \b
    neurobus brain info thirty.brain
    """
    find_models(file.parent, trust=trust)
    brain = brains.load(file)
    network = brain.network()
    facts: dict[str, Any] = {
        "config": brain.config_name,
        "overrides": brain.overrides,
        "seed": brain.seed,
        "neurons": network.n_neurons,
        "synapses": len(brain.weights),
        "weights": [float(brain.weights.min(initial=0)), float(brain.weights.max(initial=0))],
        **brain.facts,
    }
    if as_json:
        print_json(facts)
        return
    for key, value in facts.items():
        if value is None or value == [] or key in ("class_of", "readers", "inputs"):
            continue
        if key in ("accuracy", "train_accuracy") and isinstance(value, float):
            value = f"{100 * value:.2f} %"
        elif isinstance(value, list):
            value = " ".join(map(str, value))
        click.echo(one_line(f"{key:>15}  {value}"))
