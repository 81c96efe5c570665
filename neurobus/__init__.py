"""neurobus: every neuron its own process, spikes on a message bus."""

__version__ = "0.1.0"
