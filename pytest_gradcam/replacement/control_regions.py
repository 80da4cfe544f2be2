"""Regions to compare a masked region with: of the same size and shape elsewhere, and right around it."""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
_OVERLAP = 0.3  # share of the mask that a control may cover again


def elsewhere(mask: Bools, forbidden: Bools, *, count: int = 2) -> list[Bools]:
    """Up to `count` copies of the mask, moved off what is forbidden, as far as possible from it and from each other.

    Empty if the shape fits nowhere else. The choice depends only on the mask and on what is forbidden.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    home = np.array([rows[0], columns[0]])
    shape = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    overlap = _overlaps((mask | forbidden).astype(np.float64), shape.astype(np.float64))
    free = np.argwhere(overlap < 0.5)  # counts, up to the rounding of the transform
    taken: list[NDArray[np.intp]] = [home]
    found: list[Bools] = []
    while len(free) and len(found) < count:
        distance = np.min([np.hypot(*(free - place).T) for place in taken], axis=0)
        top, left = free[int(distance.argmax())]
        if found and distance.max() < 1:
            break
        control = np.zeros_like(mask)
        control[top : top + shape.shape[0], left : left + shape.shape[1]] = shape
        found.append(control)
        taken.append(np.array([top, left]))
    return found


def hottest(mask: Bools, forbidden: Bools, heat: NDArray[np.floating]) -> Bools | None:
    """The mask moved to where it covers the most heat (H, W), and little of where it was; None if it fits nowhere else.

    What it still covers of the mask itself is left out.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    shape = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    stencil, taken = shape.astype(np.float64), (mask | forbidden).astype(np.float64)
    free = np.argwhere(_overlaps(taken, stencil) <= _OVERLAP * mask.sum() + 0.5)
    if not len(free):
        return None
    covered = _overlaps(np.where(mask | forbidden, 0.0, heat), stencil)
    top, left = free[int(covered[free[:, 0], free[:, 1]].argmax())]
    moved = np.zeros_like(mask)
    moved[top : top + shape.shape[0], left : left + shape.shape[1]] = shape
    moved &= ~(mask | forbidden)
    return moved if moved.any() else None


def _overlaps(values: NDArray[np.float64], stencil: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of the values under the stencil, at each place where it lies inside."""
    from scipy.signal import correlate  # which takes half a second to import

    found: NDArray[np.float64] = correlate(values, stencil, "valid", "fft")
    return found


def around(mask: Bools, forbidden: Bools) -> Bools:
    """The pixels right around the mask that are not forbidden: about as many as in it, but at most half of them."""
    outside = ~(mask | forbidden)
    return _nearest(outside, mask, min(int(mask.sum()), int(outside.sum()) // 2))


def core(mask: Bools, forbidden: Bools) -> Bools:
    """The mask without its outline, which has about as many pixels as lie `around` the mask.

    Empty if the mask is at most half of what is not forbidden: then the surroundings are enough to compare with.
    """
    outside = ~(mask | forbidden)
    if mask.sum() <= outside.sum() or not outside.any():
        return np.zeros_like(mask)
    return mask & ~_nearest(mask, outside, int(outside.sum()) // 2)


def _nearest(pixels: Bools, place: Bools, wanted: int) -> Bools:
    """The `wanted` pixels nearest to the place, and all that are as near as the last of them."""
    distance = np.where(pixels, scipy.ndimage.distance_transform_edt(~place), np.inf)
    reach = float(np.partition(distance.ravel(), max(1, wanted) - 1)[max(1, wanted) - 1])
    return np.asarray(distance <= max(1.0, reach))
