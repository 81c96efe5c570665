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
WIDTH = 300
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


def failures(lanes: dict[str, tuple[str, ...]]) -> list[str]:
    """Run lanes side by side. The output of each is in `build/tests`, and told as it ends.

    Returns a line for each test that failed, or for the lane when pytest itself went wrong.
    """
    begun, left, failed = time.monotonic(), {}, []
    for name, args in lanes.items():
        with (OUTPUT / f"{name}.txt").open("wb") as out:
            nice = ["nice", "-n", "5"] if name in NICE else []
            command = [*nice, sys.executable, "-m", "pytest", *args, *sys.argv[1:]]
            left[name] = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        while left:
            for name in [name for name, process in left.items() if process.poll() is not None]:
                code = left.pop(name).returncode
                said = (OUTPUT / f"{name}.txt").read_text(errors="replace")
                print(said, end="")
                print(f"-- {name}: after {time.monotonic() - begun:.0f} s", flush=True)
                if code:
                    told = [line for line in said.splitlines() if line.startswith(("FAILED ", "ERROR "))]
                    failed += [f"{name}: {line[:WIDTH]}" for line in told or [f"pytest ended with {code}"]]
            time.sleep(0.1)
    finally:
        for process in left.values():
            process.terminate()
    return failed


def main() -> int:
    OUTPUT.mkdir(parents=True, exist_ok=True)
    failed = failures(LANES) + failures(CALM)
    # Last of all: whoever sees only the end of the output must see what failed.
    print(*failed, sep="\n", end="\n" if failed else "", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
