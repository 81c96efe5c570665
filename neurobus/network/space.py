"""Places of neurons on a ring or a sheet, in mm, and the distances between them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurobus.exact import exp
from neurobus.model import Array


@dataclass(frozen=True)
class Space:
    """A ring of length `width_mm`, or a sheet; on a torus opposite edges of the sheet meet."""

    kind: str
    width_mm: float
    height_mm: float = 0.0
    torus: bool = False

    def drawn(self, u: Array) -> Array:
        """Where neurons stand at random, from uniform numbers; both of shape (n, 2)."""
        at: Array = u * np.array([self.width_mm, self.height_mm])
        return at

    def places(self, n: int) -> Array:
        """Where n neurons stand evenly, row by row, shape (n, 2)."""
        size = np.array([self.width_mm, self.height_mm])
        if self.kind == "ring":
            return np.column_stack([np.arange(n) * (self.width_mm / n), np.zeros(n)])
        columns = int(np.ceil(np.sqrt(n * self.width_mm / self.height_mm) - 1e-9))
        columns = min(max(columns, 1), n)
        rows = -(-n // columns)
        at = np.column_stack([np.arange(n) % columns, np.arange(n) // columns])
        even: Array = (at + 0.5) * (size / [columns, rows])
        return even

    def distance(self, a: Array, b: Array) -> Array:
        """Distance in mm, shape of the broadcast a and b without their last axis (x, y)."""
        apart = np.abs(a - b)
        if self.kind == "ring" or self.torus:
            size = np.array([self.width_mm, self.height_mm])
            apart = np.minimum(apart, np.abs(size - apart))
        if self.kind == "ring":
            along: Array = apart[..., 0]
            return along
        return np.asarray(np.sqrt(apart[..., 0] * apart[..., 0] + apart[..., 1] * apart[..., 1]))

    def __str__(self) -> str:
        if self.kind == "ring":
            return f"a ring of {self.width_mm:g} mm"
        return f"a {'torus' if self.torus else 'sheet'} of {self.width_mm:g} mm x {self.height_mm:g} mm"


def kernel(name: str, distance_mm: Array, reach_mm: float) -> Array:
    """The fall of probability with distance, 1 at 0: exp(-d²/2r²), exp(-d/r), or 1 up to r."""
    if name == "disc":
        return (distance_mm <= reach_mm).astype(np.float64)
    scaled = distance_mm / reach_mm
    return exp(-scaled if name == "exponential" else -0.5 * scaled * scaled)
