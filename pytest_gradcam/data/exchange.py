"""The exchange scan: which places of the image decide, found without a mask, a heatmap or a gradient.

Cells of an image are exchanged with the same cells of other images, and the fall of its margin is measured: as far as it
falls further for images predicted as another class than for images of its own, these cells tell the classes apart. A pass
exchanges a random block or a random subset of cells, so that places that decide only together are found as well; a
linear model over all passes gives the share of each cell. Images are the independent units: the uncertainty of any sum of
cells comes from each image's influence on it, and the largest of all sums that are looked at is compared with the largest
under random signs of these influences (a wild bootstrap, max-statistic; Westfall and Young 1993).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.questions.lead import margins
from pytest_gradcam.questions.protocols import Engine, ModelInput

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Cells = NDArray[np.bool_]  # (cells, cells)

#: Forward passes for each image, besides the one of the image itself.
PASSES = 17
_BATCH = 64  # exchanged images that are in memory at a time
_SHARE = 0.25  # of the cells, in a pass that exchanges a subset
_LIMITS = (-1.0, 3.0)  # falls beyond them count as much: one image must not decide
_RIDGE = 1e-2
_SIGNS = 999  # draws of random signs
_CLEAR = 2.0  # standard errors by which a window has to stand out to be looked at more closely
_AS_MUCH = 0.5  # a cell joins a region that costs this share of what the region's cells cost in the mean
_SIZES = (1, 2, 3)  # sides of the windows, in cells, that are looked at


@dataclass(frozen=True)
class Scan:
    """The share (cells, cells) of the mean margin that exchanging each cell costs, and each image's influence on it.

    `influence` (N, cells * cells) sums to 0: the estimate over other images like these varies as its sums do.
    """

    falls: Floats
    influence: Floats

    @property
    def cells(self) -> int:
        return len(self.falls)

    def effect(self, cells: Cells) -> float:
        """The fall that exchanging these cells together costs, as far as they add up."""
        return float(self.falls[cells].sum())

    def error(self, cells: Cells) -> float:
        """The standard error of that."""
        return float(np.sqrt((self.influence[:, cells.ravel()].sum(axis=1) ** 2).sum()))

    def t(self, cells: Cells) -> float:
        return self.effect(cells) / max(self.error(cells), 1e-9)

    @cached_property
    def windows(self) -> list[Cells]:
        """All squares of some sizes, and the frames along the edge."""
        found = []
        for size in _SIZES:
            for row in range(self.cells - size + 1):
                for column in range(self.cells - size + 1):
                    window = np.zeros((self.cells, self.cells), bool)
                    window[row : row + size, column : column + size] = True
                    found.append(window)
        for width in (1, 2):
            frame = np.ones((self.cells, self.cells), bool)
            frame[width:-width, width:-width] = False
            found.append(frame)
        return found

    @cached_property
    def highest(self) -> Floats:
        """The largest t of all windows in each draw of random signs, sorted."""
        members = np.stack([window.ravel() for window in self.windows]).astype(np.float64)
        sums = self.influence @ members.T
        errors = np.maximum(np.sqrt((sums**2).sum(axis=0)), 1e-9)
        signs = np.random.default_rng(0).choice([-1.0, 1.0], (_SIGNS, len(sums)))
        return np.sort((signs @ sums / errors).max(axis=1))

    def p_value(self, cells: Cells) -> float:
        """The chance that the most conspicuous window of all is at least as conspicuous where no place decides."""
        above = len(self.highest) - int(np.searchsorted(self.highest, self.t(cells)))
        return (1 + above) / (1 + len(self.highest))

    def regions(self, most: int) -> list[tuple[Cells, float]]:
        """The places that decide most for their size and do not touch, with the corrected p-value of each one's first window."""
        found: list[tuple[Cells, float]] = []
        taken = np.zeros((self.cells, self.cells), bool)
        for window in sorted(filter(self._stands_out, self.windows), key=self._weight, reverse=True):
            if len(found) == most:
                break
            if not (window & taken).any():
                region = self._grown(window, taken)
                found.append((region, self.p_value(window)))
                taken |= ndimage.binary_dilation(region)
        return found

    def _stands_out(self, window: Cells) -> bool:
        return self.t(window) > _CLEAR

    def _weight(self, window: Cells) -> float:
        """Large places always cost more, single cells are the most uncertain: the fall over the root of the area weighs both."""
        return self.effect(window) / math.sqrt(window.sum())

    def _grown(self, region: Cells, taken: Cells) -> Cells:
        """The region with all cells next to it, and to those, that cost half as much as its own do on average."""
        while True:
            level = _AS_MUCH * self.falls[region].mean()
            beside = ndimage.binary_dilation(region) & ~region & ~taken & (self.falls >= level)
            if not beside.any():
                return region
            region = region | beside


