"""What becomes of decisions when the mean masked pixels of two classes are exchanged, instead of those of two images.

Where the scene shows through the mask, donors bring in parts of their objects. In the means over a class scenes average out, and
an artefact that tells the classes apart stays. What the scenes of a class have in common stays as well, so the same is done at a
mirrored place: that is the control.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pytest_gradcam.checks.donors import aligned
from pytest_gradcam.checks.exchange import FEWEST, Bools, Difference, Floats, Indices, Row, least
from pytest_gradcam.checks.masked_image import MaskedImage
from pytest_gradcam.questions.protocols import ModelInput
from pytest_gradcam.replacement import fills

_MOST = 8  # images of a mean
_OVERLAP = 0.3  # share of a mask that its mirrored place may cover
_FLIPS: tuple[Callable[[Bools], Bools], ...] = (np.fliplr, np.flipud, lambda mask: np.flipud(np.fliplr(mask)))


@dataclass(frozen=True)
class Averaged:
    """What exchanged means did to images of the classes `predicted` (M,): how far their margins fell, in units of the model's
    mean margin, in which `leads` (M,) were theirs, and what that cost in accuracy, (2, M) each: in the mask, and mirrored.
    """

    predicted: Indices
    leads: Floats
    falls: Floats
    costs: Floats

    @cached_property
    def whole(self) -> Row:
        """What all images lose beyond what they lose at the mirrored place."""
        return self._row(np.ones(len(self.predicted), bool))

    @cached_property
    def rows(self) -> dict[int, Row]:
        """What the images of each class lose of which there are enough."""
        several = [index for index in np.unique(self.predicted) if (self.predicted == index).sum() >= FEWEST]
        return {int(index): self._row(self.predicted == index) for index in several}

    def _row(self, of: Bools) -> Row:
        flips, costs, falls = (self.falls > self.leads)[:, of].astype(np.float64), self.costs[:, of], self.falls[:, of]
        return Row(_paired(flips, rate=True), _paired(costs, rate=True), _paired(falls))


def _paired(value: Floats, *, rate: bool = False) -> Difference:
    """The mean over images of what a value (2, M) is in the mask less what it is mirrored."""
    count = value.shape[1]
    error = float((value[0] - value[1]).std(ddof=1)) / math.sqrt(count) if count > 1 else math.inf
    if rate:
        error = math.hypot(error, least(count))
    return Difference(float(value[0].mean() - value[1].mean()), error, float(value[1].mean()), count, count)


@dataclass(frozen=True)
class Averages:
    """The images with means exchanged: in their masks, and at their mirrored places, in the same order."""

    to: Indices
    inside: Sequence[ModelInput]
    mirrored: Sequence[ModelInput]

    @classmethod
    def between(cls, images: Sequence[MaskedImage], predicted: Indices) -> Averages | None:
        """Each image receives the mean of one other class, in turn; None where a mask and its mirrored places overlap, or where
        too few images have a mean.
        """
        elsewhere = _mirrored(images)
        if elsewhere is None:
            return None
        span = min(float(each.pixels.min()) for each in images), max(float(each.pixels.max()) for each in images)
        pairs = [
            (i, _exchanged(images, predicted, i, span), _exchanged(elsewhere, predicted, i, span))
            for i in range(len(images))
        ]
        both = [(i, inside, outside) for i, inside, outside in pairs if inside is not None and outside is not None]
        if len(both) < max(2, 0.8 * len(images)):
            return None
        to, inside, mirrored = zip(*both, strict=True)
        return cls(np.array(to, np.intp), inside, mirrored)

    def found(self, predicted: Indices, leads: Floats, falls: Floats, costs: Floats) -> Averaged:
        """What the falls (2 M,) of the margin say, and the costs, in the order of the images in their masks and mirrored."""
        return Averaged(predicted[self.to], leads[self.to], falls.reshape(2, -1), costs.reshape(2, -1))


def _mirrored(images: Sequence[MaskedImage]) -> list[MaskedImage] | None:
    """The images with their masks mirrored, in the way in which they overlap least."""

    def overlap(flip: Callable[[Bools], Bools]) -> float:
        return float(
            np.mean([((flip(each.mask) & (each.mask | each.padding)).sum() / each.mask.sum()) for each in images])
        )

    flip = min(_FLIPS, key=overlap)
    if overlap(flip) > _OVERLAP:
        return None
    masks = [np.ascontiguousarray(flip(image.mask) & ~image.padding) for image in images]
    if not all(mask.any() for mask in masks):
        return None
    return [image.at(mask) for image, mask in zip(images, masks, strict=True)]


def _exchanged(
    images: Sequence[MaskedImage], predicted: Indices, to: int, span: tuple[float, float]
) -> ModelInput | None:
    """The image with the mean masked pixels of another class, less those of its own, within the span of all images."""
    several = [index for index in np.unique(predicted) if index != predicted[to]]
    image = images[to]
    means = [_mean(images, predicted, to, index) for index in (several[to % len(several)], predicted[to])]
    known = means[0][1] & means[1][1] & image.mask
    if not known.any():
        return None
    content = image.pixels.astype(np.float64)
    content[:, known] += (means[0][0] - means[1][0])[:, known]
    return image.filled(fills.paste, other=content.clip(*span).astype(image.pixels.dtype))


def _mean(images: Sequence[MaskedImage], predicted: Indices, to: int, index: int) -> tuple[Floats, Bools]:
    """The mean (C, H, W) of a class's masked pixels, moved onto the mask of image `to`, and where two or more images show it."""
    image, count = images[to], len(images)
    donors = [j for j in ((to + step) % count for step in range(1, count)) if predicted[j] == index]
    total, times = np.zeros(image.pixels.shape), np.zeros(image.mask.shape)
    for j in [j for j in donors if images[j].pixels.shape == image.pixels.shape][:_MOST]:
        pixels, mask = aligned(images[j], image.mask)
        total[:, mask] += pixels[:, mask]
        times += mask
    return total / np.maximum(times, 1), np.asarray(times >= 2)
