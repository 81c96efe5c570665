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


Palette = tuple[RGB, RGB, RGB, RGB]
STRIP: Palette = ((2, 2, 3), (96, 44, 6), (8, 30, 96), (72, 70, 62))
"""Colours of a board's strip as it comes: rest, warm, cool, flash. Dim: 60 pixels stay below an ampere."""


def strip(level: int, flash: int, blink: int, pixels: int, palette: Palette = STRIP) -> list[RGB]:
    """What a board's strip shows, pixel by pixel, to the bit (`firmware/avr/lights.c`).

    `level`: membrane, -127 to 127, 128 would be threshold: a bar from the first pixel on. `flash`: of the
    last spike, 255 fresh, 0 gone. `blink`: 1 while all are lit, 2 while none is, 0 otherwise.
    """
    rest, warm, cool, white = palette
    if blink:
        flash, white = 255, (0, 0, 0) if blink == 2 else white
    reach = abs(level) * 2 * pixels
    full = _mix(cool if level < 0 else warm, white, flash)
    behind = _mix(rest, white, flash)
    edge = _mix(behind, full, reach & 255)
    whole = reach >> 8
    return [full if i < whole else edge if i == whole else behind for i in range(pixels)]


def _mix(a: RGB, b: RGB, share: int) -> RGB:
    """`a` with a share (0 to 255) of `b`, as eight bits do it."""
    of_b = share + (share >> 7)
    mixed = [(x * (256 - of_b) + y * of_b) >> 8 for x, y in zip(a, b, strict=True)]
    return mixed[0], mixed[1], mixed[2]
