"""Learning from demonstration, `neurobus train --from LOG`: a log's pokes once more, and what they left."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path

import click
import numpy as np

from neurobus import __version__, network
from neurobus import config as configs
from neurobus.classroom.brain import Brain
from neurobus.cli.common import print_json
from neurobus.cli.perform import perform
from neurobus.cluster import folder as folders
from neurobus.cluster.launcher import Launch
from neurobus.cluster.options import Options
from neurobus.cluster.summary import exit_code
from neurobus.cluster.weights import read_weights
from neurobus.config.locate import meant
from neurobus.errors import InputError
from neurobus.log import read
from neurobus.words import counted

REST_NS = 200_000_000
"""Between two repetitions: what was under way has died away."""


def imitate(path: Path, log: Path, passes: int, overrides: list[str], seed: int | None, target: Path,
            save: Path | None, as_json: bool) -> None:  # fmt: skip
    """Run the network of `path`, poked as in `log`, `passes` times; write the brain."""
    built = network.build(configs.load(path, overrides), seed)
    recorded = read(log)
    pokes = [(entry.t_ns, entry.item.neuron, entry.item.weight) for entry in recorded.stimuli]
    for _, neuron, _ in pokes:
        if neuron not in built.ids:
            raise InputError(f"'{neuron}' was poked, but is not in {path}{meant(neuron, built.ids)}", log)
    if not pokes:
        raise InputError("nobody was poked in this log; there is nothing to learn from", log)
    length = -(-(recorded.end_ns + REST_NS) // built.dt_ns) * built.dt_ns
    told = [(t + n * length, neuron, weight) for n in range(passes) for t, neuron, weight in pokes]
    state = save or folders.state_dir() / f"{path.stem}-{os.getpid()}"
    options = Options(
        clock="virtual",
        config_path=str(path),
        overrides=overrides,
        seed=seed,
        stimuli=told,
        state=str(state.absolute()),
        python_path=[str(path.absolute().parent), os.getcwd()],
    )
    summary = perform(
        Launch(options, path.stem, max(passes * length, built.dt_ns)), quiet=as_json, hint=False
    )
    if code := exit_code(summary):
        sys.exit(code)
    weights = read_weights(state, built, built.config.run)
    config = built.config
    facts = {"demonstration": log.name, "pokes": len(pokes), "passes": passes, "neurobus": __version__}
    brain = Brain(path.name, config.text, dict(config.files), overrides, built.seed, weights, facts)
    brain.save(target)
    changed = np.flatnonzero(weights != built.synapses.weight)
    if as_json:
        print_json({**asdict(summary), "accuracy": None, "train_accuracy": None, "samples": len(told),
                    "changed": len(changed), "brain": str(target)})  # fmt: skip
        return
    for synapse in changed[np.argsort(-np.abs(weights - built.synapses.weight)[changed])][:8].tolist():
        pre, post = built.ids[built.synapses.pre[synapse]], built.ids[built.synapses.post[synapse]]
        click.echo(f"{pre} → {post}: {built.synapses.weight[synapse]:g} → {weights[synapse]:.0f}", err=True)
    click.echo(
        f"{counted(len(told), 'poke')}, {counted(len(changed), 'synapse')} changed; written: {target}",
        err=True,
    )
