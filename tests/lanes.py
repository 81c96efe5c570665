"""All tests, some beside each other: python -m tests.lanes

Most tests wait for processes to start and for the conductor's rounds, so five lanes share two cores well. Two
of them only compute; they are nice, or each of those rounds would wait for a slice of the scheduler.
What goes by the clock on the wall (`calm`) comes after them: it leaves the machine idle, so there are two.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

OUTPUT = Path("build/tests")
CLUSTERS = "tests/process"
COURSES, VERBS, BOARDS = (
    tuple(f"{CLUSTERS}/test_{name}.py" for name in names)
    for names in (
        ("train", "mixed", "weights", "clocks", "resume"),
        ("nest", "verbs"),
        ("boards", "colours", "mixed", "pace"),
    )
)
BUSY = ("-m", "not calm and not bench")
LANES = {
    "units": ("tests/unit",),
    "papers": ("tests/papers",),
    "firmware": ("tests/firmware", *VERBS, *BUSY),
    "courses": (*COURSES, *BUSY),
    "clusters": (CLUSTERS, *(f"--ignore={file}" for file in (*COURSES, *VERBS)), *BUSY),
}
NICE = ("units", "papers")
CALM = {
    "calm boards": (*BOARDS, "-m", "calm and not bench"),
    "calm": (CLUSTERS, *(f"--ignore={file}" for file in BOARDS), "-m", "calm and not bench"),
}


def passed(lanes: dict[str, tuple[str, ...]]) -> bool:
    """Run lanes side by side. The output of each is in `build/tests`, and told as it ends."""
    begun, left = time.monotonic(), {}
    for name, args in lanes.items():
        with (OUTPUT / f"{name}.txt").open("wb") as out:
            nice = ["nice", "-n", "10"] if name in NICE else []
            command = [*nice, sys.executable, "-m", "pytest", *args, *sys.argv[1:]]
            left[name] = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    good = True
    try:
        while left:
            for name in [name for name, process in left.items() if process.poll() is not None]:
                good &= left.pop(name).returncode == 0
                print((OUTPUT / f"{name}.txt").read_text(errors="replace"), end="")
                print(f"-- {name}: after {time.monotonic() - begun:.0f} s", flush=True)
            time.sleep(0.1)
    finally:
        for process in left.values():
            process.terminate()
    return good


def main() -> int:
    OUTPUT.mkdir(parents=True, exist_ok=True)
    good = passed(LANES)
    return 0 if passed(CALM) and good else 1


if __name__ == "__main__":
    sys.exit(main())
