"""The command line: one file per verb, each imported when it is used. The only home of click."""

from __future__ import annotations

import importlib
import signal
import sys

import click

from neurobus import __version__
from neurobus.cli.plain import use_stand_ins
from neurobus.errors import EXIT_CODES, NeurobusError

VERBS = {
    "run": "start a network, every neuron its own process",
    "ps": "list the clusters that run",
    "stop": "stop a cluster politely",
    "top": "watch a cluster live: rates, potentials, losses",
    "weights": "the synapses of a living neuron, as they are now",
    "poke": "give a neuron of a running cluster a push",
    "record": "record a running cluster into a log",
    "replay": "play a log back, onto a running cluster or a bus of its own",
    "log": "look into logs: info, export, diff, recover, verify",
    "attach": "let a board be a neuron of a running cluster",
    "detach": "take a neuron back from its board",
    "boards": "boards that are attached, and their links",
    "plot": "draw a log: raster, rates, potentials, weights",
    "exhibit": "run a paper's claim: the number it must meet, and its picture",
    "train": "teach a network: show it samples, count its answers, draw what it has learnt",
    "brain": "what was learnt, as a file: save, load, info",
    "show": "show a running network a sample, and see who answers",
    "check": "check a config and describe its network",
    "describe": "the structure of a network: degrees, clustering, paths, weights",
    "schema": "print the JSON Schema of configs",
    "ports": "list boards that are plugged in, and what they run",
    "flash": "write the firmware into a board",
    "simboard": "start simulated boards",
    "doctor": "say what this machine lacks, and how to mend it",
}


class Verbs(click.Group):
    """Imports a verb's module only when the verb is used: `--help` and `ps` stay quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        try:
            module = importlib.import_module(f"neurobus.cli.{name}")
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("neurobus"):
                raise
            raise NeurobusError(
                f"Python package '{error.name}' is missing; see: {sys.executable} -m neurobus doctor"
            ) from error
        signal.signal(signal.SIGINT, signal.default_int_handler)
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, meaning in EXIT_CODES.items()])
        with formatter.section("First steps"):
            formatter.write_text("neurobus run configs/first/pair.toml --for 1s --record /tmp/pair.mcap")


@click.group(
    cls=Verbs,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="neurobus")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """neurobus: every neuron its own process, exchanging spikes on a message bus."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main() -> None:
    """The entry point: errors meant for a person become one line on stderr and an exit code."""
    # A Ctrl-C while a verb is imported just ends the process: there is nothing to tidy up, and in the midst
    # of a class statement Python would turn it into another error.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    use_stand_ins()
    try:
        sys.exit(cli.main(prog_name="neurobus", standalone_mode=False))
    except NeurobusError as error:
        click.echo(f"neurobus: {error}" if error.exit_code != 2 else str(error), err=True)
        sys.exit(error.exit_code)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        path = getattr(getattr(error, "ctx", None), "command_path", "neurobus")
        click.echo(f"{path}: {' '.join(error.format_message().split())} (more: {path} --help)", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
