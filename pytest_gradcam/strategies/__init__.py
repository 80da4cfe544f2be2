"""Hypothesis strategies for images that are perturbed, cropped and masked.

They shrink towards the change that is easiest to understand: fewer and milder perturbations, seed 0 and default
parameters. Hypothesis prints code: the names are those of `pytest_gradcam.perturbations` and
`pytest_gradcam.masks`, and `picture` of this module. Importing it registers the kinds, so that
`strategies.from_type(Perturbation)` of Hypothesis, and a type hint with `@given(...)`, draw from here.
Bad arguments raise HeatmapError at the call, before anything is drawn.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from functools import partial
from math import ceil

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from numpy.typing import NDArray

from pytest_gradcam import masks as _masks
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.perturbations import KINDS, Kind, Perturbation, compose, identity
from pytest_gradcam.strategies._mildest import mildest
from pytest_gradcam.validation import count, is_whole, number

__all__ = ["compositions", "crops", "images", "masks", "perturbations", "picture"]

Box = tuple[int, int, int, int]
Colour = int | tuple[int, int, int]

_LEVEL = st.integers(0, 255)
_COLOUR = st.tuples(_LEVEL, _LEVEL, _LEVEL)


def perturbations(
    kinds: Iterable[str | type[Kind]] | None = None, *, max_severity: float = 0.5
) -> SearchStrategy[Perturbation]:
    """One perturbation, of any kind or of the given ones (names or classes), up to a severity.

    Severities are multiples of 0.001, so the severity at which something breaks is found to that precision, as a rule. It
    shrinks to the mildest perturbation: of the kinds that break something, the one that does at the lowest severity.
    A severity is a share of its kind's own range, so kinds are compared by these shares, not by how far the image
    changes. Kinds whose severities differ by less than a thirtieth may count as equally mild.
    Raises HeatmapError for an unknown kind, for none, and for a `max_severity` outside (0, 1].
    """
    highest = _thousandths(max_severity)
    return mildest(_checked_kinds(kinds), highest)


def compositions(
    kinds: Iterable[str | type[Kind]] | None = None, *, max_size: int = 3, max_severity: float = 0.5
) -> SearchStrategy[Perturbation]:
    """Up to `max_size` perturbations after one another, each kind at most once; it shrinks to the identity.

    The parts are as `perturbations` draws them. Most examples have full length, since a weakness to one kind in thirty
    would otherwise be hit too rarely; shrinking removes the parts that do not matter.
    Raises HeatmapError as `perturbations` does, and for a `max_size` below 1.
    """
    max_size = count("max_size", max_size)
    # A list of fixed length with empty places, and not one of varying length: those are short in most examples. Unique,
    # because Hypothesis spends most of its examples on copying equal parts of others, which unique lists are spared.
    part = st.just(identity) | perturbations(kinds, max_severity=max_severity)
    return st.lists(part, min_size=max_size, max_size=max_size, unique_by=_once).map(compose)


def images(*, min_side: int = 4, max_side: int = 32) -> SearchStrategy[NDArray[np.uint8]]:
    """Small structured images, uint8 (H, W, 3) or (H, W): up to three flat boxes on a ramp of two colours.

    It shrinks to a black greyscale square of `min_side`. Raises HeatmapError unless 1 <= min_side <= max_side.
    """
    if not (is_whole(min_side) and is_whole(max_side) and 1 <= min_side <= max_side):
        raise HeatmapError(
            f"min_side={min_side!r} and max_side={max_side!r} are not a range of image sizes; pass whole numbers with "
            "1 <= min_side <= max_side"
        )
    length = st.integers(min_side, max_side)
    shape, box = st.tuples(length, length), _boxes((max_side, max_side))
    grey = st.builds(picture, shape, _LEVEL, _LEVEL, st.lists(st.tuples(box, _LEVEL), max_size=3))
    colour = st.builds(picture, shape, _COLOUR, _COLOUR, st.lists(st.tuples(box, _COLOUR), max_size=3))
    return grey | colour


def picture(
    shape: tuple[int, int], left: Colour, right: Colour, boxes: Sequence[tuple[Box, Colour]] = ()
) -> NDArray[np.uint8]:
    """A ramp from the left colour to the right one, with flat boxes on it.

    Each box is (x0, y0, x1, y1) and its colour; parts outside are cut off.
    uint8 (H, W, 3) for colours (r, g, b), (H, W) for grey levels, each 0-255.
    """
    ramp = np.linspace(left, right, shape[1]).round().astype(np.uint8)
    image = np.repeat(ramp[None], shape[0], axis=0)
    for (x0, y0, x1, y1), colour in boxes:
        image[y0:y1, x0:x1] = colour
    return image


def masks(shape: Sequence[int]) -> SearchStrategy[NDArray[np.bool_]]:
    """Boxes, circles and polygons as bool masks (H, W) that hold at least one pixel and never all of them.

    It shrinks to the first pixel. Raises HeatmapError unless the shape is (H, W) with at least two pixels.
    """
    height, width = size = _checked_shape(shape)
    if height * width < 2:
        raise HeatmapError(
            f"shape={shape!r} has a single pixel; expected two or more, so that some can be masked and some not"
        )
    kinds = [st.builds(_masks.box, st.just(size), _boxes(size))]
    if min(size) >= 4:  # smaller ones are hardly ever missed by a circle, and hardly ever met by a polygon
        points = st.lists(_points(size), min_size=3, max_size=6).filter(partial(_holds_a_pixel, size))
        kinds.append(_boxes(size).flatmap(lambda box: _circle(size, box)))
        kinds.append(st.builds(_masks.polygon, st.just(size), points))
    return st.one_of(kinds).filter(lambda mask: not mask.all())


def crops(shape: Sequence[int], *, min_share: float = 0.5) -> SearchStrategy[Box]:
    """Boxes (x0, y0, x1, y1) in whole pixels that keep at least `min_share` of the height and of the width.

    `image[y0:y1, x0:x1]` is the crop; slice its mask in the same way. It shrinks to the whole image.
    Raises HeatmapError for a shape that is not (H, W) and for a `min_share` outside (0, 1].
    """
    height, width = _checked_shape(shape)
    min_share = number("min_share", min_share, "a share of a side, above 0 and up to 1", lambda share: 0 < share <= 1)
    across, down = _kept(width, min_share), _kept(height, min_share)
    return st.tuples(across, down).map(lambda kept: (kept[0][0], kept[1][0], kept[0][1], kept[1][1]))


def _once(part: Perturbation) -> object:
    """Equal for two perturbations of one kind, and for nothing else: the identity may fill several places."""
    return object() if part is identity else type(part)


def _boxes(shape: tuple[int, int]) -> SearchStrategy[Box]:
    spans = st.tuples(_spans(shape[1]), _spans(shape[0]))
    return spans.map(lambda span: (span[0][0], span[1][0], span[0][1], span[1][1]))


def _circle(shape: tuple[int, int], box: Box) -> SearchStrategy[NDArray[np.bool_]]:
    """Drawn as a box is, choice by choice, so that it shrinks to one."""
    radius = max(box[2] - box[0], box[3] - box[1])
    return st.builds(_masks.circle, st.just(shape), st.just(box[:2]), st.just(radius))


def _spans(length: int) -> SearchStrategy[tuple[int, int]]:
    """0 <= start < stop <= length."""
    ends = st.tuples(st.integers(0, length - 1), st.integers(1, length))
    return ends.map(lambda end: end if end[0] < end[1] else (end[1] - 1, end[0] + 1))


def _points(shape: tuple[int, int]) -> SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(0, shape[1]), st.integers(0, shape[0]))


def _holds_a_pixel(shape: tuple[int, int], points: list[tuple[int, int]]) -> bool:
    try:
        return bool(_masks.polygon(shape, points).any())
    except HeatmapError:
        return False


def _kept(length: int, share: float) -> SearchStrategy[tuple[int, int]]:
    """(start, stop) of a span of at least the share of the length; the less is cut off, the simpler."""
    cut = st.integers(0, length - max(1, ceil(share * length)))
    return st.tuples(cut, cut).map(lambda cuts: (min(cuts), length - max(cuts) + min(cuts)))


def _checked_kinds(kinds: Iterable[str | type[Kind]] | None) -> list[type[Kind]]:
    if isinstance(kinds, (str, type)):
        raise HeatmapError(f"kinds={kinds!r} is a single kind; expected several; pass it in a list")
    chosen = [_kind(kind) for kind in (KINDS.values() if kinds is None else kinds)]
    if not chosen:
        raise HeatmapError("kinds is empty; expected at least one kind; leave it out for all of them")
    return chosen


def _kind(kind: str | type[Kind]) -> type[Kind]:
    if isinstance(kind, type) and kind in KINDS.values():
        return kind
    if isinstance(kind, str) and kind in KINDS:
        return KINDS[kind]
    near = difflib.get_close_matches(str(kind), KINDS, n=1) or [", ".join(KINDS)]
    raise HeatmapError(f"{kind!r} is not a kind of perturbation; pass a name or class such as {near[0]}")


def _thousandths(max_severity: float) -> int:
    highest = number("max_severity", max_severity, "a number from 0.001 to 1", lambda severity: 0.001 <= severity <= 1)
    return int(highest * 1000 + 1e-9)


def _checked_shape(shape: Sequence[int]) -> tuple[int, int]:
    if isinstance(shape, (list, tuple)) and len(shape) == 2 and all(is_whole(n) and n > 0 for n in shape):
        return int(shape[0]), int(shape[1])
    raise HeatmapError(f"shape={shape!r} is not an image size; pass (H, W), for an array image.shape[:2]")


def _register() -> None:
    st.register_type_strategy(Perturbation, compositions())
    st.register_type_strategy(Kind, perturbations())
    for kind in KINDS.values():
        st.register_type_strategy(kind, perturbations([kind]))


_register()
