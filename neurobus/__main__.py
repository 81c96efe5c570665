"""`python -m neurobus`."""

import signal
import sys

signal.signal(signal.SIGINT, signal.SIG_DFL)  # until there is a verb to stop
if not sys.flags.safe_path:  # Python put the current folder first: a random.py there is not Python's own
    sys.path.append(sys.path.pop(0))

from neurobus.cli import main  # noqa: E402

if __name__ == "__main__":
    main()
