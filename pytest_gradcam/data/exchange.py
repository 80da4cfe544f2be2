"""The exchange scan: which places of the image decide, found without a mask, a heatmap or a gradient.

Cells of an image are exchanged with the same cells of other images, and the fall of its margin is measured: as far as it
falls further for images predicted as another class than for images of its own, these cells tell the classes apart. A pass
exchanges a row of cells, a column, a random block or a random subset, so that places that decide only together are found as
well; a linear model over all passes gives the share of each cell. Images are the independent units: the uncertainty of any
sum of cells comes from each image's influence on it, and the largest of all sums that are looked at is compared with the largest
under random signs of these influences (a wild bootstrap, max-statistic; Westfall and Young 1993).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import scipy
from numpy.typing import NDArray

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.questions.lead import margins
from pytest_gradcam.questions.protocols import Engine, ModelInput, Values

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Cells = NDArray[np.bool_]  # (cells, cells)

_ALIKE, _BLOCKS = 5, 4  # passes with images of the same class; those with others, besides the rows and columns
_BATCH = 64  # exchanged images that are in memory at a time
_SHARE = 0.25  # of the cells, in a pass that exchanges a subset
_LIMITS = (-1.0, 3.0)  # falls beyond them count as much: one image must not decide
_RIDGE = 1e-2
_SIGNS = 999  # draws of random signs
_CLEAR = 2.0  # standard errors by which a window has to stand out to be looked at more closely
_AS_MUCH = 0.5  # a cell joins a region that costs this share of what the region's cells cost in the mean
_SIZES = (1, 2, 3)  # sides of the windows, in cells, that are looked at


def passes(cells: int) -> int:
    """Forward passes for each image, besides the one of the image itself."""
    return 2 * cells + _ALIKE + _BLOCKS


class Change(Protocol):
    """An exchange: image `to` receives pixels of image `donor`."""

    @property
    def to(self) -> int: ...
    @property
    def donor(self) -> int: ...

    def pixels(self, inputs: Sequence[ModelInput]) -> Values:
        """The pixels (C, H, W) of the image that received them."""


@dataclass(frozen=True)
class Probe:
    """Images of one size, the classes (N,) that they are predicted as, and their margins (N,), in units of the mean margin."""

    engine: Engine
    inputs: Sequence[ModelInput]
    classes: NDArray[np.intp]
    lead: Floats
    unit: float
    tick: Callable[[int], object]

    @classmethod
    def of(cls, engine: Engine, inputs: Sequence[ModelInput], tick: Callable[[int], object] = int) -> Probe:
        """Raises HeatmapError unless the images are predicted as two classes or more."""
        scores = engine.predict(inputs)
        classes = scores.argmax(axis=1)
        if len(set(classes)) < 2:
            raise HeatmapError(
                "all images are predicted as one class, so none brings in pixels of another class; pass images of several "
                "classes"
            )
        lead = margins(scores, classes, alone=engine.multi_label)
        tick(len(inputs))
        return cls(engine, inputs, classes, lead, float(np.abs(lead).mean()), tick)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the view."""
        return self.inputs[0].shape

    def falls(self, changes: Sequence[Change]) -> Floats:
        """How far the margin of each changed image (M,) falls, in units."""
        found = [self._falls(changes[at : at + _BATCH]) for at in range(0, len(changes), _BATCH)]
        return np.concatenate(found) if found else np.empty(0)

    def donors(self, index: int, *, other: bool) -> NDArray[np.intp]:
        """The images that are predicted as another class than this one, or as the same."""
        fit = (self.classes != self.classes[index]) == other
        fit[index] = False
        return np.flatnonzero(fit)

    def _falls(self, changes: Sequence[Change]) -> Floats:
        changed = [self.inputs[one.to].with_pixels(one.pixels(self.inputs)) for one in changes]
        to = [one.to for one in changes]
        after = margins(self.engine.predict(changed), self.classes[to], alone=self.engine.multi_label)
        self.tick(len(changes))
        return np.asarray(((self.lead[to] - after) / self.unit).clip(*_LIMITS))


@dataclass(frozen=True)
class Scan:
    """The share (cells, cells) of the mean margin that exchanging each cell costs, and each image's influence on it.

    `influence` (N, cells * cells) sums to 0: the estimate over other images like these varies as its sums do. `rows` and
    `columns` (N, cells) are the falls of each image where one of its rows or columns of cells was exchanged.
    """

    falls: Floats
    influence: Floats
    rows: Floats
    columns: Floats

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
                taken |= scipy.ndimage.binary_dilation(region)
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
            beside = scipy.ndimage.binary_dilation(region) & ~region & ~taken & (self.falls >= level)
            if not beside.any():
                return region
            region = region | beside


def scan(probe: Probe, *, cells: int = 8, seed: int = 0) -> Scan:
    """The scan of images of one size, `passes(cells)` forward passes each."""
    rng = np.random.default_rng(seed)
    plans = [one for index in range(len(probe.inputs)) for one in _plans(rng, probe, index, cells)]
    falls = probe.falls(plans)
    own = np.array([plan.other for plan in plans])
    design = np.stack([plan.cells.ravel() for plan in plans]).astype(np.float64)
    images = np.array([plan.to for plan in plans])
    total, influence = _fitted(design[own], falls[own], images[own], len(probe.inputs))
    if not own.all():
        alike, more = _fitted(design[~own], falls[~own], images[~own], len(probe.inputs))
        total, influence = total - alike, influence - more
    strips = falls[[plan.strip for plan in plans]].reshape(len(probe.inputs), 2, cells)
    return Scan(total.reshape(cells, cells), influence, strips[:, 0], strips[:, 1])


@dataclass(frozen=True)
class Exchange:
    """Which cells of image `to` receive the donor's, which is of an `other` class or not; a `strip` is a row or column."""

    to: int
    donor: int
    other: bool
    cells: Cells
    strip: bool = False

    def pixels(self, inputs: Sequence[ModelInput]) -> Values:
        image = inputs[self.to]
        return np.where(spread(self.cells, image.shape), inputs[self.donor].pixels, image.pixels)


def _plans(rng: np.random.Generator, probe: Probe, index: int, cells: int) -> Iterator[Exchange]:
    others, alike = probe.donors(index, other=True), probe.donors(index, other=False)
    for axis in range(2):
        for place in range(cells):
            strip = np.zeros((cells, cells), bool)
            strip[(place, slice(None)) if axis == 0 else (slice(None), place)] = True
            yield Exchange(index, int(rng.choice(others)), True, strip, True)
    for number in range(_ALIKE + _BLOCKS):
        other = number < _BLOCKS or not len(alike)
        chosen = rng.random((cells, cells)) < _SHARE
        if number % 2:
            row, column = rng.integers(-1, cells, 2)
            chosen = np.zeros((cells, cells), bool)
            chosen[max(row, 0) : row + 2, max(column, 0) : column + 2] = True
        yield Exchange(index, int(rng.choice(others if other else alike)), other, chosen)


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
