"""Time per sample on chips, counted in simavr: a network of chips against one sequential program on one chip.

    python -m tests.bench.cycles [--json FILE] [--plot FILE]

Each chip of the network runs firmware/avr/chip_race.c (ATmega328P) on the spikes it hears in some slots in
the middle of a course; the slowest counts. The single chip runs sequential.c, the same rule for all neurons
(in an ATmega1284P, the same core with the RAM it takes), and must come to the same weights.
"""
