"""`neurobus schema`: print the JSON Schema of configs."""

from __future__ import annotations

import json

import click


@click.command(name="schema")
def command() -> None:
    """Print the JSON Schema of configs, for editors that complete and check TOML.

    \b
    neurobus schema > neurobus.schema.json
    """
    from neurobus.config import schema

    click.echo(json.dumps(schema(), indent=2))
