"""`neurobus check`: check a config and describe its network."""

from __future__ import annotations

from pathlib import Path

import click

from neurobus.cli.common import SEED, find_models, json_option, print_json


@click.command(name="check")
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change the config, e.g. groups.exc.count=200. Repeatable.",
)
@click.option("--seed", type=SEED, help="Instead of the config's.")
@json_option
def command(config: Path, overrides: tuple[str, ...], seed: int | None, as_json: bool) -> None:
    """Check CONFIG as `run` would, start nothing, and say what its network is.

    \b
    neurobus check configs/balanced.toml --set groups.exc.count=200

    Exit code 2 and one line `file:line: …` for a mistake. What may be one is a warning.
    """
    from neurobus import config as configs
    from neurobus import describe, network
    from neurobus.cluster import room

    find_models(config.parent)
    built = network.build(configs.load(config, overrides), seed)
    facts = describe.describe(built)
    n = facts["processes"]
    facts["warnings"] += room.missing(n, built.n_neurons, describe.array_mb(built, n), room.here())
    print_json(facts) if as_json else click.echo(describe.render(facts))
