"""Rules that say from images and masks whether a model relies on what the masks hold.

A rule is a function of (explainer, images, masks, labels) to an Answer: images float (C, H, W), masks bool (H, W).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.internals import inpaint
from benchmarks.shortcuts.scenes import Mask
from pytest_gradcam import Explainer, HeatmapError, metrics


@dataclass(frozen=True)
class Answer:
    """A score, higher for more reliance; `relies` is the rule's own verdict, None where it is undecided.

    A rule that only scores leaves `decides` False: its threshold is chosen on the tuning half.
    """

    score: float
    decides: bool = False
    relies: bool | None = None


Rule = Callable[[Explainer, Sequence[Tensor], Sequence[Mask], Tensor], Answer]
Fill = Callable[[NDArray[np.float32], Sequence[Mask], NDArray[np.intp]], NDArray[np.float32]]


def heat(
    figure: Callable[[NDArray[np.float32], Mask], float],
    explainer: Explainer,
    images: Sequence[Tensor],
    masks: Sequence[Mask],
    labels: Tensor,
) -> Answer:
    """The mean figure of the predicted class's heatmaps; an empty heatmap counts as nothing inside."""
    maps = [one.values for one in explainer.batch(images)]
    return Answer(
        float(np.mean([figure(one, mask) if one.any() else 0.0 for one, mask in zip(maps, masks, strict=True)]))
    )


def fall(fill: Fill, explainer: Explainer, images: Sequence[Tensor], masks: Sequence[Mask], labels: Tensor) -> Answer:
    """The mean fall of the predicted class's logit margin, in units of the model's mean margin."""
    pixels = np.stack([image.numpy() for image in images])
    before = explainer.predict(images)
    predicted = before.argmax(axis=1)
    after = explainer.predict(list(torch.from_numpy(fill(pixels, masks, predicted))))
    lead = _margins(before, predicted)
    change = lead - _margins(after, predicted)
    return Answer(float(change.mean() / lead.mean()))


def reliance(explainer: Explainer, images: Sequence[Tensor], masks: Sequence[Mask], labels: Tensor) -> Answer:
    """The package's own rule."""
    try:
        found = explainer.reliance(list(images), list(masks))
    except HeatmapError:
        return Answer(float("nan"), True, None)
    return Answer(found.effect, True, found.relies)


def mean_colour(pixels: NDArray[np.float32], masks: Sequence[Mask], predicted: NDArray[np.intp]) -> NDArray[np.float32]:
    """The mean colour of all the images in the masks."""
    inside = np.stack(masks)[:, None]
    return np.where(inside, pixels.mean(axis=(0, 2, 3))[None, :, None, None], pixels)


def inpainted(pixels: NDArray[np.float32], masks: Sequence[Mask], predicted: NDArray[np.intp]) -> NDArray[np.float32]:
    """A smooth continuation of what is around the masks."""
    return np.stack([inpaint(image, mask) for image, mask in zip(pixels, masks, strict=True)])


def pasted(pixels: NDArray[np.float32], masks: Sequence[Mask], predicted: NDArray[np.intp]) -> NDArray[np.float32]:
    """The same place of the next image."""
    return np.where(np.stack(masks)[:, None], np.roll(pixels, -1, axis=0), pixels)


def swapped(pixels: NDArray[np.float32], masks: Sequence[Mask], predicted: NDArray[np.intp]) -> NDArray[np.float32]:
    """The same place of the next image that is predicted as another class, where there is one."""
    result, count = pixels.copy(), len(pixels)
    for i, mask in enumerate(masks):
        others = (j % count for j in range(i + 1, i + count) if predicted[j % count] != predicted[i])
        result[i][:, mask] = pixels[next(others, i)][:, mask]
    return result


RULES: dict[str, Rule] = {
    "mass": partial(heat, metrics.mass),
    "lift": partial(heat, metrics.lift),
    "mean heat": partial(heat, metrics.mean_heat),
    "peak inside": partial(heat, lambda values, mask: float(metrics.hits(values, mask))),
    "IoU at half": partial(heat, partial(metrics.iou, threshold=0.5)),
    "mean colour": partial(fall, mean_colour),
    "inpaint": partial(fall, inpainted),
    "paste": partial(fall, pasted),
    "swap": partial(fall, swapped),
    "reliance": reliance,
}


def _margins(scores: NDArray[np.float32], classes: NDArray[np.intp]) -> NDArray[np.float64]:
    """The logit of each row's class less the highest other one."""
    rows, rest = np.arange(len(scores)), scores.astype(np.float64)
    own = rest[rows, classes].copy()
    rest[rows, classes] = -np.inf
    return own - rest.max(axis=1)
