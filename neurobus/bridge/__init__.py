"""Boards on the bus: ports, the link to a board, and who owns a neuron."""
