"""Simulated boards: the rig of firmware/sim as a child process.

The rig is found beside this package in a checkout, as `build/sim/rig`; `make rig` builds it. It ends when
its standard input does, so it never outlives whoever started it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import neurobus
from neurobus import system
from neurobus.bridge import ports
from neurobus.bridge.hardware import Hardware
from neurobus.bridge.holders import SIMULATED
from neurobus.cluster import folder as folders
from neurobus.errors import InputError, RunError

ROOT = Path(neurobus.__file__).parents[1]
PROGRAM = ROOT / "build" / "sim" / "rig"
FIRMWARE = ROOT / "build" / "firmware"
"""Where `make firmware` puts .elf and .hex files."""
STOP_S = 5.0


@dataclass(frozen=True)
class SimBoard:
    """One board to simulate.

    `led`, `backup` and `button` are pins, `B0` to `D7`; `chip` is one of ws2811, 2812, 2813, 2815, 2818,
    `order` that of the colours on its line where it is not the chip's usual one, `leds` how many LEDs there
    are (0: not checked). `ppm`: how far off the crystal is. `own_supply`: pulling the cable leaves it
    powered. `seed`: what its RAM holds at power-on and which bits go wrong. `serial`: the number in its
    EEPROM, 0 for none.
    """

    elf: Path
    mcu: str = "atmega328p"
    clock_hz: int = 16_000_000
    chip: str = "ws2812"
    leds: int = 0
    order: str = ""
    led: str = "D6"
    backup: str = ""
    button: str = "D2"
    ppm: float = 0.0
    own_supply: bool = False
    seed: int | None = None
    serial: int = 0

    def spec(self, name: str) -> str:
        words = {
            "mcu": self.mcu, "clock": self.clock_hz, "elf": self.elf, "chip": self.chip, "leds": self.leds,
            "order": self.order, "led": self.led, "backup": self.backup, "button": self.button,
            "ppm": self.ppm, "supply": "own" if self.own_supply else "usb", "seed": self.seed,
            "serial": self.serial or None,
        }  # fmt: skip
        given = [f"{key}={value}" for key, value in words.items() if value not in ("", None)]
        return ",".join([name, *given])


BACKUP = {"ws2813", "ws2815", "ws2818"}
"""Chips with a second data line."""


def with_strip(board: SimBoard, chip: str, leds: int) -> SimBoard:
    """The board with that strip, wired as `firmware/avr/boards` says."""
    return replace(board, chip=chip, leds=leds, led="D6", backup="D7" if chip in BACKUP else "")


class RigError(RunError):
    """The rig is gone, or would not do what it was told."""


class Rig:
    """Simulated boards, plugged in and powered. `ports[i]` is the name of the i-th board's port.

    `pace`: "real" keeps to the host's clock; "free" runs as fast as can be while a board has something to
    do, and stands still else; "hold" lets time pass only in `run`. Raises InputError where the rig cannot be
    started.
    """

    def __init__(self, boards: Sequence[SimBoard], pace: str = "real"):
        self.pace = pace
        self.folder = folders.create("simboard")
        first = first_free()
        self.names = [f"{SIMULATED}{first + i}" for i in range(len(boards))]
        self.ports = [str(self.folder / name) for name in self.names]
        self._rest = b""
        command = [str(program()), "--folder", str(self.folder), "--pace", pace]
        for name, board in zip(self.names, boards, strict=True):
            command += ["--board", board.spec(name)]
        try:
            # A session of its own: Ctrl-C is for whoever started us, and he tells the rig.
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            folders.remove(self.folder)
            raise InputError(f"{command[0]}: {error.strerror}") from error
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._until_ready()
            self._socket.connect(str(self.folder / "control"))
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def _until_ready(self) -> None:
        assert self._process.stdout and self._process.stderr
        for line in self._process.stdout:
            if line.strip() == b"ready":
                return
        why = self._process.stderr.read().decode(errors="replace").strip().splitlines()
        raise InputError(why[-1] if why else "the rig ended without a word")

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        self.close()

    def close(self) -> None:
        """End the rig; nothing of it is left."""
        self._socket.close()
        process = self._process
        if process.stdin:
            with suppress(BrokenPipeError):
                process.stdin.close()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()
        folders.remove(self.folder, os.getpid())  # the rig has gone: another may have the name by now

    def ended(self) -> bool:
        return self._process.poll() is not None

    def ask(self, *words: object) -> Any:
        """The rig's answer to a command (`help` lists them). Raises RigError."""
        return _ask(self._socket, words)


def command(folder: Path, *words: object) -> Any:
    """Ask the rig of another process, by its folder. Raises RigError."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(folder / "control"))
        except OSError as error:
            raise RigError(f"{folder}: no simulated boards here: {error.strerror}") from error
        return _ask(connection, words)


def _ask(connection: socket.socket, words: Iterable[object]) -> Any:
    line = " ".join(map(str, words))
    answer = b""
    try:
        connection.sendall(line.encode() + b"\n")
        while not answer.endswith(b"\n"):
            if not (part := connection.recv(1 << 16)):
                raise RigError("the simulated boards are gone")
            answer += part
    except OSError as error:
        raise RigError(f"the simulated boards are gone: {error.strerror}") from error
    word, _, rest = answer.decode().strip().partition(" ")
    if word != "ok":
        raise RigError(f"{line}: {rest}")
    return json.loads(rest)


def first_free() -> int:
    """A number that no board has, in whichever rig: so that short names mean one board."""
    taken = [os.path.basename(name).removeprefix(SIMULATED) for name in ports.simulated()]
    return 1 + max((int(number) for number in taken if number.isdigit()), default=-1)


def make(*words: str) -> None:
    """`make` in the checkout. Raises InputError: what went wrong, or the command that installs what lacks."""
    if not (ROOT / "firmware" / "sim").is_dir():
        raise InputError("simulated boards are built from a checkout of neurobus; this is an installed copy")
    if (lacking := missing()) is not None:
        raise InputError(f"simulated boards need more than is here; run: {lacking}")
    done = subprocess.run(["make", "-s", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        why = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise InputError(f"make {' '.join(words)} failed: {why[0] if why else done.returncode}")


def built(neuron: str) -> Path:
    """Where `make firmware` puts what has this chip (`link.CHIP`)."""
    return FIRMWARE if neuron == "lif" else FIRMWARE / neuron


def firmware(
    board: Hardware, chip: str = "ws2812", leds: int = 8, baud: int | None = None, neuron: str = "lif"
) -> Path:
    """The ELF of the board's firmware for that strip, with the chip `neuron`; built where it is not. Raises
    InputError.

    What differs from `make firmware` without options gets a folder of its own.
    """
    variant = f"{chip}-{leds}" + (f"-{baud}" if baud else "")
    folder = built(neuron) if variant == "ws2812-8" else built(neuron) / variant
    elf = folder / f"{board.firmware}.elf"
    options = [f"LED={chip}", f"LEDS={leds}", f"CHIP={neuron}", f"FIRMWARE={folder}"]
    options += [f"BAUD={baud}"] if baud else []
    make("-C", "firmware/avr", *options, str(elf))
    return elf


def program() -> Path:
    """The rig, built. Raises InputError where it is not, with the command that mends it."""
    if not PROGRAM.exists():
        raise InputError(f"{PROGRAM} is not built; run: {missing() or f'make -C {ROOT} rig'}")
    return PROGRAM


def missing() -> str | None:
    """The command that installs what building the rig and the firmware lacks here; None when nothing."""
    lacking = system.missing("rig", "firmware")
    return system.install_command(lacking) if lacking else None
