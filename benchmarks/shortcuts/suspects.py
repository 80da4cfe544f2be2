"""Whether `audit.suspects()` names the planted artefact, of which it is told nothing, and confirms it off the object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.shortcuts.scenes import SIDE, Mask
from benchmarks.shortcuts.zoo import Recipe, Specimen, true_to_name
from pytest_gradcam import Case, Explainer

_SCANNED = 60  # images that are scanned; as many others judge what is found
_HIT, _HALF, _LIFT = 0.5, 0.5, 1.4
_MOVING = ("dead columns", "sticker")  # not in the same place in all images
_WHOLE = ("textures", "photographs")  # sources whose subject is the whole image, so that nothing is off it


@dataclass(frozen=True)
class Said:
    """One model: whether a suspect is the artefact, covers half of it, and whether one is confirmed off the object."""

    kind: str
    source: str
    truth: bool
    hit: bool
    half: bool
    confirmed: bool


def say_pair(recipe: Recipe, directory: Path) -> list[Said]:
    """What is said about both models of a pair; nothing before they are trained."""
    try:
        return [_said(one) for one in true_to_name(directory, recipe)]
    except FileNotFoundError:
        return []


def _said(one: Specimen) -> Said:
    samples, boxes = one.samples(2 * _SCANNED), subjects(one.recipe, 2 * _SCANNED)
    known = one.recipe.source.name not in _WHOLE
    cases = [
        Case(image, mask=box if known else None, id=str(number))
        for number, (image, box) in enumerate(zip(samples.images, boxes, strict=True))
    ]
    found = Explainer(one.model).audit(cases, ["overlap"]).suspects(images=_SCANNED)
    figures = [overlap(suspect.masks, samples.masks[[int(name) for name in suspect.cases]]) for suspect in found]
    half = [covered >= _HALF and lift >= _LIFT for covered, _, lift in figures]
    hit = [precise >= _HIT or wide for (_, precise, _), wide in zip(figures, half, strict=True)]
    confirmed = any(suspect.confirmed is True for suspect in found)
    return Said(one.recipe.kind, one.recipe.source.name, one.tied, any(hit), any(half), confirmed)


def overlap(regions: Mask, masks: Mask) -> tuple[float, float, float]:
    """The share of the artefact that the region covers, that of the region which is artefact, and its ratio to chance."""
    both = (masks & regions).sum(axis=(1, 2))
    precise = float((both / regions.sum(axis=(1, 2))).mean())
    return float((both / masks.sum(axis=(1, 2))).mean()), precise, precise / float(masks.mean())


def subjects(recipe: Recipe, count: int) -> list[Mask]:
    """The box around the subject in each of the test images that `zoo.samples` draws."""
    source, rng = recipe.source, recipe.rng(1, 1)
    labels = rng.permutation(np.arange(count) % source.classes)
    rng.permutation(labels)
    found = []
    for label, seed in zip(labels, rng.integers(2**32, size=count), strict=True):
        subject = source.draw(label, 1, np.random.default_rng(seed), SIDE).subject
        rows, columns = subject.any(axis=1), subject.any(axis=0)
        found.append(np.outer(rows, columns))
    return found


def table(said: Sequence[Said]) -> Iterator[str]:
    yield "| kind | biased, clean | artefact named: biased | clean | half of it: biased | confirmed: biased | clean |"
    yield "| --- " * 7 + "|"
    kinds = {kind: [one for one in said if one.kind == kind] for kind in dict.fromkeys(one.kind for one in said)}
    kinds["all in one place"] = [one for one in said if one.kind not in _MOVING]
    kinds["all"] = list(said)
    for kind, own in kinds.items():
        biased, clean = ([one for one in own if one.truth is truth] for truth in (True, False))
        known = [[one for one in part if one.source not in _WHOLE] for part in (biased, clean)]
        cells = [
            f"{len(biased)}, {len(clean)}",
            share([one.hit for one in biased]),
            share([one.hit for one in clean]),
            share([one.half for one in biased]),
            *(share([one.confirmed for one in part]) for part in known),
        ]
        yield f"| {kind} | {' | '.join(cells)} |"


def share(flags: Sequence[bool]) -> str:
    return f"{sum(flags)} of {len(flags)}" if flags else "-"
