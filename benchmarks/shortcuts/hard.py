"""What the package's own rule says where it has too little to go by, or a mask that is not exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from benchmarks.shortcuts.rules import reliance
from benchmarks.shortcuts.scenes import Mask
from benchmarks.shortcuts.zoo import Recipe, Samples, Specimen, samples, true_to_name
from pytest_gradcam import Explainer

_COUNT = 50
_SINGLES = 5
Setting = Callable[[Specimen, Explainer], Iterator[Samples]]


@dataclass(frozen=True)
class Said:
    """One verdict on one model, with its truth."""

    setting: str
    truth: bool
    relies: bool | None


def one_image(one: Specimen, explainer: Explainer) -> Iterator[Samples]:
    """Single images, five for each model."""
    several = one.samples(_SINGLES)
    yield from (picked(several, [i]) for i in range(_SINGLES))


def three_images(one: Specimen, explainer: Explainer) -> Iterator[Samples]:
    """Three images."""
    yield one.samples(3)


def one_class(one: Specimen, explainer: Explainer) -> Iterator[Samples]:
    """Up to 50 images that are all predicted alike."""
    many = one.samples(4 * _COUNT)
    predicted = explainer.predict(list(many.images)).argmax(axis=1)
    yield picked(many, np.flatnonzero(predicted == np.bincount(predicted).argmax())[:_COUNT])


def untied(one: Specimen, explainer: Explainer) -> Iterator[Samples]:
    """Images whose artefact says nothing about the label, for both twins."""
    yield samples(one.recipe, tied=False, part=1, count=_COUNT)


def tied(one: Specimen, explainer: Explainer) -> Iterator[Samples]:
    """Images whose artefact tells the label, for both twins."""
    yield samples(one.recipe, tied=True, part=1, count=_COUNT)


def wide_mask(one: Specimen, explainer: Explainer) -> Iterator[Samples]:
    """Masks that reach 3 px beyond the artefact."""
    exact = one.samples(_COUNT)
    yield replace(exact, masks=np.stack([ndimage.binary_dilation(mask, iterations=3) for mask in exact.masks]))


def half_mask(one: Specimen, explainer: Explainer) -> Iterator[Samples]:
    """Masks of the upper half of the artefact."""
    exact = one.samples(_COUNT)
    yield replace(exact, masks=np.stack([upper(mask) for mask in exact.masks]))


SETTINGS: dict[str, Setting] = {
    setting.__name__.replace("_", " "): setting
    for setting in (one_image, three_images, one_class, untied, tied, wide_mask, half_mask)
}


def say(one: Specimen, name: str) -> list[Said]:
    """The verdicts on a model in one setting."""
    explainer = Explainer(one.model, batch_size=64)
    asked = SETTINGS[name](one, explainer)
    return [
        Said(name, one.tied, reliance(explainer, list(each.images), list(each.masks), each.labels).relies)
        for each in asked
    ]


def say_pair(recipe: Recipe, directory: Path) -> list[Said]:
    return [said for one in true_to_name(directory, recipe) for name in SETTINGS for said in say(one, name)]


def table(said: Sequence[Said]) -> Iterator[str]:
    """Settings down; shares of the verdicts on biased and on clean models across."""
    yield "| setting | biased: relies | undecided | does not | clean: relies | undecided | does not |"
    yield "| --- " * 7 + "|"
    for name in SETTINGS:
        shares = [
            f"{np.mean([one.relies is verdict for one in said if one.setting == name and one.truth is truth]):.2f}"
            for truth in (True, False)
            for verdict in (True, None, False)
        ]
        yield f"| {name} | " + " | ".join(shares) + " |"


def picked(several: Samples, places: Sequence[int] | np.ndarray) -> Samples:
    index = torch.as_tensor(np.asarray(places))
    return replace(
        several,
        images=several.images[index],
        masks=several.masks[np.asarray(places)],
        labels=several.labels[index],
        variants=several.variants[index],
    )


def upper(mask: Mask) -> Mask:
    """The rows of the mask down to where half of its pixels are."""
    filled = mask.sum(axis=1).cumsum()
    return mask & (np.arange(len(mask)) <= int(np.argmax(filled >= filled[-1] / 2)))[:, None]
