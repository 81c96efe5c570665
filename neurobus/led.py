"""The colour of a neuron's LED: what its membrane does, and a flash when it fires. Pure.

The same rule lights the terminal, the web page and the LEDs of boards.

    rest            a faint grey: somebody is there
    depolarised     amber, brighter the nearer the threshold
    hyperpolarised  blue
    spike           white, decaying with FLASH_S
"""

from __future__ import annotations

from math import exp, inf, isnan

FLASH_S = 0.15
"""Time constant of the flash."""

RGB = tuple[int, int, int]

REST: RGB = (54, 57, 64)
WARM: RGB = (255, 140, 24)
COOL: RGB = (36, 104, 255)
FLASH: RGB = (255, 250, 235)


def colour(depolarisation: float, since_spike_s: float = inf) -> RGB:
    """Colour of a neuron, 0 to 255 each.

    `depolarisation`: 0 at rest, 1 at threshold, negative when hyperpolarised; beyond ±1 it saturates, and
    nan (not known) looks like rest. `since_spike_s`: seconds since the last spike, inf for none.
    """
    level = 0.0 if isnan(depolarisation) else max(-1.0, min(depolarisation, 1.0))
    steady = mix(REST, WARM if level > 0.0 else COOL, abs(level))
    return mix(steady, FLASH, exp(-max(since_spike_s, 0.0) / FLASH_S))


def mix(a: RGB, b: RGB, share: float) -> RGB:
    """`a` with a share (0 to 1) of `b`."""
    return (
        round(a[0] + (b[0] - a[0]) * share),
        round(a[1] + (b[1] - a[1]) * share),
        round(a[2] + (b[2] - a[2]) * share),
    )
