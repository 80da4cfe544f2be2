"""Occlusion: how far the score falls when a window of the image is hidden (Zeiler and Fergus, ECCV 2014)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_gradcam.cam.masked_scores import MaskedScores, cells

_CELLS = 14  # of the map along the shorter side
_WINDOW = 2  # cells that a window covers along each side


def occlusion(scored: MaskedScores) -> NDArray[np.float32]:
    """The map (n, h, w) of each of n goals: the mean fall of the score over the windows that hide the cell.

    In units of the score. A window of two by two cells moves by one cell; at the rim parts of windows hide what is left.
    """
    shape: tuple[int, int] = tuple(scored.image.shape[2:])  # type: ignore[assignment]
    grid = cells(shape, _CELLS)
    hidden = list(_windows(grid))
    full = np.array([float(score) for score in scored.scores])
    falls = full[:, None] - scored.through(_mask(shape, grid, window) for window in hidden)
    covers = np.stack([window.ravel() for window in hidden]).astype(np.float64)
    means = falls @ covers / covers.sum(0)
    return np.asarray(means.reshape(-1, *grid), np.float32)


def _windows(grid: tuple[int, int]) -> Iterator[NDArray[np.bool_]]:
    """The cells (h, w) that each window hides."""
    for top in range(1 - _WINDOW, grid[0]):
        for left in range(1 - _WINDOW, grid[1]):
            window = np.zeros(grid, bool)
            window[max(0, top) : top + _WINDOW, max(0, left) : left + _WINDOW] = True
            yield window


def _mask(shape: tuple[int, int], grid: tuple[int, int], window: NDArray[np.bool_]) -> Tensor:
    rows, columns = (np.arange(length) * number // length for length, number in zip(shape, grid, strict=True))
    return torch.from_numpy(~window[np.ix_(rows, columns)]).float()
