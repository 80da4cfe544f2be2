"""How a mask shows in a picture: its outline, and pointers at parts too small to be found."""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

Bools = NDArray[np.bool_]

_TICKS, _TICKS_APART = 9, 12  # pixels that the ticks of an outline reach into the mask, and between them
_SMALL = 10  # pixels: a part of a mask that is shorter than that gets pointers around it
_POINTERS = 20  # parts with pointers: of more than that none has them


def seen(share: NDArray[np.float32]) -> tuple[Bools, Bools]:
    """A mask by its share of each pixel of the picture: the pixels that show it, and pointers at parts too small to be found.

    What is thinner than a pixel of the picture is shown a pixel wide: nothing of a mask disappears.
    """
    inside, pointers, small = share >= 0.5, np.zeros(share.shape, bool), []
    if _is_plain(share > 0, inside):
        return inside, pointers
    parts = scipy.ndimage.label(share > 0, np.ones((3, 3)))[0]
    for number, place in enumerate(scipy.ndimage.find_objects(parts), 1):
        part = parts[place] == number
        if not (inside[place] & part).any():
            inside[place] |= part
        if max(part.shape) < _SMALL:
            small.append(place)
    for down, across in small if len(small) <= _POINTERS else ():
        y, x, near, far = (down.start + down.stop) // 2, (across.start + across.stop) // 2, _SMALL, 2 * _SMALL
        pointers[max(0, y - 1) : y + 1, max(0, x - far) : max(0, x - near)] = True
        pointers[max(0, y - 1) : y + 1, x + near : x + far] = True
        pointers[max(0, y - far) : max(0, y - near), max(0, x - 1) : x + 1] = True
        pointers[y + near : y + far, max(0, x - 1) : x + 1] = True
    return inside, pointers


def _is_plain(mask: Bools, inside: Bools) -> bool:
    """Whether no part of the mask is small or has nothing inside, seen without looking for the parts.

    So it is in most pictures, and SciPy takes longer to import than ten of them to paint.
    """
    long = _in_long_runs(mask) | _in_long_runs(mask.T).T
    beside = inside | edge(~inside, 1, 1)
    return not (mask & ~(long & beside)).any()


def _in_long_runs(mask: Bools) -> Bools:
    """The pixels of the mask in runs of at least `_SMALL` pixels along a row."""
    if mask.shape[1] < _SMALL:
        return np.zeros_like(mask)
    starts = _counts(mask, (1, 0)) == _SMALL
    found: Bools = _counts(starts, (_SMALL, _SMALL - 1)) > 0
    return found


def _counts(mask: Bools, blank: tuple[int, int]) -> NDArray[np.int16]:
    """How many of `_SMALL` pixels in a row are in the mask, with so many blank columns before and behind it."""
    sums = np.cumsum(np.pad(mask, ((0, 0), blank)), axis=1, dtype=np.int16)
    return sums[:, _SMALL:] - sums[:, :-_SMALL]


def outline(inside: Bools, *, ticks: bool) -> Bools:
    """The outline of a mask; with ticks that point into it, since a large one may be the rest of the view."""
    line = edge(inside, 2, 2)
    if ticks:
        rows, columns = (np.flatnonzero(np.arange(side) % _TICKS_APART < 2) for side in inside.shape)
        line[:, columns] |= edge(inside[:, columns], _TICKS, 0)
        line[rows] |= edge(inside[rows], 0, _TICKS)
    return line


def edge(inside: Bools, down: int, across: int) -> Bools:
    """The pixels inside with one outside in so many rows and columns around them; the end of the picture is no edge."""
    (height, width), around = inside.shape, np.pad(inside, ((down, down), (across, across)), "edge")
    rows = np.logical_and.reduce([around[n : n + height] for n in range(2 * down + 1)])
    deep = np.logical_and.reduce([rows[:, n : n + width] for n in range(2 * across + 1)])
    found: Bools = inside & ~deep
    return found
