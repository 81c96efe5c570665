"""Makes thorpe_samples.csv and thorpe_weights.csv: python configs/papers/thorpe.py

Six Gabor patches of 8 x 8 pixels, their values levelled to 1 … 64. Samples: each patch at four contrasts,
the first patch with its order turned round, 100 random orders. The cell of a patch has the weight mod^rank
from the pixel that is rank-th in it (Thorpe & Gautrais 1998).
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

SIDE, PATCHES, RANDOM, MOD = 8, 6, 100, 0.9
CONTRASTS = (1.0, 0.5, 0.35, 0.2)


def levelled(image: np.ndarray) -> np.ndarray:
    """Values 1 … n in the order of the image's."""
    return np.argsort(np.argsort(image, kind="stable"), kind="stable") + 1


def gabor(angle: float) -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    patch = np.exp(-(along**2 + across**2) / 18) * np.cos(2 * np.pi * across / 5 + 0.4) + 0.003 * along
    return levelled(np.round(patch.ravel(), 9))


def main() -> None:
    here, rng = Path(__file__).parent, np.random.default_rng(1)
    patches = [gabor(np.pi * n / PATCHES) for n in range(PATCHES)]
    turned = SIDE**2 + 1 - patches[0]
    orders = [rng.permutation(SIDE**2) + 1 for _ in range(RANDOM)]
    samples = [contrast * patch for contrast in CONTRASTS for patch in patches] + [turned, *orders]
    with open(here / "thorpe_samples.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([f"p{n}" for n in range(SIDE**2)])
        writer.writerows([[f"{value:.8g}" for value in sample] for sample in samples])
    with open(here / "thorpe_weights.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["pre", "post", "weight [mV]"])
        for number, patch in enumerate(patches):
            rank = SIDE**2 - patch
            writer.writerows(
                [f"pixel.{n}", f"cell.{number}", repr(float(MOD**r))] for n, r in enumerate(rank)
            )


if __name__ == "__main__":
    main()
