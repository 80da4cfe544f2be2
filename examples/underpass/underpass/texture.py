"""What walls and floors are made of, as functions of the place on them, free of moire at any distance."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import map_coordinates


class Noise:
    """Smooth random values in [0, 1] over the plane, the same for the same seed."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._table = rng.random((128, 128), dtype=np.float32)

    def __call__(self, u, v, octaves: int = 3):
        """Noise whose coarsest grain is 1; each octave halves grain and weight."""
        total, weight = np.zeros(np.broadcast(u, v).shape, np.float32), 0.0
        for octave in range(octaves):
            places = [np.broadcast_to(c * 2**octave + 17.3 * octave, total.shape) for c in (u, v)]
            total += map_coordinates(self._table, places, order=1, mode="grid-wrap") / 2**octave
            weight += 1 / 2**octave
        return total / weight

    def cell(self, i, j):
        """One value for each cell of whole numbers."""
        return self._table[np.mod(i, 128).astype(int), np.mod(j, 128).astype(int)]


def line(place, middle, width, footprint):
    """How much of a pixel, `footprint` wide at `place`, a line of this middle and width covers; in [0, 1]."""
    footprint = np.maximum(footprint, 1e-4)
    low = np.maximum(place - footprint / 2, middle - width / 2)
    high = np.minimum(place + footprint / 2, middle + width / 2)
    return np.clip((high - low) / footprint, 0, 1)


def grid(place, period, width, footprint):
    """How much of a pixel the lines of a grid cover, one line of `width` at every multiple of `period`."""
    nearest = np.abs(place - np.round(place / period) * period)
    fine = line(nearest, 0, width, footprint)
    return np.where(footprint > period / 2, width / period, fine)


def mix(below, above, alpha):
    """`above` over `below`, both colours (..., 3), where alpha (...) says how much."""
    return below + (np.asarray(above, np.float32) - below) * np.asarray(alpha, np.float32)[..., None]
