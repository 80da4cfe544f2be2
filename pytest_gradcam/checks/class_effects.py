"""Which classes masked pixels feed: whose logit falls when the pixels are inpainted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pytest_gradcam.checks import margins
from pytest_gradcam.checks.masked_image import read_masked_images, scores_of
from pytest_gradcam.checks.samples import distinct
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.questions.explained_model import ExplainedModel
from pytest_gradcam.replacement import fills


@dataclass(frozen=True)
class Fed:
    """A class and what it loses without the pixels: the mean fall of its logit, with the two-sided 95 % t interval.

    `target` is the class's name, `index` its index among the scores. For one image the interval is unbounded.
    """

    target: str
    index: int
    effect: float
    interval: tuple[float, float]

    def __repr__(self) -> str:
        low, high = self.interval
        interval = f"{low:.2f} to {high:.2f}" if math.isfinite(low) else "of one image"
        return f"Fed({self.target!r}, effect={self.effect:.3f} ({interval}), index={self.index})"


def fed_by(model: ExplainedModel, images: Sequence[Any], mask: Any) -> list[Fed]:
    """Which classes these pixels feed: all of the model's classes, the largest effect first.

    The masked pixels are inpainted in every image; `effect` is the mean fall of the class's logit over the images,
    `interval` its two-sided 95 % t interval (unbounded for one image). `mask` is one mask for all images or a list with
    one per image. A shortcut to a class that is never predicted shows here, but in no heatmap of a predicted class. The
    first class is a reason to look at its training images, not a verdict: ranking a thousand classes makes a thousand
    comparisons.
    Raises HeatmapError for malformed images and masks, and if inpainting moves no score.
    """
    passed = read_masked_images(model.engine, images, mask)
    masked = [passed[i] for i in distinct(passed, [None] * len(passed))]  # a copy adds nothing to the interval
    before = scores_of(model.engine, [image.image_input for image in masked])
    after = scores_of(model.engine, [image.filled(fills.inpaint) for image in masked])
    falls = before.astype(np.float64) - after
    if not falls.any():
        raise HeatmapError(
            "inpainting the masked pixels changes no class's score, so they feed none; check the mask: do its pixels look the "
            "same as what surrounds them?"
        )
    means, reach = margins.means(falls)
    order = np.argsort(-means, kind="stable")
    return [
        Fed(
            model.engine.names.name(int(i)),
            int(i),
            float(means[i]),
            (float(means[i] - reach[i]), float(means[i] + reach[i])),
        )
        for i in order
    ]
