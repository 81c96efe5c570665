"""`neurobus describe`: the structure of a network, as figures and as a picture."""

from __future__ import annotations

from pathlib import Path

import click

from neurobus.cli.common import SEED, find_models, json_option, print_json


@click.command(name="describe")
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change the config, e.g. synapses.0.rewire=0.1. Repeatable.",
)
@click.option("--seed", type=SEED, help="Instead of the config's.")
@click.option(
    "-o",
    "--output",
    "out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw it too: a .png, .svg or .pdf.",
)
@json_option
def command(
    config: Path, overrides: tuple[str, ...], seed: int | None, out: Path | None, as_json: bool
) -> None:
    """Say how the neurons of CONFIG are wired: degrees, reciprocity, clustering, path length, components.

    \b
    neurobus describe configs/worm/worm.toml -o worm_wiring.png

    Each figure stands beside what chance would give. Large networks are sampled, and the figure says so.
    """
    from neurobus import config as configs
    from neurobus import network, structure

    find_models(config.parent)
    built = network.build(configs.load(config, overrides), seed)
    facts = structure.measure(built)
    if out is not None:
        from neurobus.structure.drawing import draw

        facts["picture"] = str(draw(built, facts, out))
    print_json(facts) if as_json else click.echo(structure.render(facts))
    if out is not None and not as_json:
        click.echo(f"\n{out}")
