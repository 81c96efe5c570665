"""Node programs: one file per neuron model or source."""
