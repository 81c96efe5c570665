"""Compilers for tests of the firmware. Without one they are skipped, under CI=true they fail."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AVR = ROOT / "firmware" / "avr"
HOST = Path(__file__).parent / "host"


def need(command: str, package: str) -> str:
    """The path of a command; the test is skipped where there is none."""
    found = shutil.which(command)
    if found is None:
        word = f"no {command} here; apt-get install {package}"
        if os.environ.get("CI") == "true":
            pytest.fail(word)
        pytest.skip(word)
    return found


def compile_host(target: Path, sources: list[Path], *flags: str) -> Path:
    """`sources` compiled for this machine, warnings being errors."""
    command = [
        need("gcc", "gcc"), "-std=gnu99", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-packed-bitfield-compat",
        "-Wno-address-of-packed-member",
        "-fno-strict-aliasing", f"-I{AVR}", f"-I{HOST}", f'-DBOARD="{HOST / "board.h"}"',
        f'-DCHIP="{AVR / "chip_lif.h"}"', *flags, "-o", str(target), *map(str, sources),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target
