"""Whether the picture continues across the outline of a mask: then the mask contains some of what belongs to the scene.

A patch, a strip or another background hides the scene, and what is inside says nothing about what is outside. A cast, a
vignette or a mask that is too wide does not: neighbouring pixels on both sides of the outline are much alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_gradcam.checks.masked_image import MaskedImage
from pytest_gradcam.replacement.fills import Bools, Floats


def continuity(images: Sequence[MaskedImage]) -> float:
    """The correlation of neighbouring pixels across the outlines of the masks, pooled over the images.

    0 where one side does not vary.
    """
    pairs = [_across(image.pixels.mean(axis=0), image.mask, image.padding) for image in images]
    inside, outside = (np.concatenate([pair[side] for pair in pairs]).astype(np.float64) for side in (0, 1))
    if len(inside) < 2 or min(np.ptp(inside), np.ptp(outside)) <= 1e-6 * np.ptp(np.concatenate([inside, outside])):
        return 0.0
    return float(np.corrcoef(inside, outside)[0, 1])


def _across(level: Floats, mask: Bools, padding: Bools) -> tuple[Floats, Floats]:
    """The levels (H, W) on both sides of the outline, inside and outside, pixel by pixel; not along the padding."""
    inside, outside = [], []
    for axis in (0, 1):
        levels = np.moveaxis(level, axis, 0)
        within, without = (np.moveaxis(side, axis, 0) for side in (mask, ~(mask | padding)))
        for here, there in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
            edge = within[here] & without[there]
            inside.append(levels[here][edge])
            outside.append(levels[there][edge])
    return np.concatenate(inside), np.concatenate(outside)
