"""Boards with the real firmware, built by the Makefile: each variant into a folder of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from neurobus.bridge import hardware, simboard
from neurobus.bridge.simboard import SimBoard

VARIANTS = simboard.ROOT / "build" / "firmware-variants"


def board(
    kind: str = "uno", chip: str = "ws2812", leds: int = 8, baud: int | None = None, **more: Any
) -> SimBoard:
    """A board of this kind, its firmware built for that strip and rate. Raises CalledProcessError."""
    one = hardware.BOARDS[kind]
    folder = VARIANTS / f"{chip}-{leds}-{baud or 'usual'}"
    words = [f"LED={chip}", f"LEDS={leds}", f"FIRMWARE={folder}", *([f"BAUD={baud}"] if baud else [])]
    subprocess.run(["make", "-s", *words, f"{folder}/{one.firmware}.elf"], cwd=simboard.ROOT, check=True)
    return simulated(folder / f"{one.firmware}.elf", kind, chip, leds, **more)


def simulated(elf: Path, kind: str, chip: str, leds: int, **more: Any) -> SimBoard:
    one = hardware.BOARDS[kind]
    return simboard.with_strip(SimBoard(elf, one.mcu, one.clock_hz, **more), chip, leds)


def symbols(elf: Path) -> dict[str, int]:
    """Addresses of functions, in bytes of flash."""
    told = subprocess.run(["avr-nm", elf], check=True, capture_output=True, text=True).stdout
    return {name: int(at, 16) for at, kind, name in map(str.split, told.splitlines()) if kind in "Tt"}
