"""The structure of a network: its qualities as figures, as text and as a picture."""

from neurobus.structure.measures import measure
from neurobus.structure.report import render

__all__ = ["measure", "render"]
