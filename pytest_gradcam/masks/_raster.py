"""Polygons as pixels, in time that grows with the length of the outline and not with corners times pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.masks._arguments import Bools, Floats

#: How often the outlines of one mask may cross a row of pixels: one or two seconds of work; a 4K image holds 2160 rows.
MOST_CROSSINGS = 4_000_000
MOST_RINGS = 10_000
_AT_ONCE = 1_000_000
Ints = NDArray[np.int64]


def fill(mask: Bools, rings: list[Floats]) -> None:
    """Set the pixels whose centres lie inside one of the rings (n, 2) or on its outline (even-odd where it crosses itself).

    Raises HeatmapError for more than `MOST_RINGS`, and outlines that cross rows of pixels more than `MOST_CROSSINGS` times.
    """
    if len(rings) > MOST_RINGS:
        raise HeatmapError(f"there are {len(rings)} rings; expected at most {MOST_RINGS:,}; pass a mask")
    crossings = sum(int(_rows(ring, mask.shape[0])[1].sum()) for ring in rings)
    if crossings > MOST_CROSSINGS:
        raise HeatmapError(
            f"the outline of {sum(map(len, rings))} points crosses rows of pixels {crossings:,} times; expected at "
            f"most {MOST_CROSSINGS:,}; draw a simpler outline, or pass a mask"
        )
    for ring in rings:
        _fill(mask, ring)


def _fill(mask: Bools, ring: Floats) -> None:
    """A centre is inside if an odd number of edges passes on its right, or on its left: on an edge, the two differ.

    To the right an edge contains its upper end and not its lower one, to the left it is reversed: as in O'Rourke,
    Computational Geometry in C (1998), 7.4.2.
    """
    (left, top), (right, bottom) = _box(ring, mask.shape)
    part = mask[top:bottom, left:right]
    if not part.size:
        return
    points = ring - (left, top)
    on_right, on_left = (np.zeros((part.shape[0], part.shape[1] + 1), bool) for _ in range(2))
    for rows, x in _crossings(points, part.shape[0], side="right"):
        _toggle(on_right, rows, np.ceil(x - 0.5))  # the centres of all columns before this one have x on their right
    for rows, x in _crossings(points, part.shape[0], side="left"):
        _toggle(on_left, rows, np.floor(x + 0.5))
    part |= np.logical_xor.accumulate(on_right[:, ::-1], axis=1)[:, ::-1][:, 1:]
    part |= np.logical_xor.accumulate(on_left, axis=1)[:, :-1]
    column, row = (points - 0.5).T
    inside = (row >= 0) & (row < part.shape[0]) & (column >= 0) & (column < part.shape[1])
    corners = (points % 1 == 0.5).all(axis=1) & inside
    part[row[corners].astype(int), column[corners].astype(int)] = True


def _box(ring: Floats, shape: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
    low = np.maximum(np.floor(ring.min(axis=0)), 0).astype(int)
    high = np.clip(np.ceil(ring.max(axis=0)), 0, shape[::-1]).astype(int)
    return (int(low[0]), int(low[1])), (int(high[0]), int(high[1]))


def _rows(points: Floats, height: int, *, side: str = "right") -> tuple[Ints, Ints]:
    """(first, number): the rows whose centres each edge, from a point to the next one, passes."""
    y = points[:, 1]
    following = np.concatenate([y[1:], y[:1]])
    upper, lower = np.minimum(y, following) - 0.5, np.maximum(y, following) - 0.5
    if side == "right":
        first, end = np.ceil(upper), np.ceil(lower)
    else:
        first, end = np.floor(upper) + 1, np.floor(lower) + 1
    first, end = np.clip(first, 0, height).astype(np.int64), np.clip(end, 0, height).astype(np.int64)
    return first, end - first


def _crossings(points: Floats, height: int, *, side: str) -> Iterator[tuple[Ints, Floats]]:
    """(rows, x) where the edges pass the centres of rows, some edges at a time."""
    first, number = _rows(points, height, side=side)
    ends = np.cumsum(number)
    following = np.concatenate([points[1:], points[:1]])
    start = 0
    while start < len(points):
        done = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, done + _AT_ONCE, side="right")), start + 1)
        edges = np.repeat(np.arange(start, stop), number[start:stop])
        rows = np.arange(edges.size) - (ends - number)[edges] + done + first[edges]
        (x0, y0), (x1, y1) = points[edges].T, following[edges].T
        yield rows, x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
        start = stop


def _toggle(grid: Bools, rows: Ints, columns: Floats) -> None:
    """Turn each place as often as it is named."""
    width = grid.shape[1]
    flat = rows * width + np.clip(columns, 0, width - 1).astype(np.int64)
    places, times = np.unique(flat, return_counts=True)
    grid.ravel()[places[times % 2 == 1]] ^= True
