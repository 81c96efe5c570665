"""`python -m neurobus`."""

from neurobus.cli import main

if __name__ == "__main__":
    main()
