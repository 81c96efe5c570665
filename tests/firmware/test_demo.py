"""`make demo-board`: what it prints while it works."""

from __future__ import annotations

import importlib.util
import io
import sys
from typing import Any

from rich.console import Console

from neurobus.bridge.simboard import ROOT


def demo() -> Any:
    spec = importlib.util.spec_from_file_location("demo_board", ROOT / "firmware" / "demo.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["demo_board"] = module
    spec.loader.exec_module(module)
    return module


def test_what_the_run_says_is_printed_once() -> None:
    said = io.StringIO(
        "compiling nodes.chip (only this once)\n"
        "n.3 is board B0 (ttySIM0) from 3.5 s on\n"
        "  spikes  951 (1,795 deliveries)\n"
        "    note  n.3 is board B0 (ttySIM0) from 3.5 s on\n"
        "    note  a note of the end\n"
    )
    out = io.StringIO()
    words = demo().Words(said, Console(file=out, width=120))
    words.end()
    assert out.getvalue().splitlines() == [
        "compiling nodes.chip (only this once)",
        "n.3 is board B0 (ttySIM0) from 3.5 s on",
        "  spikes  951 (1,795 deliveries)",
        "    note  a note of the end",
    ]


def test_the_state_that_it_names_outlives_it() -> None:
    states = demo().STATES
    assert states.is_relative_to(ROOT / "build")
