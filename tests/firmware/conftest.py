"""The rig, built, and firmwares to run on it. Without the tools the tests are skipped; in CI they fail."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from neurobus.bridge import simboard
from neurobus.bridge.simboard import SimBoard
from tests.needs import need_simulated_boards
from tests.rig import Rig

HERE = Path(__file__).parent
BAUD = {16_000_000: 500_000, 8_000_000: 250_000}

Probe = Callable[..., SimBoard]
Start = Callable[..., Rig]


@pytest.fixture(scope="session")
def tools() -> None:
    """avr-gcc, simavr and a built rig."""
    need_simulated_boards()
    subprocess.run(["make", "-s", "rig"], cwd=simboard.ROOT, check=True)


@pytest.fixture(scope="session")
def probe(tools: None, tmp_path_factory: pytest.TempPathFactory) -> Probe:
    """`probe(mcu, clock_hz, chip=…, defines={…})`: a board with probe.c, compiled with these macros."""
    folder = tmp_path_factory.mktemp("probe")
    built: dict[tuple[str, ...], Path] = {}

    def make(
        mcu: str = "atmega328p",
        clock_hz: int = 16_000_000,
        defines: dict[str, Any] | None = None,
        **more: Any,
    ) -> SimBoard:
        macros = {"F_CPU": f"{clock_hz}UL", "BAUD": f"{BAUD[clock_hz]}UL", **(defines or {})}
        flags = (f"-mmcu={mcu}", *(f"-D{name}={value}" for name, value in macros.items()))
        if flags not in built:
            built[flags] = folder / f"{len(built)}.elf"
            command = ["avr-gcc", *flags, "-O2", "-Wall", "-Werror", "-o", built[flags], HERE / "probe.c"]
            subprocess.run(command, check=True)
        return SimBoard(built[flags], mcu, clock_hz, **{"led": "B0", **more})

    return make


@pytest.fixture
def start(runtime_dir: Path) -> Iterator[Start]:
    """`start(board, …, pace="hold")`: a rig that ends with the test."""
    running: list[Rig] = []

    def begin(*boards: SimBoard, pace: str = "hold") -> Rig:
        running.append(Rig(boards, pace))
        return running[-1]

    yield begin
    for rig in running:
        rig.close()
