"""The compiled part of a neuron: see README.md."""
