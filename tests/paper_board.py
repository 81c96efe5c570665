"""`python -m tests.paper_board FOLDER N [SCHEMA] [CHIP]`: boards made of Python behind ptys, in real time.

They stand in for simulated ones where there is no avr-gcc or simavr: the same protocol, the twin's
arithmetic. A line on standard input is done to a board: `unplug 0`, `plug 0`, `reset 0`, `deaf 0`, `hear 0`,
`press 0`, `spoil 0`. Ends with its input.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
import tty
from pathlib import Path

from neurobus.wire import link
from tests.fake_board import FakeBoard, RaceChip, TwinChip

TICK_S = 0.0005
KINDS = {"lif": TwinChip, "race": RaceChip}


class Wire:
    """One board and its pty."""

    def __init__(self, name: Path, serial: int, schema: int, chip: str):
        kind = KINDS[chip]
        self.board = FakeBoard(serial=serial, schema=schema, kind=kind, timer_hz=2_000_000)
        self.name = name
        self.fd = self.other = -1
        self.plug()

    def plug(self) -> None:
        if self.fd < 0:
            self.fd, self.other = os.openpty()
            tty.setraw(self.other)
            os.set_blocking(self.fd, False)
            self.board.reset("power")
            self.name.symlink_to(os.ttyname(self.other))

    def unplug(self) -> None:
        if self.fd >= 0:
            self.name.unlink()
            os.close(self.fd)
            os.close(self.other)
            self.fd = self.other = -1

    def serve(self, now: float) -> None:
        data = b""
        if self.fd >= 0:
            with contextlib.suppress(OSError):
                data = os.read(self.fd, 4096)
        if data:
            self.board.receive(data, now)
        self.board.tick(now)
        out = self.board.take_out()
        if out and self.fd >= 0:
            with contextlib.suppress(OSError):
                os.write(self.fd, out)


def main() -> None:
    folder, n = Path(sys.argv[1]), int(sys.argv[2])
    schema = int(sys.argv[3]) if len(sys.argv) > 3 else link.SCHEMA
    chip = sys.argv[4] if len(sys.argv) > 4 else "lif"
    wires = [Wire(folder / f"ttySIM{i}", 0xB0 + i, schema, chip) for i in range(n)]
    print("ready", flush=True)
    rest = b""
    while True:
        fds = [wire.fd for wire in wires if wire.fd >= 0]
        ready, _, _ = select.select([0, *fds], [], [], TICK_S)
        if 0 in ready:
            data = os.read(0, 4096)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                verb, number = line.decode().split()
                wire = wires[int(number)]
                if verb in ("plug", "unplug"):
                    getattr(wire, verb)()
                elif verb == "reset":
                    wire.board.reset()
                elif verb == "press":
                    wire.board.press(time.monotonic(), 16000)
                elif verb == "spoil":
                    neuron = wire.board.chip
                    assert neuron is not None
                    neuron.weights[0] += 1
                else:
                    wire.board.deaf = verb == "deaf"
                print("done", flush=True)
        now = time.monotonic()
        for wire in wires:
            wire.serve(now)


if __name__ == "__main__":
    main()
