"""Boards on a table: of paper (`tests.paper_board`), or simulated (the real firmware in simavr)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from neurobus.bridge import hardware, simboard
from neurobus.bridge.simboard import SimBoard
from neurobus.wire import link
from tests.rig import Rig

UNO = hardware.BOARDS["uno"]


class Paper:
    """Boards of paper."""

    def __init__(self, folder: Path, n: int, schema: int = link.SCHEMA, chip: str = "lif"):
        folder.mkdir(exist_ok=True)
        self.ports = [str(folder / f"ttySIM{i}") for i in range(n)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.paper_board", str(folder), str(n), str(schema), chip],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip
        assert self.process.stdin and self.process.stdout
        assert self.process.stdout.readline() == "ready\n"

    def _do(self, verb: str, board: int) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{verb} {board}\n")
        assert self.process.stdout.readline() == "done\n"

    def unplug(self, board: int = 0) -> None:
        self._do("unplug", board)

    def plug(self, board: int = 0) -> None:
        self._do("plug", board)

    def reset(self, board: int = 0) -> None:
        self._do("reset", board)

    def press(self, board: int = 0) -> None:
        self._do("press", board)

    def spoil(self, board: int = 0) -> None:
        """Another first weight, and nobody is told."""
        self._do("spoil", board)

    def deaf(self, board: int = 0) -> None:
        self._do("deaf", board)

    def hear(self, board: int = 0) -> None:
        self._do("hear", board)

    def close(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


class Simulated(Rig):
    """Boards in simavr."""

    def __init__(self, n: int, chip: str = "lif", strip: tuple[str, int] = ("ws2812", 8)):
        elf = simboard.firmware(UNO, *strip, neuron=chip)
        super().__init__([simboard.with_strip(SimBoard(elf, serial=0xB0 + i), *strip) for i in range(n)])

    def deaf(self, board: int = 0) -> None:
        self.power(False, board)

    def hear(self, board: int = 0) -> None:
        self.power(True, board)


Boards = Paper | Simulated
