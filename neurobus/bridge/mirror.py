"""The strip of a board, mirrored on the bus in its own colours. Pure.

A board tells what its strip shows as levels; the colours are those of the palette that it had taken by then.
Which that was follows from the acks: a frame that acknowledges a palette was said while the board showed it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from neurobus import led
from neurobus.wire import link


@dataclass(slots=True)
class Mirror:
    """`every`: one of so many frames of the strip is told; 0 for none. `shown`: the palette that the board
    has taken, None for the one it begins with."""

    every: int = 0
    shown: led.Palette | None = None
    _sent: deque[tuple[int, led.Palette]] = field(default_factory=deque)
    """Palettes that are not known to have been taken: seq of the frame, and colours."""

    def begin(self, same_board: bool) -> None:
        """A session begins; a board that was reset has its own palette again."""
        self.every = 0
        self._sent.clear()
        if not same_board:
            self.shown = None

    def sent(self, seq: int, colours: led.Palette) -> None:
        self._sent.append((seq, colours))

    def acknowledged(self, ack: int) -> None:
        while self._sent and (ack - self._sent[0][0]) & 0xFF < 128:
            self.shown = self._sent.popleft()[1]


def palette_values(colours: led.Palette) -> dict[str, int]:
    """The fields of a PALETTE message."""
    flat = [part for colour in colours for part in colour]
    return {field.name: value for field, value in zip(link.PALETTE.fields, flat, strict=True)}


def pixels(level: int, flash: int, blink: int, n_leds: int, palette: led.Palette | None) -> bytes:
    """The strip as the bus has it: three bytes an LED."""
    colours = led.strip(level, flash, blink, n_leds, palette or led.STRIP)
    return bytes(part for colour in colours for part in colour)
