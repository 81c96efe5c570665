"""`neurobus models`: what a config may name."""

from __future__ import annotations

import click

from neurobus.cli.common import find_models, json_option, print_json


@click.command(name="models")
@click.argument("name", required=False)
@json_option
def command(name: str | None, as_json: bool) -> None:
    """List the models, sources and synapse types there are, or tell all of NAME, from the thing itself.

    \b
    neurobus models                    what is shipped
    neurobus models nodes.lif          parameters, states, units, bounds, defaults, source; so your own model
    neurobus models nodes.stdp         a synapse type
    neurobus models rules              who is connected to whom; neurobus models distance: one of them
    neurobus models fields             the tables of a config; neurobus models run: the fields of one
    neurobus models poisson            the fields of a kind of source
    """
    from neurobus import catalogue

    find_models()
    if name is None:
        found = catalogue.models()
        print_json(found) if as_json else click.echo(catalogue.render_models(found) + AND_MORE)
    elif name == "rules":
        print_json(catalogue.rules()) if as_json else click.echo(catalogue.render_rules(catalogue.rules()))
    elif name == "fields":
        tables = catalogue.tables()
        text = "\n\n".join(map(catalogue.render_table, tables))
        print_json(tables) if as_json else click.echo(text)
    else:
        kind, facts = catalogue.find(name)
        print_json(facts) if as_json else click.echo(catalogue.RENDER[kind](facts))


AND_MORE = "more: neurobus models NAME, neurobus models rules, neurobus models fields"
