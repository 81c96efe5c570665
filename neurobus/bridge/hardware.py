"""Kinds of boards: what is on them, which firmware they take, and how it gets into them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from neurobus.wire.mcus import MCUS, Kind


@dataclass(frozen=True)
class Hardware(Kind):
    """`mcu`: its microcontroller's name; `part`: avrdude's -p."""

    mcu: str
    part: str


BOARDS = {
    kind.name: Hardware(**vars(kind), mcu=mcu.name, part=mcu.part)
    for mcu in sorted(MCUS.values(), key=lambda mcu: -mcu.flash)
    for kind in mcu.kinds
}
"""The largest first: who asks for any board gets that."""
FIRMWARES = {board.firmware: board for board in reversed(BOARDS.values())}
"""A kind of board for each firmware there is, the smallest first."""
REFLASH = f"neurobus flash PORT --board {'|'.join(BOARDS)}"


def flash_command(
    avrdude: str, board: Hardware, port: str, hex_file: str, programmer: str | None = None
) -> list[str]:
    """avrdude's command line. `port` is not used where a programmer on USB does the writing."""
    chosen = programmer or board.programmer
    command = [avrdude, "-p", board.part, "-c", chosen]
    if chosen == "arduino":
        command += ["-P", port, "-b", str(board.flash_baud or 19_200), "-D"]
    return [*command, "-U", f"flash:w:{hex_file}:i"]
