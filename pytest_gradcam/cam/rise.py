"""RISE: what the score depends on, from random masks alone (Petsiuk, Das and Saenko, BMVC 2018).

The paper's map is the mean of the masks, each weighted by its score. Here each cell has the slope of the score over how much of
the cell a mask shows: for one image that is the paper's map up to a positive factor and a constant, which every mask's share
of the score adds everywhere. Without it the map is zero where hiding changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from pytest_gradcam.cam.masked_scores import Floats, MaskedScores, cells

_CELLS = 7  # of a mask along the shorter side, and
_SHOWN = 0.5  # the share of them that show the image: as in the paper
_FINER = 2  # the map's cells a cell of the masks, which are shifted by any number of pixels
_RESAMPLED = 100  # maps of masks drawn anew from those that were made (bootstrap)
_SEED = 0
_DRAWN = 32  # masks at a time
FEWEST_MASKS = 50  # fewer say nothing of their own error


def rise(scored: MaskedScores, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The map (n, h, w) of each of n goals, and 100 bootstrap replicates of it (n, 100, h, w), from `count` masks.

    Always the same for the same image. In units of the score: how much higher it is with the cell shown than hidden.
    """
    shape: tuple[int, int] = tuple(scored.image.shape[2:])  # type: ignore[assignment]
    grid = cells(shape, _FINER * _CELLS)
    pooled: list[Tensor] = []

    def masks() -> Iterator[Tensor]:
        for mask in _masks(shape, count):
            pooled.append(adaptive_avg_pool2d(mask[None], grid).flatten())
            yield mask

    scores = scored.through(masks())
    shares: Floats = torch.stack(pooled).double().numpy()
    counts = np.random.default_rng(_SEED).multinomial(count, np.full(count, 1 / count), size=_RESAMPLED)
    weights = np.concatenate([np.ones((1, count)), counts]) / count
    maps = np.stack([_slopes(weights, shares, score) for score in scores]).astype(np.float32)
    maps = maps.reshape(len(scores), 1 + _RESAMPLED, *grid)
    return maps[:, 0], maps[:, 1:]


def _slopes(weights: Floats, shares: Floats, scores: Floats) -> Floats:
    """(k, cells): the slope of scores (N,) over shares (N, cells), for each of k rows of weights (k, N)."""
    centred = scores - scores.mean()  # else the difference below would be one of large numbers
    means, mean = weights @ shares, (weights @ centred)[:, None]
    spread = weights @ shares**2 - means**2
    together = weights @ (shares * centred[:, None]) - means * mean
    return np.where(spread > 0, together / np.where(spread > 0, spread, 1), 0.0)


def _masks(shape: tuple[int, int], count: int) -> Iterator[Tensor]:
    """Masks (H, W) in [0, 1]: random grids, enlarged bilinearly and shifted by up to one cell."""
    generator = torch.Generator().manual_seed(_SEED)
    grid = cells(shape, _CELLS)
    sides = [-(-length // number) for length, number in zip(shape, grid, strict=True)]
    large = tuple((number + 1) * side for number, side in zip(grid, sides, strict=True))
    for first in range(0, count, _DRAWN):
        many = min(_DRAWN, count - first)
        shown = (torch.rand((many, 1, *(number + 1 for number in grid)), generator=generator) < _SHOWN).float()
        downs, acrosses = (torch.randint(side, (many,), generator=generator).tolist() for side in sides)
        for mask, down, across in zip(interpolate(shown, large, mode="bilinear")[:, 0], downs, acrosses, strict=True):
            yield mask[down : down + shape[0], across : across + shape[1]]
