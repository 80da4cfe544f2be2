"""Bars around a picture: letterbox (above and below) and pillarbox (left and right)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pytest_gradcam.masks._arguments import Bools
from pytest_gradcam.masks._frames import Frames, Levels

FLAT = 1  # levels by which the pixels of a bar differ
ROUGH = 30  # levels by which JPEG moves some of them beside the picture ...
BLOCK = 16  # ... in the pixels of a block that the picture reaches into
EDGE = 20  # levels between the bar and the picture


class Content(NamedTuple):
    """The part of the frame between the bars, as slice ends."""

    top: int
    bottom: int
    left: int
    right: int

    def crop(self, frames: Frames) -> Frames:
        return Frames(frames.levels[:, self.top : self.bottom, self.left : self.right])

    def place(self, part: Bools, shape: tuple[int, int]) -> Bools:
        """The mask of this part, in the whole frame."""
        whole = np.zeros(shape, bool)
        whole[self.top : self.bottom, self.left : self.right] = part
        return whole


def content(frames: Frames) -> Content:
    """What is left between bars of one colour, two or more pixels thick, that end in a straight edge."""
    found = Content(0, frames.shape[0], 0, frames.shape[1])
    for _ in range(2):  # bars above and below may stand between bars at the sides, or the other way round
        for turns in range(4):
            found = _trimmed(frames, found, turns)
    return found


def bars(frames: Frames, found: Content) -> dict[str, Bools]:
    """The bars by kind; (H, W) each."""
    rows, columns = np.ones(frames.shape, bool), np.ones(frames.shape, bool)
    rows[found.top : found.bottom] = False
    columns[:, found.left : found.right] = False
    return {"letterbox": rows, "pillarbox": columns}


def _trimmed(frames: Frames, found: Content, turns: int) -> Content:
    part = Frames(np.rot90(found.crop(frames).levels, turns, axes=(1, 2)))  # the side in question comes to the top
    first = Frames(part.levels[:, :1])
    colour = np.median(first.mean, axis=(0, 1))
    if not _is_flat(first.unlike(colour)):
        return found
    depth = _depth(part.unlike(colour))
    side = ("top", "right", "bottom", "left")[turns]
    return found._replace(**{side: getattr(found, side) + (depth if side in ("top", "left") else -depth)})


def _depth(unlike: Levels) -> int:
    """How many rows from the top are a bar. `unlike` (H, W) are levels of difference from the first row's colour.

    The row below the bar must differ over half of its width: a blown-out sky, a studio wall or a night does not end in
    one straight line from side to side, and counts as picture.
    """
    differs = (unlike > EDGE).mean(axis=1) >= 0.5
    depth = int(differs.argmax())
    if depth < 2:
        return 0
    rough = (unlike[:depth] > ROUGH).mean(axis=1) > 0.1
    return depth if _is_flat(unlike[: max(depth - BLOCK, 2)]) and not rough.any() else 0


def _is_flat(unlike: Levels) -> bool:
    return bool(((unlike > FLAT).mean(axis=1) <= 0.005).all())
