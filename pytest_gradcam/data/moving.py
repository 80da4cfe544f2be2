"""Places that decide and lie elsewhere in each image: a window that follows what costs the margin.

Where the rows and columns of cells that cost an image's margin cross, a window of some shape is laid. It is exchanged with the
windows of other images, of another class and of the same: as far as the margin falls further in the first case, what lies
there tells the classes apart, wherever it lies. The window was laid by other exchanges than those that judge it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from pytest_gradcam.data.exchange import Bools, Floats, Probe, Scan
from pytest_gradcam.questions.protocols import ModelInput, Values

Indices = NDArray[np.intp]
#: (rows, columns) of cells of the windows; 0 is all of them.
SHAPES = ((2, 2), (3, 3), (0, 2), (2, 0))
#: Forward passes for each image.
PASSES = 2 * len(SHAPES)


@dataclass(frozen=True)
class Window:
    """The same pixels, bool (h, w), of a window that starts at `starts` (N, 2), row and column, in each of N images."""

    starts: Indices
    pixels: Bools

    @classmethod
    def around(cls, mask: Bools, count: int) -> Window:
        """The pixels of a mask (H, W), in the same place in so many images."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        start = np.array([rows[0], columns[0]])
        return cls(np.tile(start, (count, 1)), mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])

    def part(self, index: int) -> tuple[slice, slice]:
        """Where it lies in an image."""
        (row, column), (height, width) = self.starts[index], self.pixels.shape
        return slice(row, row + height), slice(column, column + width)

    def masks(self, shape: tuple[int, int]) -> Bools:
        """Bool (N, H, W)."""
        found = np.zeros((len(self.starts), *shape), bool)
        for index, mask in enumerate(found):
            mask[self.part(index)] = self.pixels
        return found


@dataclass(frozen=True)
class Move:
    """The window of image `to` receives that of the donor, in the `pixels` (h, w) of both."""

    to: int
    donor: int
    window: Window
    moved: Bools

    def pixels(self, inputs: Sequence[ModelInput]) -> Values:
        changed = inputs[self.to].pixels.copy()
        part, lent = (slice(None), *self.window.part(self.to)), (slice(None), *self.window.part(self.donor))
        changed[part] = np.where(self.moved, inputs[self.donor].pixels[lent], changed[part])
        return changed


@dataclass(frozen=True)
class Moving:
    """A window, the fall of the margin that exchanging it costs beyond that of exchanging it within the class, and its area.

    `effect` is in units, `p_value` corrected for the number of shapes, `cells` the area.
    """

    window: Window
    effect: float
    p_value: float
    cells: int


def moving(probe: Probe, scan: Scan, *, seed: int = 0) -> list[Moving]:
    """A window of each shape, `PASSES` forward passes an image."""
    rng, found = np.random.default_rng(seed), []
    for rows, columns in ((rows or scan.cells, columns or scan.cells) for rows, columns in SHAPES):
        tops, height = _starts(scan.rows, rows, probe.shape[0])
        lefts, width = _starts(scan.columns, columns, probe.shape[1])
        window = Window(np.stack([tops, lefts], axis=1), np.ones((height, width), bool))
        gaps = _exchanged(rng, probe, window)
        error = gaps.std(ddof=1) / math.sqrt(len(gaps)) if len(gaps) > 1 else math.inf
        effect = float(gaps.mean()) if len(gaps) else 0.0
        p_value = float(scipy.special.stdtr(len(gaps) - 1, -effect / max(error, 1e-9))) if len(gaps) > 1 else 1.0
        found.append(Moving(window, effect, min(1.0, len(SHAPES) * p_value), rows * columns))
    return found


def _starts(falls: Floats, cells: int, side: int) -> tuple[Indices, int]:
    """Where so many neighbouring strips begin that cost an image most together, in pixels (N,), and their length."""
    several = falls.shape[1]
    sums = np.lib.stride_tricks.sliding_window_view(falls, cells, axis=1).sum(axis=2)
    length = round(side * cells / several)
    return np.minimum(-(-sums.argmax(axis=1) * side // several), side - length), length


def _exchanged(rng: np.random.Generator, probe: Probe, window: Window) -> Floats:
    """How much further the margin falls by windows of another class than by those of the own one, of each image that has both."""
    donors = [[probe.donors(i, other=other) for other in (True, False)] for i in range(len(probe.inputs))]
    pairs = [(i, *map(rng.choice, both)) for i, both in enumerate(donors) if all(map(len, both))]
    moves = [Move(i, int(pair[kind]), window, window.pixels) for kind in range(2) for i, *pair in pairs]
    others, own = probe.falls(moves).reshape(2, -1)
    return np.asarray(others - own)
