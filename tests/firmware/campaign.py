"""`python -m tests.firmware.campaign [--seed N] [--only NAME,…] [--share 0.1]`: the long trials of boards.

Each runs on every kind of board, in board time as fast as can be. Exit code 1 when one failed; its seed is
printed, and finds the same failure again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from os import environ
from typing import Any

from neurobus.bridge import hardware
from tests.firmware import attached, trials
from tests.firmware.boards import board
from tests.firmware.host import Host
from tests.rig import Rig

KINDS = ("uno", "atmega8", "atmega8-8mhz")
TRIALS: dict[str, Callable[[Host, float, Any], dict[str, int]]] = {
    "unplugs": lambda host, share, seed: trials.unplugs(host, round(1000 * share), seed),
    "resets": lambda host, share, seed: trials.resets(host, round(500 * share), seed),
    "power losses": lambda host, share, seed: trials.power_losses(host, round(500 * share), seed),
    "bit errors": lambda host, share, seed: trials.bit_errors(host, 1e-3, round(50_000 * share), seed),
    "garbage": lambda host, share, seed: trials.garbage(host, 10 * share, seed),
}


ATTACHED = "attached"
"""The same with boards that are neurons of a running network: a thousand cables pulled, and what else comes
between. It goes by the clock on the wall, a second a cable."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.firmware.campaign", description=__doc__)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--only", metavar="NAME,…", help=f"of: {', '.join([*TRIALS, ATTACHED])}")
    parser.add_argument("--share", type=float, default=1.0, help="of the whole length")
    args = parser.parse_args()
    names = args.only.split(",") if args.only else [*TRIALS, ATTACHED]
    if unknown := set(names) - {*TRIALS, ATTACHED}:
        parser.error(f"no trial is called {', '.join(sorted(unknown))}")
    print(f"seed {args.seed}")
    failed = 0
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/tmp") as folder:
        environ["NEUROBUS_RUNTIME_DIR"] = folder
        for name in names:
            if name == ATTACHED:
                failed += not _attached(args.share, args.seed)
            for kind in KINDS if name in TRIALS else ():
                failed += not _one(name, kind, args.share, args.seed)
    return int(failed > 0)


def _one(name: str, kind: str, share: float, seed: int) -> bool:
    begun = time.monotonic()
    with Rig([board(kind, seed=seed % 1000 + 1)], "hold") as rig:
        host = Host(rig, baud=hardware.BOARDS[kind].baud)
        try:
            host.pump(50)
            host.open()
            found = trials.figures(TRIALS[name](host, share, seed))
            good = True
        except BaseException as error:  # pytest's failures are no Exceptions
            if isinstance(error, KeyboardInterrupt):
                raise
            traceback.print_exc()
            found, good = f"FAILED: {error}", False
        finally:
            board_s = rig.stats()["ns"] * 1e-9
            host.close()
    took = f"{board_s:.0f} s of board time in {time.monotonic() - begun:.0f} s"
    print(f"{name:14}{kind:14}{found}   ({took})", flush=True)
    return good


def _attached(share: float, seed: int) -> bool:
    begun = time.monotonic()
    try:
        found = trials.figures(attached.misfortunes(round(1000 * share), seed))
        good = True
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        traceback.print_exc()
        found, good = f"FAILED: {error}", False
    print(f"{ATTACHED:14}{'uno':14}{found}   ({time.monotonic() - begun:.0f} s)", flush=True)
    return good


if __name__ == "__main__":
    sys.exit(main())
