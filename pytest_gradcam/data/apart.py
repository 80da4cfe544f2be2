"""What a place costs where no object is touched: only pixels are exchanged that lie off the objects of both images.

Then no image loses a part of its object, and none receives one of another: as far as the margin falls further by images of
another class than by those of its own, what lies off the objects tells the classes apart for the model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from pytest_gradcam.data.exchange import Bools, Probe
from pytest_gradcam.data.moving import Move, Window

_DRAWS = 2  # donors of each kind for an image
_PART = 1 / 3  # of the place's pixels that have to be off both objects
_FEWEST = 10  # images, for a figure
_TAIL = 0.05 / 3  # three places are asked about as a rule
_COSTS = 0.05  # of the mean margin


@dataclass(frozen=True)
class Apart:
    """The mean fall of the margin, in units, over `images` images, and its one-sided 95 % bounds, which hold for three places."""

    effect: float
    lower: float
    upper: float
    images: int

    @property
    def relies(self) -> bool | None:
        """Whether the model relies on what is off the objects: True or False if a bound says so, None if it is open."""
        return True if self.lower > _COSTS else False if self.upper < _COSTS else None


def apart(probe: Probe, window: Window, objects: Sequence[Bools | None], *, seed: int = 0) -> Apart | None:
    """What exchanging the place costs off the objects (H, W) of the images; None if fewer than ten can exchange any of it."""
    moves, kinds = list[Move](), list[bool]()
    for pair in _moves(np.random.default_rng(seed), probe, window, objects):
        for kind, some in zip((True, False), pair, strict=True):
            moves += some
            kinds += [kind] * len(some)
    to, other = np.array([move.to for move in moves]), np.array(kinds)
    falls = probe.falls(moves)
    gaps = np.array([falls[(to == i) & other].mean() - falls[(to == i) & ~other].mean() for i in np.unique(to)])
    if len(gaps) < _FEWEST:
        return None
    mean = float(gaps.mean())
    reach = float(scipy.special.stdtrit(len(gaps) - 1, 1 - _TAIL)) * float(gaps.std(ddof=1)) / math.sqrt(len(gaps))
    return Apart(mean, mean - reach, mean + reach, len(gaps))


def _moves(
    rng: np.random.Generator, probe: Probe, window: Window, objects: Sequence[Bools | None]
) -> Iterator[tuple[list[Move], list[Move]]]:
    """For each image that has both, exchanges with images of other classes and of its own."""
    free = [None if each is None else window.pixels & ~each[window.part(i)] for i, each in enumerate(objects)]
    enough = _PART * window.pixels.sum()
    for i, mine in enumerate(free):
        found: list[list[Move]] = [[], []]
        for kind, other in enumerate((True, False)):
            for j in rng.permutation(probe.donors(i, other=other)):
                theirs = free[j]
                if mine is not None and theirs is not None and (mine & theirs).sum() >= enough:
                    found[kind].append(Move(i, int(j), window, mine & theirs))
                if len(found[kind]) == _DRAWS:
                    break
        if all(found):
            yield found[0], found[1]
