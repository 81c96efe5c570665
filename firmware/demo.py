"""`make demo-board`: a ring of neurons, one of them a simulated board; the cable pulled and put back.

Prints a timeline: every neuron a column, `board.toml`'s ring going round; who owns n.3, what its strip shows,
and what was lost or late. It is all done with the verbs a person would use.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.text import Text

from neurobus.bridge import hardware, simboard
from neurobus.bridge.simboard import Rig, SimBoard
from neurobus.cli.plain import use_stand_ins
from neurobus.cli.topview import lit
from neurobus.cluster import folder as folders
from neurobus.cluster.observer import LiveObserver

ROOT = Path(__file__).parents[1]
NEURON = "n.3"
ROW_S = 0.25
FOR = "20s"
STATES = ROOT / "build" / "demo" / "states"
"""What the run names at its end is there to be resumed."""
PATIENCE_S = 30.0


def verb(*words: object) -> list[str]:
    return [sys.executable, "-m", "neurobus", *map(str, words)]


class Words:
    """What a program says, printed as it says it; a note of its summary that was told before is left out."""

    def __init__(self, said: IO[str], console: Console):
        self._said, self._console, self._told = said, console, set[str]()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._said:
            if (text := self.new(line)) is not None:
                self._console.print(text, style="dim", markup=False)

    def new(self, line: str) -> str | None:
        """The line, or None where it only repeats what was told."""
        text = line.rstrip()
        word = text.strip().removeprefix("note ").strip()
        if word in self._told:
            return None
        self._told.add(word)
        return text

    def end(self) -> None:
        """Until all has been printed."""
        self._thread.join(PATIENCE_S)


class Timeline:
    """Rows of what happens, as it happens."""

    def __init__(self, run: subprocess.Popen[str], console: Console):
        self.console, self.run = console, run
        manifest = self._started()
        self.observer = LiveObserver(manifest, f"demo-{os.getpid()}")
        self.ids = [name for name in manifest.ids if name.startswith("n.")] + ["reader"]
        self.index = {name: manifest.ids.index(name) for name in self.ids}
        self.before = {name: 0 for name in self.ids}
        self.console.print(f"[dim]     s   {'  '.join(self.ids)}   {NEURON} is[/]")

    def _started(self) -> folders.Manifest:
        while self.run.poll() is None:
            for manifest in folders.running():
                if manifest.t0_ns is not None:
                    return manifest
            time.sleep(0.05)
        raise SystemExit("the run did not start")

    def say(self, text: str) -> None:
        self.console.print(f"[bold yellow]{'':9}{text}[/]")

    def go(self, seconds: float) -> None:
        """Let so much time pass, a row every quarter of a second."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up and self.run.poll() is None:
            self.observer.ask()
            due = time.monotonic() + ROW_S
            while time.monotonic() < due:
                self.observer.listen(0.02)
                time.sleep(0.01)
            self._row()

    def _row(self) -> None:
        live = self.observer.live
        row = Text(f"{(live.model_ns or 0) * 1e-9:6.2f}   ")
        for name in self.ids:
            count = int(live.counts[self.index[name]])
            new, self.before[name] = count - self.before[name], count
            row.append(f"{'●' * min(new, 3):<{len(name)}}  ", "bright_white" if new else "dim")
        board = live.boards.get(self.index[NEURON])
        row.append(f" {board or 'its process':<26}", "yellow" if board else "dim")
        for at in range(0, len(live.strips.get(self.index[NEURON], b"")), 3):
            red, green, blue = live.strips[self.index[NEURON]][at : at + 3]
            row.append("■", "rgb({},{},{})".format(*lit(red, green, blue)))
        totals = live.totals()
        row.append(f"  lost {totals['lost']} twice {totals['duplicates']} late {totals['late']}", "dim")
        self.console.print(row)


def ask(timeline: Timeline, *words: object) -> None:
    """A verb, as one would type it, while the rows go on."""
    timeline.say("$ neurobus " + " ".join(map(str, words)))
    with subprocess.Popen(
        verb(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        while process.poll() is None:
            timeline.go(ROW_S)
        for line in (process.stdout.read() if process.stdout else "").splitlines():
            timeline.say("  " + line)


@contextmanager
def running(console: Console) -> Iterator[tuple[subprocess.Popen[str], Words]]:
    command = verb("run", ROOT / "configs" / "first" / "board.toml", "--for", FOR)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout
        words = Words(process.stdout, console)
        try:
            yield process, words
        finally:
            if process.poll() is None:
                process.terminate()
            words.end()


def main() -> None:
    use_stand_ins()
    console = Console(highlight=False, soft_wrap=True)
    board = hardware.BOARDS["uno"]
    console.print("the firmware of an Uno is built, where it is not yet …")
    elf = simboard.firmware(board)
    console.print("a simulated Uno runs it, cycle by cycle …")
    one = SimBoard(elf, board.mcu, board.clock_hz, own_supply=True, serial=0xB0A2D)
    with Rig([one]) as rig:
        console.print(
            f"it is plugged in as {rig.names[0]}; a network of nine neurons starts, each a process …"
        )
        with running(console) as (run, words):
            show(rig, Timeline(run, console))
            run.wait(PATIENCE_S)
            words.end()


PRESS_MS = 100


def show(rig: Rig, timeline: Timeline) -> None:
    timeline.go(1.5)
    ask(timeline, "attach", rig.names[0], "--as", NEURON)
    timeline.go(1.5)
    timeline.say("the button on the board is pressed")
    rig.ask("press", 0, PRESS_MS)
    timeline.go(1.5)
    timeline.say("the cable is pulled")
    rig.ask("unplug", 0)
    timeline.go(1.5)
    timeline.say("and put back")
    rig.ask("plug", 0)
    timeline.go(2.0)
    ask(timeline, "boards")
    ask(timeline, "detach", NEURON)
    timeline.go(1.0)
    ask(timeline, "stop")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="nb-demo-", dir="/tmp") as folder:
        os.environ["NEUROBUS_RUNTIME_DIR"] = folder
        os.environ["NEUROBUS_STATE_DIR"] = str(STATES)
        main()
