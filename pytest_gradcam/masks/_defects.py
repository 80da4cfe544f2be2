"""Defects of a sensor: single pixels, pairs, rows and columns that do not record the scene."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import scipy

from pytest_gradcam.masks._arguments import Bools
from pytest_gradcam.masks._frames import Frames, Levels

ENOUGH = 5  # frames; over fewer, pixels of a changing scene stand still by chance
EXTREME = 2  # levels from black or white
APART = 60  # levels between a pixel and all of its neighbours
SHARP = 0.75  # of the step from a pixel to its surroundings: no lens draws a finer point
STILL = 1  # levels by which a stuck pixel changes over a series
MOVING = 20  # levels by which its neighbours do
FLAT = 4  # levels by which the pixels of a line differ
BESIDE = 30  # levels between a line and its neighbours
FEW = 0.01  # of the pixels: no camera with more is in use, so that many points are grain, print or noise
TOUCHING = np.ones((3, 3), bool)


def defects(frames: Frames) -> dict[str, Bools]:
    """Dead, saturated and stuck pixels; (H, W) each. A stuck pixel at an extreme level counts as dead or saturated."""
    stuck = _lines(frames)
    if len(frames) >= ENOUGH:
        stuck |= _stuck_points(frames)
    dark = stuck & (frames.brightest <= EXTREME).all(axis=-1)
    bright = stuck & (frames.darkest >= 255 - EXTREME).all(axis=-1)
    return {
        "dead": dark | _points(255.0 - frames.brightest, 255 - frames.mean),
        "stuck": stuck & ~dark & ~bright,
        "saturated": bright | _points(frames.darkest.astype(np.float32), frames.mean),
    }


def _points(always: Levels, mean: Levels) -> Bools:
    """Points of up to 2 x 2 pixels that are at 255 in a channel of every frame, and sharper than a lens can draw."""
    found = np.zeros(always.shape[:2], bool)
    for channel in range(always.shape[2]):
        level = mean[..., channel]
        found |= _specks(always[..., channel] >= 255 - EXTREME, lambda *part, level=level: _stands_out(level, *part))
    return found


def _stands_out(level: Levels, window: tuple[slice, slice], speck: Bools) -> bool:
    around = level[window]
    touching = scipy.ndimage.binary_dilation(speck, TOUCHING)
    step = 255 - around[touching & ~speck].max()
    surroundings = around[~touching]
    height = 255 - np.median(surroundings)
    return bool(step >= APART and step >= SHARP * height and np.ptp(surroundings) <= height)


def _stuck_points(frames: Frames) -> Bools:
    """Points of up to 2 x 2 pixels that keep their level over the series while all of their neighbours change."""
    change = (frames.brightest - frames.darkest).max(axis=-1)

    def neighbours_move(window: tuple[slice, slice], speck: Bools) -> bool:
        around = scipy.ndimage.binary_dilation(speck, TOUCHING) & ~speck
        return bool(change[window][around].min() >= MOVING)

    return _specks(change <= STILL, neighbours_move)


def _specks(candidates: Bools, accept: Callable[[tuple[slice, slice], Bools], bool]) -> Bools:
    """Those groups of touching candidates that fit into 2 x 2 pixels and are accepted in their surroundings."""
    labels, _ = scipy.ndimage.label(candidates, TOUCHING)
    found = np.zeros(candidates.shape, bool)
    for label, (rows, columns) in enumerate(scipy.ndimage.find_objects(labels), start=1):
        if rows.stop - rows.start > 2 or columns.stop - columns.start > 2:
            continue
        window = (_wider(rows), _wider(columns))
        speck = labels[window] == label
        if accept(window, speck):
            found[window] |= speck
    return found & bool(found.mean() <= FEW)


def _wider(part: slice) -> slice:
    return slice(max(part.start - 3, 0), part.stop + 3)


def _lines(frames: Frames) -> Bools:
    """Whole columns and rows, one or two pixels wide, of one level in every frame, between others that differ."""
    found = np.zeros(frames.shape, bool)
    for columns in _flat_columns(frames):
        found[:, columns] = True
    for rows in _flat_columns(Frames(frames.levels.transpose(0, 2, 1, 3))):
        found[rows] = True
    return found


def _flat_columns(frames: Frames) -> Iterator[slice]:
    level = np.median(frames.mean, axis=0)
    flat = (frames.unlike(level) > FLAT).mean(axis=0) <= 0.005
    for (columns,) in scipy.ndimage.find_objects(scipy.ndimage.label(flat)[0]):
        sides = [columns.start - 1, columns.stop]
        if columns.stop - columns.start > 2 or sides[0] < 0 or sides[1] >= flat.size:
            continue
        beside = np.abs(frames.mean[:, sides] - level[columns.start]).max(axis=-1)
        if ((beside >= BESIDE).mean(axis=0) >= 0.5).all():
            yield columns
