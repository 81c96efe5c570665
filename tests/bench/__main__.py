"""`python -m tests.bench [--json FILE] [--only ID,…]`: every figure beside its peer, as a table and as JSON.

Exit code 1 when a figure could not be measured; one that misses its goal is printed as such.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.bench.figure import Figure

MEASURES = {
    "ring_hop": ["ring_hop"],
    "windows": ["windows"],
    "windows_growth": ["windows_growth"],
    "ready": ["ready", "memory"],
    "thousand": ["thousand"],
    "packed_nest": ["packed_nest"],
    "recorder": ["recorder"],
    "replay_error": ["replay_error"],
    "peers": ["peers"],
    "models": [
        *(
            f"cost_{name}_{k}"
            for k in (1, 1000)
            for name in ("lif", "lif_cond", "eif", "adex", "izhikevich", "hodgkin_huxley")
        ),
        "hh_real_time",
    ],
    "board": ["board_bare", "board_trip", "learning_1", "learning_8", "learning_32"],
    "spike_trip": ["spike_trip", "spike_trip_p99"],
    "board_rate": ["board_rate"],
    "boards32": ["boards_32", "boards_32_lost"],
    "board_hands": ["hand_over", "hand_over_lost", "unplugged", "silent"],
}
"""Module → ids of the figures it measures."""


def main() -> int:
    known = [id for ids in MEASURES.values() for id in ids]
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="The figures of merit.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument("--only", metavar="ID,…", help=f"of: {', '.join(known)}")
    args = parser.parse_args()
    asked = args.only.split(",") if args.only else known
    if unknown := set(asked) - set(known):
        parser.error(f"no figure is called {', '.join(sorted(unknown))}; there are: {', '.join(known)}")

    # A termination unwinds, so that programs and folders go with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    terminal = Console()
    console = terminal if terminal.is_terminal else Console(width=160)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/tmp") as folder:
        os.environ["NEUROBUS_RUNTIME_DIR"] = str(Path(folder) / "run")
        os.environ["NEUROBUS_STATE_DIR"] = str(Path(folder) / "state")
        for module, ids in MEASURES.items():
            if wanted := set(ids) & set(asked):
                figures += _measure(module, wanted, console)
    console.print(_table(figures))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        rows = [figure.row() for figure in figures]
        args.json.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    return int(any("error" in figure.more for figure in figures))


def _measure(module: str, wanted: set[str], console: Console) -> list[Figure]:
    """One measure; what goes wrong in it is a figure too, and the others go on."""
    console.print(f"[dim]{' '.join(sorted(wanted))} …[/]", end=" ")
    begun = time.monotonic()
    try:
        figures = [f for f in import_module(f"tests.bench.{module}").measure() if f.id in wanted]
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        word = f"{type(error).__name__}: {error}"
        figures = [Figure(id, None, "", "", False, more={"error": word}) for id in sorted(wanted)]
    console.print(f"[dim]{time.monotonic() - begun:.0f} s[/]")
    return figures


def _table(figures: Sequence[Figure]) -> Table:
    table = Table(title="neurobus, medians of 5 runs taken in turn with the peer")
    for heading in ("id", "value", "unit", "against", "ratio", "goal", "met", "peer"):
        table.add_column(heading, justify="right" if heading in ("value", "against", "ratio") else "left")
    for figure in figures:
        met = {True: "[green]yes[/]", False: "[red]no[/]", None: "–"}[figure.met]
        error = figure.more.get("error")
        beside = f"[red]{escape(error.splitlines()[-1])}[/]" if error else figure.peer
        numbers = _number(figure.value), figure.unit, _number(figure.against), _number(figure.ratio)
        table.add_row(figure.id, *numbers, figure.goal, met, beside)
    return table


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 1000 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
