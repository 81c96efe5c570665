"""The budget of flash, RAM and stack: what it reads, what it refuses, and that no board was ever deeper."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from typing import Any

import pytest

from neurobus.bridge import hardware, simboard
from neurobus.wire import link
from tests.firmware.boards import board
from tests.firmware.build import AVR
from tests.firmware.conftest import Start
from tests.firmware.host import Host, image


def load() -> Any:
    spec = importlib.util.spec_from_file_location("budget", AVR / "budget.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["budget"] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


budget = load()

# main at 0 calls far (behind the end of 8 KB: its jump wraps round) and framed; framed calls leaf.
LISTING = """
00000000 <main>:
   0:\t0f 93       \tpush\tr16
   2:\t00 d0       \trcall\t.-4098   \t; 0x1ffffff <nonsense>
   4:\t00 d0       \trcall\t.+26     \t; 0x20 <framed>
   6:\t08 95       \tret

00000020 <framed>:
  20:\tcf 93       \tpush\tr28
  22:\tdf 93       \tpush\tr29
  24:\t00 d0       \trcall\t.+0      \t; 0x26 <framed+0x6>
  26:\tcd b7       \tin\tr28, 0x3d\t; 61
  28:\tde b7       \tin\tr29, 0x3e\t; 62
  2a:\t29 97       \tsbiw\tr28, 0x09\t; 9
  2c:\t09 d0       \trcall\t.+18     \t; 0x40 <leaf>

00000040 <leaf>:
  40:\t1f 93       \tpush\tr17
  42:\t08 95       \tret

00001002 <far>:
1002:\t08 95       \tret
"""


def test_pushes_frames_and_calls_are_counted() -> None:
    found = budget.functions(LISTING, 8192)
    assert {name: f.own for name, f in found.items()} == {"main": 1, "framed": 2 + 2 + 9, "leaf": 1, "far": 0}
    assert found["main"].calls == {"far", "framed"}
    assert budget.deepest(found, "main") == (1 + 2 + 13 + 2 + 1, ("main", "framed", "leaf"))


def test_a_part_of_a_function_that_it_calls_itself_is_no_recursion() -> None:
    listing = "00000000 <main>:\n   0:\t00 d0       \trcall\t.+2       \t; 0x4 <main+0x4>\n"
    assert budget.deepest(budget.functions(listing, 8192), "main") == (2, ("main",))


def test_recursion_and_pointers_have_no_bound() -> None:
    again = "00000000 <main>:\n   0:\t00 d0       \trcall\t.-2       \t; 0x0 <main>\n"
    with pytest.raises(SystemExit, match="recursion has no bound: main → main"):
        budget.deepest(budget.functions(again, 8192), "main")
    with pytest.raises(SystemExit, match="main calls through a pointer"):
        budget.functions("00000000 <main>:\n   0:\t09 95       \ticall\n", 8192)


@pytest.mark.process
@pytest.mark.parametrize("kind", [board.name for board in hardware.FIRMWARES.values()])
def test_no_board_is_deeper_than_the_budget_says(tools: None, start: Start, kind: str) -> None:
    one = hardware.BOARDS[kind]
    elf = simboard.firmware(one)
    command = [sys.executable, str(AVR / "budget.py"), "avr-objdump", str(elf), one.mcu]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    ram, stack, there = map(int, re.findall(r"RAM (\d+) \+ deepest stack (\d+) of (\d+)", done.stdout)[0])
    assert ram + stack <= there
    host = Host(start(board(kind), pace="hold"), baud=one.baud)
    host.pump(50)
    host.open()
    host.load(image([9000] * 100, 100))
    for tick in range(0, 600, 5):
        host.send(link.INPUT, tick=tick, synapses=(tick % 100, 7))
    host.go(700)
    host.send(link.CHECK)
    host.send(link.SAVE)
    host.wait(link.SAVED, timeout_ms=8000)
    host.send(link.RECALL)
    host.wait(link.LOADED)
    unused = host.stats()["stack"]
    host.close()
    assert there - ram - stack <= unused < there - ram
