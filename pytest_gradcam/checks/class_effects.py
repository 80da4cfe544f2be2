"""Which classes a place feeds: whose logit is lost when the place is inpainted."""

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
    """A class and what it loses with the place: the mean fall of its logit, with the two-sided 95 % t interval.

    `target` is the class's name, `index` its place among the scores. Of one image the interval is unbounded.
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
    """Which classes this place feeds, largest effect first: all of the model's classes, ranked.

    The place is inpainted in every image; `effect` is the mean fall of the class's logit over the images, `interval`
    its two-sided 95 % t interval (unbounded for one image). `mask` is one mask for all images or a list of one
    each. A shortcut to a class that is never predicted shows here, and in no heatmap of a predicted class. What
    comes first is a question for a look at the training images of that class, not a verdict: to rank a thousand
    classes is to make a thousand comparisons.
    Raises HeatmapError for malformed images and masks, and if inpainting moves no score.
    """
    passed = read_masked_images(model.engine, images, mask)
    places = [passed[i] for i in distinct(passed, [None] * len(passed))]  # a copy is no further image for the interval
    scores = scores_of(model.engine, [place.one for place in places])
    left = scores_of(model.engine, [place.filled(fills.inpaint) for place in places])
    falls = scores.astype(np.float64) - left
    if not falls.any():
        raise HeatmapError(
            "inpainting the place moves no score of any class, so it feeds none; check the mask: is what it holds the same "
            "as what surrounds it?"
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
