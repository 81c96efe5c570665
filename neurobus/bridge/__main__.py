"""`python -P -m neurobus.bridge CLUSTER`: the bridge of a running cluster. `neurobus attach` starts it."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import os
import sys
import time

from neurobus.bridge.bridge import Bridge, started
from neurobus.cluster import folder as folders

LOCK_S = 0.5


def main() -> int:
    manifest = started(sys.argv[1])
    folder = folders.runtime_dir() / manifest.name
    lock = os.open(folder / "bridge.lock", os.O_CREAT | os.O_RDWR, 0o600)
    if not _locked(lock):
        return 0  # another one is faster, and as good
    os.truncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    # All that was imported stays. To look through it again takes 8 ms, at which boards and bus would wait.
    gc.collect()
    gc.freeze()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(Bridge(manifest, _log).run())
    finally:
        loop.close()
    return 0


def _locked(lock: int) -> bool:
    """Whether it is ours. A verb that asks whether a bridge runs (`client.runs`) has it for a moment."""
    give_up = time.monotonic() + LOCK_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > give_up:
                return False
            time.sleep(0.01)
        else:
            return True


def _log(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
