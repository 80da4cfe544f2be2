"""The same scene with and without the artefact: the exact exchange, in which nothing but the masked pixels changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import scipy

from pytest_gradcam.checks import margins, outline
from pytest_gradcam.checks.asked import Asked, classes_of, means
from pytest_gradcam.checks.donors import arrange
from pytest_gradcam.checks.doubts import Falls
from pytest_gradcam.checks.exchange import Exchange, costs
from pytest_gradcam.checks.exchanges import Change, firsts, own_class, pasted
from pytest_gradcam.checks.loss import THROUGH, Exchanged
from pytest_gradcam.checks.masked_image import MaskedImage, as_images, common_level, scores_of
from pytest_gradcam.checks.samples import content, distinct
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.questions.explained_model import ExplainedModel
from pytest_gradcam.questions.protocols import Engine
from pytest_gradcam.replacement.fills import Bools
from pytest_gradcam.targets import Target
from pytest_gradcam.validation import item_of

#: Outside of the mask an image and its pair may differ by this share of the images' range: two levels of 256.
_ROUNDING = 2 / 255


def pair_falls(
    model: ExplainedModel, passed: Sequence[MaskedImage], pairs: Any, targets: Sequence[Target], *, decisions: bool
) -> tuple[Falls, Asked, list[Change]]:
    """The falls from each image to its pair, what was asked, and the pairs as changes of the images.

    An image that was passed several times, with several pairs, counts once, with the mean over its different pairs. The fall
    of the margin decides unless it is `decisions` that are asked about. Then pixels of images of the same class are the
    yardstick, unless the scene shows through and they bring in objects: a model that is unsure of many images decides some
    of them otherwise whatever is changed. It costs up to three forward passes per image.
    """
    others = _read(model.engine, passed, pairs)
    counted = distinct(passed, targets)
    own, wanted = [passed[i] for i in counted], [targets[i] for i in counted]
    keys = [(content(image), repr(target)) for image, target in zip(passed, targets, strict=True)]
    place = {keys[i]: k for k, i in enumerate(counted)}
    found = {(place[key], content(other)): other.image_input for key, other in zip(keys, others, strict=True)}
    changes = [(to, other) for (to, _), other in sorted(found.items(), key=lambda pair: pair[0])]
    blank = own[0].emptied(common_level(own))
    scores = scores_of(model.engine, [*(image.image_input for image in own), *(other for _, other in changes), blank])
    before, after = scores[: len(own)], scores[len(own) : -1]
    asked = Asked(own, len(own), before, classes_of(model, before, len(own), wanted), model.engine.multi_label)
    to, everyone = np.array([to for to, _ in changes], np.intp), np.arange(len(own))
    lead = asked.margins(before, everyone)
    unit = margins.unit(before, lead if asked.alone else None)
    falls = (lead[to] - asked.margins(after, to)) / unit
    predicted = before.argmax(axis=1)
    of_others, of_own = (
        arrange(own, predicted, lambda i, j: bool(predicted[i] != predicted[j])),
        own_class(own, predicted),
    )
    apart, alike = (_difference(own, pasted(own, firsts(each.patches))) for each in (of_others, of_own))
    exchanged = None
    if decisions and not asked.alone and bool((asked.classes == predicted).all()):
        patches = [] if outline.continuity(own) > THROUGH else of_own.patches
        yardstick = scores_of(model.engine, [changed for _, changed in pasted(own, patches)]) if patches else before[:0]
        receivers = np.array([patch.to for patch in patches], np.intp)
        exchanged = Exchanged(
            Exchange(
                predicted,
                lead / unit,
                np.concatenate([to, receivers]),
                np.concatenate([to, np.array([patch.donors[0] for patch in patches], np.intp)]),
                np.concatenate([falls, (lead[receivers] - asked.margins(yardstick, receivers)) / unit]),
                costs(before, np.concatenate([after, yardstick]), np.concatenate([to, receivers]), unit),
            ),
            name=model.engine.names.name,
        )
    measured = Falls(
        "pair",
        "nothing else differs between the two",
        main=means(falls, to, len(own)),
        alive=bool(np.ptp(scores, axis=0).any()),
        fallback=float((asked.margins(scores[[-1] * len(own)], everyone) > margins.LEVEL * unit).mean()),
        alike=asked.alike,
        pairs_differ=_difference(own, changes),
        classes_differ=apart - alike,
        copies=len(passed) - len(own),
        exchanged=exchanged,
    )
    return measured, asked, changes


def _difference(images: Sequence[MaskedImage], changes: Sequence[Change]) -> float:
    """The mean square by which the changes change the masked pixels, the same for each; 0 without any."""
    squares = [np.square(other.pixels - images[to].pixels)[:, images[to].mask].mean() for to, other in changes]
    return float(np.mean(squares)) if squares else 0.0


def _read(engine: Engine, images: Sequence[MaskedImage], pairs: Any) -> list[MaskedImage]:
    """The other image of each pair. Raises HeatmapError unless each differs in the mask, and nowhere else."""
    others = as_images(pairs)
    if len(others) != len(images):
        raise HeatmapError(
            f"pairs= has {len(others)} images for {len(images)}; expected one for each, in the same order: the same scene "
            "without the artefact, or with another one"
        )
    span = max(float(np.ptp(image.pixels)) for image in images)
    read = []
    for index, (image, passed) in enumerate(zip(images, others, strict=True)):
        with item_of("pairs", index):
            other = engine.read(passed)
            read.append(replace(image, image_input=other, pixels=other.pixels))
            _compare(image, read[-1], span)
    return read


def _compare(image: MaskedImage, other: MaskedImage, span: float) -> None:
    named = f"{image.image_input.name} and its pair {other.image_input.name}"
    if image.pixels.shape != other.pixels.shape:
        raise HeatmapError(
            f"{named} have different sizes in the model's input; expected the same scene; make the pair from the same file"
        )
    change = np.abs(image.pixels - other.pixels).max(axis=0) / max(span, 1e-12)
    outside = change[~(_grown(image) | image.padding)]
    if outside.size and outside.max() > _ROUNDING:
        share = float((outside > _ROUNDING).mean())
        raise HeatmapError(
            f"{named} differ outside of the mask, in {share:.1%} of those pixels and by up to {outside.max():.1%} of the "
            "images' range; expected the same scene there; widen the mask to all that differs, or save both without loss"
        )
    if not change[image.mask].max() > _ROUNDING:
        raise HeatmapError(
            f"{named} show the same in the mask, so nothing would be exchanged; expected the scene without the artefact, or "
            "with another one; check the order of pairs="
        )


def _grown(image: MaskedImage) -> Bools:
    """The mask with the pixels into which a resizing preprocess mixes some of its content."""
    size, shape = image.image_input.size, image.mask.shape
    if size is None or size == shape:
        return image.mask
    # Cubic interpolation reaches two pixels, of the picture or of the view, whichever are larger; half of one is rounding.
    reach = 1 + math.ceil(2 * max(1.0, *(new / old for new, old in zip(shape, size, strict=True))))
    return np.asarray(scipy.ndimage.binary_dilation(image.mask, np.ones((3, 3)), iterations=reach))
