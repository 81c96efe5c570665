"""Versions that outlive a run in what it keeps. Without numpy, as `neurobus.bounds`."""

STREAMS = 2
"""Of the random words (`neurobus.streams`) and of what is made of them. Another version draws other networks
and noise."""
