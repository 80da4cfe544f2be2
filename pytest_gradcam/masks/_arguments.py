"""Checks of the arguments that masks are made from: a size, and coordinates in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.validation import is_whole

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

# Annotation tools write two decimals (COCO) or six of a share (YOLO): x + width may pass the edge by about this much.
SLACK = 0.01


def size(shape: Sequence[int]) -> tuple[int, int]:
    """The shape as (H, W). Raises HeatmapError unless it is two positive integers."""
    if isinstance(shape, (str, bytes)) or not hasattr(shape, "__len__") or len(shape) != 2:
        raise HeatmapError(f"shape={shape!r} is not an image size; pass (H, W), for an array image.shape[:2]")
    if not all(is_whole(side) and side > 0 for side in shape):
        raise HeatmapError(f"shape={shape!r} is not an image size; pass (H, W) as two positive integers")
    return int(shape[0]), int(shape[1])


def coordinates(values: ArrayLike, expected: str, *, columns: int) -> Floats:
    """The values as finite float64 (n, columns), or (columns,) as they came. Raises HeatmapError with `expected`."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise HeatmapError(f"{values!r} is not a table of coordinates; expected {expected}") from error
    if array.dtype.kind not in "fiu" or not array.size or not array.ndim or array.shape[-1] != columns:
        raise HeatmapError(f"{values!r} has shape {array.shape}; expected {expected} as real numbers")
    if not np.isfinite(array).all():
        raise HeatmapError(f"{values!r} holds NaN or Inf; expected {expected} as finite numbers")
    return array.astype(np.float64)


def refuse_fractions(values: Floats, given: object, shape: tuple[int, int]) -> None:
    """Raise HeatmapError if the coordinates look like shares of the image: they would mark its first pixel."""
    if values.min() >= 0 and values.max() <= 1 and (values % 1 != 0).any():
        raise HeatmapError(
            f"{given!r} looks like shares of the image; expected pixels; multiply x by {shape[1]} and y by {shape[0]}"
        )


def refuse_outside(points: Floats, given: object, shape: tuple[int, int]) -> None:
    """Raise HeatmapError if one of the points (n, 2), x before y, lies outside the image."""
    height, width = shape
    if points.min() < -SLACK or points[:, 0].max() > width + SLACK or points[:, 1].max() > height + SLACK:
        raise HeatmapError(
            f"{given!r} reaches outside the image of {width} x {height} px: x spans {_span(points[:, 0])}, "
            f"y {_span(points[:, 1])}; check the order of the coordinates and the size they were drawn at, or clip them"
        )


def occupied(mask: Bools, given: object) -> Bools:
    """The mask. Raises HeatmapError if it has no pixel."""
    if not mask.any():
        raise HeatmapError(f"{given!r} holds no pixel's centre; expected coordinates in pixels; make it larger")
    return mask


def _span(values: Floats) -> str:
    return f"{values.min():g} to {values.max():g}"
