"""`neurobus exhibit`: the claims of papers, run, measured and drawn."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from neurobus.cli.common import json_option, print_json, print_rows
from neurobus.errors import InputError


@click.command(name="exhibit")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All exhibits, one after the other.")
@click.option("--quick", is_flag=True, help="With --all or alone: only those below ten seconds.")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    default=Path("build/papers"),
    show_default=True,
    help="Where NAME.png is written.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change the exhibit's config, to see the claim fail. Repeatable.",
)
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    names: tuple[str, ...],
    everything: bool,
    quick: bool,
    folder: Path,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run the exhibit NAME: print its claim and the numbers it must meet, and draw the paper's picture.

    Without NAME, list what there is.

    \b
    neurobus exhibit
    neurobus exhibit thorpe -o pictures

    Exit code 1 when a number is not met.
    """
    from neurobus import exhibits
    from neurobus.exhibits.show import render, show

    if names and (everything or quick):
        raise InputError("give NAME or --all, not both")
    if overrides and len(names) != 1:
        raise InputError("--set changes one exhibit; give its NAME")
    classes = {name: exhibits.load(name) for name in names or exhibits.names()}
    if quick:
        classes = {name: exhibit for name, exhibit in classes.items() if exhibit.quick}
    if not (names or everything or quick):
        _list(classes, as_json)
        return
    console = Console(stderr=True, highlight=False)
    found = []
    for name in classes:
        with console.status(f"{name} …") as status:
            shown = show(name, folder, overrides, status.update)
        found.append(shown)
        if not as_json:
            click.echo(render(shown, lambda text, good: click.style(text, fg="green" if good else "red")))
            click.echo()
    failed = [shown.name for shown in found if not shown.passed]
    if as_json:
        print_rows([shown.facts() for shown in found])
    elif len(found) > 1:
        click.echo(f"{len(found) - len(failed)} of {len(found)} exhibits passed"
                   + (f"; failed: {', '.join(failed)}" if failed else ""))  # fmt: skip
    ctx.exit(1 if failed else 0)


def _list(classes: dict[str, type], as_json: bool) -> None:
    from neurobus.exhibits import Exhibit

    facts = [
        {"name": name, "title": c.title, "claim": c.claim, "source": c.source, "quick": c.quick}
        for name, c in classes.items()
        if issubclass(c, Exhibit)
    ]
    if as_json:
        print_json(facts)
        return
    for fact in facts:
        click.echo(click.style(str(fact["name"]), bold=True) + ("" if fact["quick"] else "  (long)"))
        click.echo(f"  {fact['claim']}\n  {click.style(str(fact['source']), dim=True)}\n")
    click.echo("Run one: neurobus exhibit NAME    all: neurobus exhibit --all")
