"""`neurobus simboard`: simulated boards, until Ctrl-C."""

from __future__ import annotations

import os
import select
import sys
import time
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from neurobus.bridge import hardware, simboard
from neurobus.bridge.image import CHIPS
from neurobus.bridge.simboard import Rig, RigError, SimBoard
from neurobus.cli.common import json_option, on_interrupt, print_json
from neurobus.errors import InputError, RunError
from neurobus.wire.mcus import MCUS

STRIPS = ("ws2811", "ws2812", "ws2813", "ws2815", "ws2818")
NEURONS = ", ".join(f"{kind} for {' and '.join(chip.takes)}" for kind, chip in CHIPS.items())
LOOK_S = 0.2
FIRST_SERIAL = 0x51B00000
"""Of the first simulated board; so one is known again when it is plugged in again."""


@click.command(name="simboard")
@click.option("-n", "number", type=click.IntRange(1, 200), default=1, help="How many. Default: 1.")
@click.option("--board", "kind", type=click.Choice(list(hardware.BOARDS)), help="Which kind. Default: uno.")
@click.option("--mcu", type=click.Choice(list(MCUS)), help="Choose the kind by its chip,")
@click.option("--clock", metavar="HZ", help="and by its clock: 16M or 8M.")
@click.option(
    "--led", "chip", type=click.Choice(STRIPS), default="ws2812", help="The strip. Default: ws2812."
)
@click.option("--chip", "neuron", type=click.Choice(list(CHIPS)), default="lif",
              help=f"The neuron: {NEURONS}.")  # fmt: skip
@click.option("--leds", type=click.IntRange(0, 60), default=8, help="LEDs on it. Default: 8.")
@click.option("--elf", type=click.Path(path_type=Path), help="Another firmware than that of 'make firmware'.")
@click.option(
    "--pace",
    type=click.Choice(["real", "free"]),
    default="real",
    help="As the host's clock, or as fast as can be while there is something to do. Default: real.",
)
@click.option("--own-supply", is_flag=True, help="Unplugging leaves a board powered.")
@json_option
def command(
    number: int,
    kind: str | None,
    mcu: str | None,
    clock: str | None,
    chip: str,
    neuron: str,
    leds: int,
    elf: Path | None,
    pace: str,
    own_supply: bool,
    as_json: bool,
) -> None:
    """Start simulated boards and print their ports; Ctrl-C ends them and leaves nothing behind.

    \b
    neurobus simboard -n 4
    neurobus simboard --mcu atmega8 --clock 8M
    neurobus simboard -n 2 --chip race     # neurons that learn, for 'neurobus train'

    Each runs the real firmware, cycle by cycle, behind a port that opens like any other. While they run,
    commands may be typed: 'unplug 0', 'plug 0', 'press 0', 'stats 0', 'leds 0'; 'help' lists them all.
    """
    board = _board(kind, mcu, clock)
    simboard.make("rig")
    if elf is None:
        elf = simboard.firmware(board, chip, leds, neuron=neuron)
    elif not elf.exists():
        raise InputError(f"{elf}: no such file")
    one = SimBoard(elf.absolute(), board.mcu, board.clock_hz, own_supply=own_supply)
    first = FIRST_SERIAL + simboard.first_free()
    several = [simboard.with_strip(replace(one, serial=first + i), chip, leds) for i in range(number)]
    stopped: list[bool] = []
    with on_interrupt(lambda: stopped.append(True)), Rig(several, pace) as rig:
        if as_json:
            rows = [
                {"port": port, "name": name, "mcu": board.mcu, "clock_hz": board.clock_hz,
                 "baud": board.baud, "chip": neuron}
                for port, name in zip(rig.ports, rig.names, strict=True)
            ]  # fmt: skip
            print_json({"pid": rig.pid, "folder": str(rig.folder), "boards": rows})
        else:
            _show(rig, board)
        sys.stdout.flush()
        _serve(rig, stopped)


def _board(kind: str | None, mcu: str | None, clock: str | None) -> hardware.Hardware:
    """The kind of that name, or the first with that MCU and clock. Raises InputError."""
    if kind is not None:
        if mcu or clock:
            raise InputError("--board says all; leave out --mcu and --clock")
        return hardware.BOARDS[kind]
    wanted_hz = None
    if clock is not None:
        scale = {"k": 1e3, "m": 1e6}.get(clock.removesuffix("Hz")[-1:].lower(), 1.0)
        digits = clock.removesuffix("Hz").rstrip("kKmM ")
        try:
            wanted_hz = round(float(digits) * scale)
        except ValueError:
            raise InputError(f"--clock {clock}: a frequency, as 16M or 8000000") from None
    for board in hardware.BOARDS.values():
        if mcu in (None, board.mcu) and wanted_hz in (None, board.clock_hz):
            return board
    there = sorted({f"{b.mcu} at {b.clock_hz // 1_000_000}M" for b in hardware.BOARDS.values()})
    raise InputError(f"no firmware for {mcu or 'any MCU'} at {clock}; there is {', '.join(there)}")


def _show(rig: Rig, board: hardware.Hardware) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("", "name", "port"):
        table.add_column(name, no_wrap=True)
    for i, (name, port) in enumerate(zip(rig.names, rig.ports, strict=True)):
        table.add_row(f"[dim]{i}[/]", f"[bold]{name}[/]", port)
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    console.print(
        f"[dim]{board.mcu} at {board.clock_hz / 1e6:g} MHz, {board.baud} baud; "
        "'help' for commands, Ctrl-C ends them[/]"
    )


def _serve(rig: Rig, stopped: list[bool]) -> None:
    """Pass on what is typed until told to stop. Raises RunError when the rig ends by itself."""
    typed = b""
    listening = sys.stdin is not None
    while not stopped:
        if rig.ended():
            raise RunError("the simulated boards have ended by themselves")
        ready, _, _ = select.select([sys.stdin] if listening else [], [], [], LOOK_S)
        if not ready:
            continue
        if _in_background():  # what is typed is for the shell, and reading it would stop us
            time.sleep(LOOK_S)
            continue
        part = os.read(sys.stdin.fileno(), 4096)
        listening = bool(part)
        *lines, typed = (typed + part).split(b"\n")
        for line in lines:
            if words := line.decode(errors="replace").split():
                if words[0] == "quit":
                    return
                _obey(rig, words)


def _in_background() -> bool:
    return sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) != os.getpgrp()


def _obey(rig: Rig, words: list[str]) -> None:
    try:
        answer = rig.ask(*words)
    except RigError as error:
        click.echo(str(error), err=True)
    else:
        if isinstance(answer, str):
            click.echo(answer)
        elif answer is not None:
            print_json(answer)
    sys.stdout.flush()