def scan(
    engine: Engine, inputs: Sequence[ModelInput], *, cells: int = 8, seed: int = 0, tick: Callable[[int], object] = int
) -> Scan:
    """The scan of images of one size, `PASSES` forward passes each; `tick` is told of each batch of them.

    Raises HeatmapError unless the images are predicted as two classes or more.
    """
    scores = engine.predict(inputs)
    classes = scores.argmax(axis=1)
    if len(set(classes)) < 2:
        raise HeatmapError(
            "all images are predicted as one class, so none brings in pixels of another class; pass images of several classes"
        )
    lead = margins(scores, classes, alone=engine.multi_label)
    unit = float(np.abs(lead).mean())
    rng = np.random.default_rng(seed)
    plans = [_plans(rng, index, classes, cells) for index in range(len(inputs))]
    jobs = [(index, plan) for index, one in enumerate(plans) for plan in one]
    after = np.concatenate(
        [_margins(engine, inputs, jobs[at : at + _BATCH], classes, tick) for at in range(0, len(jobs), _BATCH)]
    )
    falls = ((lead[[index for index, _ in jobs]] - after) / unit).clip(*_LIMITS)
    own = np.concatenate([[plan.other for plan in one] for one in plans])
    design = np.stack([plan.cells.ravel() for one in plans for plan in one]).astype(np.float64)
    images = np.repeat(np.arange(len(inputs)), [len(one) for one in plans])
    total, influence = _fitted(design[own], falls[own], images[own], len(inputs))
    if not own.all():
        alike, more = _fitted(design[~own], falls[~own], images[~own], len(inputs))
        total, influence = total - alike, influence - more
    return Scan(total.reshape(cells, cells), influence)


@dataclass(frozen=True)
class _Exchange:
    """Which cells of one image are exchanged with those of which other one, and whether that is of another class."""

    donor: int
    other: bool
    cells: Cells


def _plans(rng: np.random.Generator, index: int, classes: NDArray[np.intp], cells: int) -> list[_Exchange]:
    others = np.flatnonzero(classes != classes[index])
    alike = np.flatnonzero((classes == classes[index]) & (np.arange(len(classes)) != index))
    found = []
    for number in range(PASSES):
        other = number % 3 != 2 or not len(alike)
        chosen = rng.random((cells, cells)) < _SHARE
        if number % 2:
            row, column = rng.integers(-1, cells, 2)
            chosen = np.zeros((cells, cells), bool)
            chosen[max(row, 0) : row + 2, max(column, 0) : column + 2] = True
        found.append(_Exchange(int(rng.choice(others if other else alike)), other, chosen))
    return found


def _margins(
    engine: Engine,
    inputs: Sequence[ModelInput],
    jobs: Sequence[tuple[int, _Exchange]],
    classes: NDArray[np.intp],
    tick: Callable[[int], object],
) -> Floats:
    """The margins of images with their cells exchanged."""
    changed = []
    for index, plan in jobs:
        mask = spread(plan.cells, inputs[index].shape)
        changed.append(inputs[index].with_pixels(np.where(mask, inputs[plan.donor].pixels, inputs[index].pixels)))
    found = margins(engine.predict(changed), classes[[index for index, _ in jobs]], alone=engine.multi_label)
    tick(len(jobs))
    return found


def spread(cells: Cells, shape: tuple[int, int]) -> Bools:
    """The cells as pixels (H, W)."""
    rows = np.arange(shape[0]) * len(cells) // shape[0]
    columns = np.arange(shape[1]) * len(cells) // shape[1]
    return np.asarray(cells[np.ix_(rows, columns)])


def _fitted(design: Floats, falls: Floats, images: Any, count: int) -> tuple[Floats, Floats]:
    """The coefficients (K,) of a linear model with a constant, and each image's influence (count, K) on them."""
    full = np.column_stack([design, np.ones(len(design))])
    inverse = np.linalg.inv(full.T @ full + _RIDGE * np.eye(full.shape[1]))
    solved = inverse @ full.T @ falls
    each = (full * (falls - full @ solved)[:, None]) @ inverse
    influence = np.zeros((count, full.shape[1]))
    np.add.at(influence, images, each)
    return solved[:-1], influence[:, :-1]
