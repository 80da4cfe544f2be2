"""Masks grown to what a check can resolve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.masks._arguments import Bools, size
from pytest_gradcam.masks._read import as_mask
from pytest_gradcam.validation import number


def dilate(mask: object, pixels: float) -> Bools:
    """The mask and all pixels within `pixels` of it, between centres; bool (H, W). An empty mask stays empty.

    Raises HeatmapError if `pixels` is not a number of at least 0, and for what `as_mask` refuses.
    """
    region = as_mask(mask)
    pixels = number("pixels", pixels, "a number of at least 0", lambda distance: distance >= 0)
    if not region.any():
        return region.copy()
    grown: Bools = scipy.ndimage.distance_transform_edt(~region) <= pixels
    return grown


def grow_to_grid(mask: object, grid: Sequence[int]) -> Bools:
    """All pixels of the heatmap's grid cells that contain a pixel of the mask; bool (H, W).

    `grid` is (h, w), as in `heatmap.grid.shape`; a pixel is in the cell that holds its centre. The mask is in pixels of
    the view, which the grid divides. Raises HeatmapError for a grid finer than the mask and for what `as_mask` refuses.
    """
    region, (h, w) = as_mask(mask), size(grid)
    height, width = region.shape
    if h > height or w > width:
        raise HeatmapError(f"the grid {h} x {w} is finer than the mask of {height} x {width} pixels; pass (h, w)")
    rows = ((np.arange(height) + 0.5) * h / height).astype(int)
    columns = ((np.arange(width) + 0.5) * w / width).astype(int)
    touched = np.zeros((h, w), bool)
    y, x = np.nonzero(region)
    touched[rows[y], columns[x]] = True
    return touched[np.ix_(rows, columns)]
