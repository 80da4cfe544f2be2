"""Masks of plain shapes, in pixel coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.masks._arguments import (
    Bools,
    Floats,
    coordinates,
    no_centre,
    occupied,
    refuse_fractions,
    refuse_outside,
    shown,
    size,
)
from pytest_gradcam.masks._raster import fill
from pytest_gradcam.validation import flag, is_whole, number

BoxFormat = Literal["xyxy", "xywh", "cxcywh"]


def box(shape: Sequence[int], corners: ArrayLike, *, format: BoxFormat = "xyxy", clip: bool = False) -> Bools:
    """The pixels whose centres lie in one box: x0 <= x < x1 and y0 <= y < y1, so integer corners are slices.

    `format` names the four numbers: `xyxy` two corners, `xywh` corner and size, `cxcywh` centre and size.
    With `clip=True` the part outside the image is cut off. Raises HeatmapError for a box that reaches outside
    without it, is reversed, empty or not finite, for shares of the image instead of pixels, and for an unknown format.
    """
    mask = np.zeros(size(shape), bool)
    mask[_rows_and_columns(mask.shape, corners, format, clip)] = True
    return mask


def boxes(
    shape: Sequence[int], corners: Sequence[ArrayLike], *, format: BoxFormat = "xyxy", clip: bool = False
) -> Bools:
    """The union of one or more boxes, each read as `box` reads it; raises HeatmapError as `box` does, and for none."""
    mask = np.zeros(size(shape), bool)
    for one in corners:
        mask[_rows_and_columns(mask.shape, one, format, clip)] = True
    if not mask.any():
        raise HeatmapError("there are no boxes; expected at least one; leave the check out if nothing is marked")
    return mask


def _rows_and_columns(shape: tuple[int, int], corners: ArrayLike, format: BoxFormat, clip: bool) -> tuple[slice, slice]:
    values = coordinates(corners, "four numbers", columns=4)
    if values.ndim != 1:
        raise HeatmapError(f"{shown(corners)} has shape {values.shape}; expected one box; use masks.boxes for several")
    x0, y0, x1, y1 = _edges(values, format)
    if not (x0 < x1 and y0 < y1):
        raise HeatmapError(
            f"{shown(corners)} as {format} runs from x {x0:g} to {x1:g} and y {y0:g} to {y1:g}; expected the smaller "
            "number first; check the format: xyxy, xywh or cxcywh"
        )
    refuse_fractions(values, corners, shape)
    if not flag("clip", clip):
        refuse_outside(np.array([[x0, y0], [x1, y1]]), corners, shape)
    # The first centre at or after an edge, in the column or row of that index.
    left, top, right, bottom = (max(math.ceil(edge - 0.5), 0) for edge in (x0, y0, x1, y1))
    if min(right, shape[1]) <= left or min(bottom, shape[0]) <= top:
        raise no_centre(corners)
    return slice(top, bottom), slice(left, right)


def polygon(shape: Sequence[int], points_xy: ArrayLike, *, clip: bool = False) -> Bools:
    """The pixels whose centres lie inside the polygon or on its outline (even-odd where it crosses itself).

    `points_xy` (n, 2) holds three or more corners, x before y; the polygon is closed automatically.
    With `clip=True` the part outside the image is cut off. Raises HeatmapError for fewer or other points, points
    outside without it, shares of the image instead of pixels,
    and a polygon that holds no pixel's centre.
    """
    return union_of_polygons(size(shape), [points_xy], clip=clip)


def union_of_polygons(shape: tuple[int, int], rings: Sequence[ArrayLike], *, clip: bool) -> Bools:
    """The union of polygons as `polygon` fills them; single rings may be too small to hold a pixel's centre."""
    points = [_ring(points_xy) for points_xy in rings]
    together = np.concatenate(points)
    refuse_fractions(together, rings, shape)
    if not flag("clip", clip):
        refuse_outside(together, rings, shape)
    mask = np.zeros(shape, bool)
    fill(mask, points)
    return occupied(mask, rings)


def circle(shape: Sequence[int], center_xy: ArrayLike, radius: float) -> Bools:
    """The pixels whose centres lie in the circle or on it; the part outside the image is cut off.

    A circle may be larger than the image: `~circle(...)` is what a fisheye lens leaves black.
    Raises HeatmapError for a centre outside the image, a radius that is not a positive number, or no pixel's centre.
    """
    radius = number("radius", radius, "a positive number of pixels", lambda pixels: pixels > 0)
    return ellipse(size(shape), center_xy, (radius, radius))


def ellipse(shape: tuple[int, int], center_xy: ArrayLike, radii_xy: Sequence[float], *, clip: bool = False) -> Bools:
    """The pixels whose centres lie in the upright ellipse or on it; the part outside the image is cut off.

    With `clip=True` its centre may lie outside as well.
    """
    centre = coordinates(center_xy, "a point (x, y)", columns=2)
    radii = coordinates(radii_xy, "two radii", columns=2)
    if centre.ndim != 1 or radii.min() <= 0:
        raise HeatmapError(
            f"{shown(center_xy)} with radii {shown(radii_xy)} is not an ellipse; expected one point and positive radii"
        )
    refuse_fractions(np.append(centre, radii), (center_xy, radii_xy), shape)
    if not flag("clip", clip):
        refuse_outside(centre[None], center_xy, shape)
    y, x = _centres(*shape)
    radii = np.maximum(radii, 1e-60)  # below it the products vanish, and all pixels would be inside
    # Products, because quotients are rounded: of a circle of radius 5, the point (3, 4) lies on the rim.
    inside = ((x - centre[0]) * radii[1]) ** 2 + ((y - centre[1]) * radii[0]) ** 2 <= radii.prod() ** 2
    return occupied(inside, (center_xy, radii_xy))


def border(shape: Sequence[int], width: int) -> Bools:
    """The pixels fewer than `width` pixels away from an edge of the image.

    Raises HeatmapError unless the width is an integer of at least 1 that leaves pixels in the middle.
    """
    tall, wide = size(shape)
    if not is_whole(width) or not 1 <= width <= (min(tall, wide) - 1) // 2:
        raise HeatmapError(
            f"width={shown(width)} is not a border of an image of {wide} x {tall} px; pass an integer from 1 to "
            f"{(min(tall, wide) - 1) // 2}"
        )
    mask = np.ones((tall, wide), bool)
    mask[width:-width, width:-width] = False
    return mask


def _edges(values: Floats, format: str) -> tuple[float, float, float, float]:
    a, b, c, d = (float(value) for value in values)
    if format == "xyxy":
        return a, b, c, d
    if format == "xywh":
        return a, b, a + c, b + d
    if format == "cxcywh":
        return a - c / 2, b - d / 2, a + c / 2, b + d / 2
    raise HeatmapError(f"format={shown(format)} is not a box format; pass 'xyxy', 'xywh' or 'cxcywh'")


def _ring(points_xy: ArrayLike) -> Floats:
    points = coordinates(points_xy, "three or more points (x, y)", columns=2)
    if points.ndim != 2 or len(points) < 3:
        raise HeatmapError(
            f"{shown(points_xy)} has shape {points.shape}; expected (n, 2) with three or more points (x, y)"
        )
    return points


def _centres(height: int, width: int) -> tuple[Floats, Floats]:
    return np.arange(0.5, height)[:, None], np.arange(0.5, width)[None]
