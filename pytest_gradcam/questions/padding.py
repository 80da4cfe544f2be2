"""Padding as a mask: the one mask that is not in the coordinates of the image, and has to be known wherever it turns up."""

from __future__ import annotations

from typing import Any

import numpy as np

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.masks import as_mask
from pytest_gradcam.questions.protocols import Bools, HeatmapLike


class PaddingMask(np.ndarray):
    """The pixels of a view that the preprocess added, bool (H, W); what NumPy makes of it stays one."""


def in_view(mask: Any, heatmap: HeatmapLike) -> Bools | None:
    """A mask that is the heatmap's padding, or all but it, as bool (H, W) in the view; None for a mask of the image.

    Raises HeatmapError for another heatmap's padding, for padding combined with something else, and for the same pixels in
    another form: they may also be meant as a mask of the image.
    """
    if type(mask) is np.ndarray and mask.ndim == 2 and mask.shape != heatmap.values.shape:
        return None  # of the image, whose size is another; to find the padding takes time
    padding = np.asarray(heatmap.padding)
    for own in (padding, ~padding):
        if isinstance(mask, PaddingMask):
            if np.array_equal(np.asarray(mask), own):
                return own
        elif padding.any() and _is(own, mask):
            raise HeatmapError(
                "the mask has just the pixels of this heatmap's padding, or all others, so it is unclear whether they are meant "
                "in the view or in the image; pass heatmap.padding (or ~heatmap.padding) itself, or a mask of the image that "
                "differs from it"
            )
    refuse_padding(mask)
    return None


def refuse_padding(mask: Any) -> None:
    """Raises HeatmapError for padding where a mask of the image is expected."""
    if isinstance(mask, PaddingMask):
        raise HeatmapError(
            "the mask was made from a heatmap's padding, which lies in the view and not in the image; expected that "
            "heatmap's own padding, or ~padding, in a check on the heatmap; masks of the image are a check of their own"
        )


def _is(own: Bools, mask: Any) -> bool:
    try:
        return np.array_equal(as_mask(mask, shape=own.shape), own)
    except HeatmapError:  # of another size, for example: the image's
        return False
