"""The command line: one file per verb, each imported when it is used. The only home of click."""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import importlib
import os
import signal
import sys

import click

from neurobus import __version__
from neurobus.cli.plain import use_stand_ins
from neurobus.errors import EXIT_CODES, NeurobusError, one_line

FAMILIES = {
    "Run and watch": {
        "run": "start a network, every neuron its own process",
        "top": "watch a running network: rates, potentials, losses",
        "observe": "let an observer of your own hear a running network",
        "poke": "give neurons a push",
        "weights": "the synapses of a living neuron, as they are now",
        "ps": "list what runs",
        "stop": "stop it politely",
    },
    "Record and look back": {
        "record": "record a running network into a log",
        "replay": "play a log back, onto a running network or a bus of its own",
        "plot": "draw a log: raster, rates, potentials, weights",
        "log": "look into logs: info, export, diff, recover, verify",
    },
    "Networks and models": {
        "check": "check a config, and say what its network is",
        "describe": "the structure of a network, measured and drawn",
        "models": "what a config may name: models, rules, fields",
        "schema": "the JSON Schema of configs, for an editor",
        "exhibit": "a paper's claim: the number it must meet, and its picture",
    },
    "Learning": {
        "train": "teach a network: show it samples, count its answers",
        "show": "show a running network a sample, and see who answers",
        "brain": "what was learnt, as a file: save, load, info",
    },
    "Boards": {
        "ports": "list boards that are plugged in, and what they run",
        "attach": "let a board be a neuron of a running network",
        "boards": "boards that are neurons, and their links",
        "detach": "take a neuron back from its board",
        "flash": "write the firmware into a board",
        "simboard": "start simulated boards",
    },
    "This machine": {
        "doctor": "what this machine lacks, and how to mend it",
    },
}
"""What each verb is for, by family; it stands nowhere else. A verb's module is `neurobus.cli.VERB`."""
VERBS = {verb: purpose for verbs in FAMILIES.values() for verb, purpose in verbs.items()}


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
        command.name, command.short_help = name, VERBS[name]
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        widest = max(map(len, VERBS))
        for family, verbs in FAMILIES.items():
            with formatter.section(family):
                formatter.write_dl([(f"{verb:<{widest}}", purpose) for verb, purpose in verbs.items()])

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


def _of_system(error: OSError | MemoryError) -> str:
    """What the system refused, in one line; which limit it is, where that is known."""
    if isinstance(error, MemoryError):
        return "there is not enough memory for this"
    limits = {errno.EMFILE: "; the limit is ulimit -n", errno.ENFILE: "; the system has no more files",
              errno.EAGAIN: "; the limit is ulimit -u"}  # fmt: skip
    named = f"{error.filename}: " if error.filename else ""
    return one_line(f"{named}{error.strerror or error}{limits.get(error.errno or 0, '')}")


def main() -> None:
    """The entry point: errors meant for a person become one line on stderr and an exit code."""
    # A Ctrl-C while a verb is imported just ends the process: there is nothing to tidy up, and in the midst
    # of a class statement Python would turn it into another error.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Else the interpreter, as it ends, looks for garbage in all that was imported: most of the time it takes.
    atexit.register(gc.freeze)
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
    except (OSError, MemoryError) as error:
        if os.environ.get("NEUROBUS_DEBUG"):
            raise
        with contextlib.suppress(OSError):
            click.echo(f"neurobus: {_of_system(error)}", err=True)
        sys.exit(2)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
