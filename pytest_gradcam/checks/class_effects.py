"""Which classes a place feeds: whose logit is lost when the place is inpainted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_gradcam.checks import fills, margins
from pytest_gradcam.checks.masked_image import read_masked_images, scores_of
from pytest_gradcam.errors import HeatmapError

if TYPE_CHECKING:
    from pytest_gradcam.cam.engine import Engine


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


def fed_by(explainer: Engine, images: Any, mask: Any) -> list[Fed]:
    """What `Explainer.fed_by` returns."""
    places = read_masked_images(explainer, images, mask)
    scores = scores_of(explainer, [place.one for place in places])
    left = scores_of(explainer, [place.filled(fills.inpaint) for place in places])
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
            explainer.names.name(int(i)),
            int(i),
            float(means[i]),
            (float(means[i] - reach[i]), float(means[i] + reach[i])),
        )
        for i in order
    ]
