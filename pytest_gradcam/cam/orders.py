"""The ways in which a layer's cells can lie in the input: grids, tokens before and behind them, flips and blocks.

An *order* gives for each place of a grid, row by row, the index of the cell that lies there.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam.cam.sites import Grid

Order = NDArray[np.int64]


def rows(grid: Grid, first: int = 0) -> Order:
    """Row by row, from the cell `first` on."""
    return np.arange(grid[0] * grid[1]) + first


def split(grid: Grid, at: int, first: int, later: int) -> Order:
    """Row by row, from the cell `first` on, and for the place `at` and those after it from the cell `later` on."""
    order = rows(grid)
    return np.where(order < at, order + first, order + later)


def flips(grid: Grid) -> Iterator[tuple[str, Order]]:
    """Mirrored and turned orders, with their names."""
    cells = rows(grid).reshape(grid)
    yield "mirrored left to right", cells[:, ::-1].ravel()
    yield "upside down", cells[::-1].ravel()
    yield "turned by 180 degrees", cells[::-1, ::-1].ravel()
    if grid[0] == grid[1]:
        yield "with rows and columns exchanged", cells.T.ravel()
        yield "turned by 90 degrees", np.rot90(cells).ravel()
        yield "turned by 270 degrees", np.rot90(cells, 3).ravel()
        yield "with rows and columns exchanged, turned by 180 degrees", cells[::-1, ::-1].T.ravel()


def blocks(grid: Grid) -> Iterator[tuple[str, Order]]:
    """Orders block by block, with their names: windows after one another, and the unrolled ones of Hiera (Ryali, 2023)."""
    height, width = grid
    for side in range(2, min(height, width)):
        if height % side == width % side == 0:
            windows = rows(grid).reshape(height // side, width // side, side, side)
            yield f"in windows of {side} x {side}", windows.transpose(0, 2, 1, 3).ravel()
    places: Order = rows(grid).reshape(grid)
    for depth in (1, 2, 3):
        if places.shape[-2] % 2 or places.shape[-1] % 2:
            return
        h, w = places.shape[-2:]
        halved: Order = places.reshape(*places.shape[:-2], h // 2, 2, w // 2, 2)
        places = np.moveaxis(halved, (-3, -1), (-4, -3))
        yield f"unrolled {depth} times", np.argsort(places.ravel())
