"""Kinds of boards: what is on them, which firmware they take, and how it gets into them. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hardware:
    """`part`, `programmer`, `flash_baud`: avrdude's -p, -c and -b; no baud rate for a programmer of its own.

    `firmware`: stem of the .elf and .hex that `make firmware` builds for it. `baud`: of the link.
    """

    name: str
    mcu: str
    clock_hz: int
    baud: int
    firmware: str
    part: str
    programmer: str
    flash_baud: int | None
    doc: str


BOARDS = {
    board.name: board
    for board in (
        Hardware("uno", "atmega328p", 16_000_000, 500_000, "uno", "m328p", "arduino", 115_200, "Arduino Uno"),
        Hardware(
            "nano", "atmega328p", 16_000_000, 500_000, "uno", "m328p", "arduino", 115_200, "Arduino Nano"
        ),
        Hardware(
            "nano-old", "atmega328p", 16_000_000, 500_000, "uno", "m328p", "arduino", 57_600,
            "Arduino Nano with the bootloader of before 2018, as most clones have",
        ),
        Hardware(
            "atmega8", "atmega8", 16_000_000, 500_000, "atmega8-16", "m8", "usbasp", None,
            "bare ATmega8 with a 16 MHz crystal, by a USBasp",
        ),
        Hardware(
            "atmega8-8mhz", "atmega8", 8_000_000, 250_000, "atmega8-8", "m8", "usbasp", None,
            "bare ATmega8 at 8 MHz, by a USBasp",
        ),
    )
}  # fmt: skip


def flash_command(
    avrdude: str, board: Hardware, port: str, hex_file: str, programmer: str | None = None
) -> list[str]:
    """avrdude's command line. `port` is not used where a programmer on USB does the writing."""
    chosen = programmer or board.programmer
    command = [avrdude, "-p", board.part, "-c", chosen]
    if chosen == "arduino":
        command += ["-P", port, "-b", str(board.flash_baud or 19_200), "-D"]
    return [*command, "-U", f"flash:w:{hex_file}:i"]
