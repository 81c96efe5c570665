"""`python -m neurobus`."""

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)  # until there is a verb to stop

from neurobus.cli import main  # noqa: E402

if __name__ == "__main__":
    main()
