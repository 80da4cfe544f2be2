"""Pixels that no model should use, found in the image itself and reported by kind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.masks._arguments import Bools
from pytest_gradcam.masks._bars import bars, content
from pytest_gradcam.masks._defects import ENOUGH, defects
from pytest_gradcam.masks._frames import Frames, read
from pytest_gradcam.masks._marks import marks

KINDS = ("not_finite", "letterbox", "pillarbox", "dead", "stuck", "saturated", "burnt_in")


def invalid_pixels(image: Any, *, kinds: Iterable[str] | None = None, series: Sequence[Any] | None = None) -> Bools:
    """The pixels of the image that no model should use, bool (H, W): the union of `invalid_pixels_by_kind`.

    What is not clearly invalid is left out, so the mask may be empty. Padding that the preprocess added is not part of
    the image; it is `heatmap.padding`.
    """
    found = invalid_pixels_by_kind(image, kinds=kinds, series=series)
    return np.asarray(np.any(list(found.values()), axis=0))


def invalid_pixels_by_kind(
    image: Any, *, kinds: Iterable[str] | None = None, series: Sequence[Any] | None = None
) -> dict[str, Bools]:
    """The pixels of the image that no model should use, bool (H, W) for each kind that can be looked for.

    - `not_finite`: NaN or infinity, in float images;
    - `letterbox`, `pillarbox`: bars of one colour above and below, left and right;
    - `dead`, `saturated`: points up to 2 x 2 pixels, rows and columns that are black, or at the highest level, in sharp
      contrast to their surroundings; `stuck`: rows and columns at another level, and over a series, points;
    - `burnt_in`: text and logos that are the same in all images of a series.

    `image` is a path, PIL image, uint8 array (H, W, 3) or (H, W), float array or tensor (C, H, W); of floats outside 0
    to 1 only `not_finite` can be found. `series` holds four or more other images of one size from the same camera, of
    changing scenes; all but `not_finite` is then what holds in every image.
    Raises HeatmapError for an unknown kind, a kind that cannot be looked for in this image, and a series that is
    shorter or of another size.
    """
    frames, finite = read(image, series)
    if series is not None and len(series) < ENOUGH - 1:
        raise HeatmapError(
            f"the series holds {len(series)} images; expected {ENOUGH - 1} or more besides the image, since fewer "
            "may be alike by chance; leave series out"
        )
    found = {"not_finite": ~finite, **({} if frames is None else _from_levels(frames))}
    return {kind: found[kind] for kind in _wanted(kinds, found, frames)}


def _from_levels(frames: Frames) -> dict[str, Bools]:
    inside = content(frames)
    picture = inside.crop(frames)
    parts = defects(picture)
    if len(frames) >= ENOUGH:
        parts["burnt_in"] = marks(picture, np.any(list(parts.values()), axis=0))
    return bars(frames, inside) | {kind: inside.place(part, frames.shape) for kind, part in parts.items()}


def _wanted(kinds: Iterable[str] | None, found: dict[str, Bools], frames: Frames | None) -> list[str]:
    wanted = list(found) if kinds is None else [kinds] if isinstance(kinds, str) else list(kinds)
    for kind in wanted:
        if kind not in KINDS:
            raise HeatmapError(f"{kind!r} is not a kind of invalid pixels; pass some of {', '.join(map(repr, KINDS))}")
        if kind not in found:
            why = "pass series=" if frames is not None else "pass the picture itself, before its normalisation"
            raise HeatmapError(f"{kind!r} cannot be detected in this image alone; expected other input; {why}")
    if not wanted:
        raise HeatmapError(f"kinds is empty, so there is nothing to find; pass some of {', '.join(map(repr, KINDS))}")
    return wanted
