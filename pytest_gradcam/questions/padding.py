"""Padding as a mask: the one mask that is not in the coordinates of the image, and has to be known wherever it turns up."""

from __future__ import annotations

from typing import Any

import numpy as np

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.questions.protocols import Bools, HeatmapLike


class PaddingMask(np.ndarray):
    """The pixels of a view that the preprocess added, bool (H, W); what NumPy makes of it stays one."""


def in_view(mask: Any, heatmap: HeatmapLike) -> Bools | None:
    """A mask that is the heatmap's padding, or all but it, as bool (H, W) in the view; None for a mask of the image.

    A copy is known by its content. Raises HeatmapError for another heatmap's padding, and for padding combined with
    something else.
    """
    if not _may_be(mask, heatmap.values.shape):
        return None
    pixels, padding = np.asarray(mask), np.asarray(heatmap.padding)
    if isinstance(mask, PaddingMask) or padding.any():
        for own in (padding, ~padding):
            if np.array_equal(pixels, own):
                return own
    refuse_padding(mask)
    return None


def refuse_padding(mask: Any) -> None:
    """Raises HeatmapError for padding where a mask of the image is expected."""
    if isinstance(mask, PaddingMask):
        raise HeatmapError(
            "the mask was made from a heatmap's padding, which lies in the view and not in the image; expected that "
            "heatmap's own padding, or ~padding, in a check on the heatmap; masks of the image are a check of their own"
        )


def _may_be(mask: Any, shape: tuple[int, ...]) -> bool:
    return isinstance(mask, PaddingMask) or (
        isinstance(mask, np.ndarray) and mask.dtype == bool and mask.shape == shape
    )
