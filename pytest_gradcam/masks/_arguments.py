"""Checks of the arguments that masks are made from: a size, and coordinates in it."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pytest_gradcam import validation
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.validation import is_flag, is_whole

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

# Annotation tools write two decimals (COCO) or six of a share (YOLO): x + width may pass the edge by about this much.
SLACK = 0.01
#: Twice Pillow's MAX_IMAGE_PIXELS, above which it opens no image; a mask of it takes 179 MB.
MOST_PIXELS = 178_956_970

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def shown(value: object) -> str:
    """The value in one short line, its lists shortened: a polygon may have thousands of points."""
    return validation.shown(value.tolist() if isinstance(value, np.ndarray) else value, _SHORT.repr)


@contextmanager
def naming(source: str) -> Iterator[None]:
    """A `with` block whose errors begin with the source: a file, or an entry in it."""
    try:
        yield
    except HeatmapError as error:
        error.args = (f"{source}: {error}",)
        raise


def size(shape: Sequence[int]) -> tuple[int, int]:
    """The shape as (H, W). Raises HeatmapError unless it is two positive integers, of no more than `MOST_PIXELS`."""
    if isinstance(shape, (str, bytes)) or not isinstance(shape, (Sequence, np.ndarray)) or len(shape) != 2:
        raise HeatmapError(f"shape={shown(shape)} is not an image size; pass (H, W), for an array image.shape[:2]")
    if not all(is_whole(side) and side > 0 for side in shape):
        raise HeatmapError(f"shape={shown(shape)} is not an image size; pass (H, W) as two positive integers")
    height, width = int(shape[0]), int(shape[1])
    if height * width > MOST_PIXELS:
        raise HeatmapError(
            f"shape={shown(shape)} is not an image size; expected at most {MOST_PIXELS:,} pixels in all; "
            "pass (H, W), or cut the image into parts"
        )
    return height, width


def coordinates(values: ArrayLike, expected: str, *, columns: int) -> Floats:
    """The values as finite float64 (n, columns), or (columns,) as they came. Raises HeatmapError with `expected`."""
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError, RecursionError) as error:
        raise HeatmapError(f"{shown(values)} is not a table of coordinates; expected {expected}") from error
    if array.dtype.kind not in "fiu" or not array.size or not array.ndim or array.shape[-1] != columns:
        raise HeatmapError(f"{shown(values)} has shape {array.shape}; expected {expected} as real numbers")
    if holds_flags(values):
        raise HeatmapError(f"{shown(values)} holds True or False; expected {expected} as real numbers")
    if not np.isfinite(array).all():
        raise HeatmapError(f"{shown(values)} holds NaN or Inf; expected {expected} as finite numbers")
    if np.abs(array.astype(np.float64)).max() > MOST_PIXELS:
        raise HeatmapError(f"{shown(values)} lies beyond any image; expected {expected} in pixels; check the numbers")
    return array.astype(np.float64)


def holds_flags(values: object) -> bool:
    """Whether nested lists of numbers contain True or False, which NumPy silently makes 1 and 0."""
    if not isinstance(values, (list, tuple)):
        return is_flag(values)
    kinds = set(map(type, values))
    if kinds <= {int, float}:
        return False
    return bool in kinds or any(holds_flags(value) for value in values)


def refuse_fractions(values: Floats, given: object, shape: tuple[int, int]) -> None:
    """Raise HeatmapError if the coordinates look like shares of the image: they would mark its first pixel."""
    if values.min() >= 0 and values.max() <= 1 and (values % 1 != 0).any():
        raise HeatmapError(
            f"{shown(given)} looks like shares of the image; expected pixels; "
            f"multiply x by {shape[1]} and y by {shape[0]}"
        )


def refuse_outside(points: Floats, given: object, shape: tuple[int, int]) -> None:
    """Raise HeatmapError if one of the points (n, 2), x before y, lies outside the image."""
    height, width = shape
    if points.min() < -SLACK or points[:, 0].max() > width + SLACK or points[:, 1].max() > height + SLACK:
        raise HeatmapError(
            f"{shown(given)} reaches outside the image of {width} x {height} px: x spans {_span(points[:, 0])}, "
            f"y {_span(points[:, 1])}; check the order of the coordinates and the size they "
            "were drawn at, or cut it off with clip=True"
        )


def occupied(mask: Bools, given: object) -> Bools:
    """The mask. Raises HeatmapError if it has no pixel."""
    if not mask.any():
        raise no_centre(given)
    return mask


def no_centre(given: object) -> HeatmapError:
    """The error for coordinates that contain no pixel."""
    return HeatmapError(f"{shown(given)} holds no pixel's centre; expected coordinates in pixels; make it larger")


def _span(values: Floats) -> str:
    return f"{values.min():g} to {values.max():g}"
