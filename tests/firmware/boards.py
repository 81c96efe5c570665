"""Boards with the real firmware."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from neurobus.bridge import hardware, simboard
from neurobus.bridge.simboard import SimBoard


def board(
    kind: str = "uno", chip: str = "ws2812", leds: int = 8, baud: int | None = None, **more: Any
) -> SimBoard:
    """A board of this kind, its firmware built for that strip and rate."""
    one = hardware.BOARDS[kind]
    elf = simboard.firmware(one, chip, leds, baud)
    return simboard.with_strip(SimBoard(elf, one.mcu, one.clock_hz, **more), chip, leds)


def symbols(elf: Path) -> dict[str, int]:
    """Addresses of functions, in bytes of flash."""
    told = subprocess.run(["avr-nm", elf], check=True, capture_output=True, text=True).stdout
    return {name: int(at, 16) for at, kind, name in map(str.split, told.splitlines()) if kind in "Tt"}
