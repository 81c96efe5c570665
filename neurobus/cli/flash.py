"""`neurobus flash`: write the firmware into a board, by avrdude."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import click

from neurobus import system
from neurobus.bridge import hardware, ports, simboard
from neurobus.bridge.holders import holder
from neurobus.bridge.image import CHIPS
from neurobus.bridge.port import denied
from neurobus.cli.common import json_option, print_json
from neurobus.errors import InputError, NeurobusError


@click.command(name="flash")
@click.argument("port")
@click.option("--board", "kind", type=click.Choice(list(hardware.BOARDS)), required=True, help="What it is.")
@click.option(
    "--hex",
    "hex_file",
    type=click.Path(path_type=Path),
    help="The firmware. Default: the one 'make firmware' built for that board.",
)
@click.option("--chip", "neuron", type=click.Choice(list(CHIPS)), default="lif",
              help="The neuron it is to be, without --hex. Default: lif.")  # fmt: skip
@click.option("--programmer", metavar="NAME", help="avrdude's -c, in place of the board's usual one.")
@click.option("--dry-run", is_flag=True, help="Print the command and do nothing.")
@json_option
def command(
    port: str, kind: str, hex_file: Path | None, neuron: str, programmer: str | None, dry_run: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Write the firmware into the board at PORT. The command is shown before it runs.

    \b
    neurobus flash /dev/ttyUSB0 --board uno
    neurobus flash /dev/ttyUSB0 --board uno --chip race   # a neuron that learns
    neurobus flash usb --board atmega8               # by a USBasp; PORT is not used
    neurobus flash ttyUSB0 --board atmega8 --programmer arduino   # by a bootloader at 19200 baud
    """
    board = hardware.BOARDS[kind]
    by_port = (programmer or board.programmer) == "arduino"
    path = hex_file or simboard.built(neuron) / f"{board.firmware}.hex"
    if by_port:
        port = _usable(port, dry_run)
    (needed,) = (need for need in system.needs() if need.name == "avrdude")
    avrdude = needed.where()
    if avrdude is None and not dry_run:
        raise InputError(f"avrdude is missing; run: {system.install_command([needed])}")
    if not path.exists() and not dry_run:
        raise InputError(_no_hex(path, hex_file is not None, neuron))
    words = hardware.flash_command(avrdude or "avrdude", board, port, str(path), programmer)
    if as_json:
        print_json({"board": kind, "port": port, "hex": str(path), "command": words, "run": not dry_run})
    else:
        click.echo(shlex.join(words))
    if not dry_run:
        code = subprocess.run(words, check=False).returncode
        if code:
            raise NeurobusError(
                f"avrdude ended with {code}; nothing may be left of what the board ran before"
            )
        click.echo(f"{port} now runs {path.name}", err=as_json)


def _usable(port: str, dry_run: bool) -> str:
    """The port's whole name. Raises where it is not there, simulated, or not ours to use."""
    name = port if dry_run and "/" in port else ports.resolve(port)
    if name in ports.simulated():
        raise InputError(
            f"{name}: a simulated board runs the firmware it was started with; neurobus simboard --elf FILE"
        )
    if dry_run:
        return name
    if not os.path.exists(name):
        raise InputError(f"{name}: no such port; 'neurobus ports' lists those there are")
    if not os.access(name, os.R_OK | os.W_OK):
        raise InputError(f"{name}: {denied(name)}")
    if other := holder(name):
        raise InputError(f"{name}: held by {other}; end that first")
    return name


def _no_hex(path: Path, given: bool, neuron: str) -> str:
    if given:
        return f"{path}: no such file"
    lacking = simboard.missing()
    chip = f" CHIP={neuron}" if neuron != "lif" else ""
    make = f"make -C {simboard.ROOT} firmware{chip}"
    return f"{path} is not built; run: {lacking + ' && ' if lacking else ''}{make}"
