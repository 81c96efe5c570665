"""Claims of papers as runs with a number to meet: one file per exhibit, in `papers/`."""

from neurobus.exhibits.exhibit import Exhibit, Row, load, names
from neurobus.exhibits.lab import Lab, Run

__all__ = ["Exhibit", "Lab", "Row", "Run", "load", "names"]
