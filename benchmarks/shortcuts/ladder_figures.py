"""What the package says about the models of the ladder, against their true fall of accuracy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy import ndimage

from benchmarks.shortcuts.hard import picked, upper
from benchmarks.shortcuts.ladder import Case, Climbed, Rung, climb, drawn, second_masks
from benchmarks.shortcuts.scenes import SIDE, Mask
from benchmarks.shortcuts.zoo import Samples
from pytest_gradcam import Explainer, HeatmapError, Reliance

COUNTS = (10, 50, 200)
USUAL = 50  # images, where nothing else is said
_PAIRED = (10, 50)
CLAIMS = ("relies", "relies weakly", "undecided", "does not rely")
STEPS = ((-1.0, 0.03), (0.03, 0.06), (0.06, 0.10), (0.10, 0.20), (0.20, 0.40), (0.40, 1.0))
COMPETENT = 0.6  # accuracy; a model below it has not learnt its task
_RANDOM, _MARKED, _BESIDE = 3, 30, 40  # sets of random images, images of the marked class, others beside them


@dataclass(frozen=True)
class Asked:
    """One answer: in which setting, the true fall, the claim, the loss and its interval, and the mask's fault."""

    setting: str
    fall: float
    claim: str
    loss: float | None = None
    interval: tuple[float, float] = (0.0, 1.0)
    fault: str = ""


def ask(rung: Rung, directory: Path) -> list[Asked]:
    """All answers about one model."""
    return answers(climb(rung, directory))


def answers(one: Climbed) -> list[Asked]:
    """All answers about a trained model; none if it has not learnt its task."""
    if one.accuracy < COMPETENT:
        return []
    return list({Case.TIES: _ties, Case.ONE_CLASS: _one_class, Case.TWO_CUES: _two_cues}[one.rung.case](one))


def table(asked: Sequence[Asked]) -> Iterator[str]:
    """Claims by true fall for each number of images, how good the estimate is, and the other settings."""
    yield "| images, true fall | models | " + " | ".join(CLAIMS) + " |"
    yield "| --- " * 6 + "|"
    for count in COUNTS:
        for low, high in STEPS:
            yield _row(f"{count}, {max(low, 0):.2f} to {high:.2f}", asked, f"{count} images", low, high)
    for setting in dict.fromkeys(one.setting for one in asked):
        if setting not in {f"{count} images" for count in COUNTS}:
            yield _row(f"{setting}, up to 0.03", asked, setting, -1, 0.03)
            yield _row(f"{setting}, from 0.10", asked, setting, 0.0999, 1)
    yield ""
    for count in COUNTS:
        yield _estimates(count, [one for one in asked if one.setting == f"{count} images" and one.loss is not None])
    wrong = [one for one in asked if one.setting.endswith("mask")]
    yield f"Faults named: {sum(bool(one.fault) for one in wrong)} of {len(wrong)} wrong masks"


def _row(title: str, asked: Sequence[Asked], setting: str, low: float, high: float) -> str:
    counts = Counter(one.claim for one in asked if one.setting == setting and low < one.fall <= high)
    return f"| {title} | {counts.total()} | " + " | ".join(str(counts[claim]) for claim in CLAIMS) + " |"


def _estimates(count: int, asked: Sequence[Asked]) -> str:
    near = sum(one.loss is not None and abs(one.loss - max(0.0, one.fall)) < 0.08 for one in asked)
    held = sum(one.interval[0] <= max(0.0, one.fall) <= one.interval[1] for one in asked)
    return (
        f"{count} images: of {len(asked)} models {near} estimates are within 0.08, {held} intervals hold the true fall"
    )


def _ties(one: Climbed) -> Iterator[Asked]:
    fall = one.falls[0].fall
    shown = drawn(one.rung, purpose=1, count=max(COUNTS))
    usual = one.rung.side == SIDE
    size = "" if usual else f"{one.rung.side} px, "
    for count in COUNTS if usual else (USUAL,):
        yield _asked(f"{size}{count} images", fall, one, picked(shown, range(count)))
    other = drawn(one.rung, purpose=1, count=max(COUNTS), turns=(1, 0))
    for count in _PAIRED:
        few = picked(shown, range(count))
        yield _said(f"{size}{count} pairs", fall, one, list(few.images), list(few.masks), list(other.images[:count]))
    if usual and (fall <= 0.03 or fall >= 0.10):
        few = picked(shown, range(USUAL))
        for name, spoil in SPOILT.items():
            masks = [spoil(mask) for mask in few.masks]
            usable = [i for i, mask in enumerate(masks) if mask.any() and not mask.all()]
            differ = np.mean([not np.array_equal(a, b) for a, b in zip(masks, few.masks, strict=True)])
            if len(usable) == len(masks) and differ > 0.5:
                yield _asked(f"{name} mask", fall, one, few, masks)


def _one_class(one: Climbed) -> Iterator[Asked]:
    rung, fall = one.rung, one.falls[0].by_class[0] if one.rung.tie else 0.0
    random = drawn(rung, purpose=1, count=_RANDOM * USUAL)
    for start in range(0, len(random.masks), USUAL):
        yield _asked("one class, 50 random images", fall, one, picked(random, range(start, start + USUAL)))
    marked = drawn(rung, purpose=1, count=_MARKED, only=0)
    yield _asked("one class, 30 images of it", fall, one, marked)
    others = drawn(rung, purpose=1, count=USUAL)
    beside = picked(others, np.flatnonzero(others.labels.numpy())[:_BESIDE])
    images, masks = [*marked.images, *beside.images], [*marked.masks, *beside.masks]
    yield _said("one class, 30 images of it and 40 others", fall, one, images, masks)


def _two_cues(one: Climbed) -> Iterator[Asked]:
    shown = drawn(one.rung, purpose=1, count=USUAL)
    seconds = second_masks(one.rung, purpose=1, count=USUAL)
    for fall, masks in zip(one.falls, (shown.masks, seconds), strict=False):
        yield _asked("one of two cues", fall.fall, one, shown, list(masks))


def _asked(setting: str, fall: float, one: Climbed, shown: Samples, masks: Sequence[Mask] | None = None) -> Asked:
    return _said(setting, fall, one, list(shown.images), list(shown.masks) if masks is None else masks)


def _said(
    setting: str,
    fall: float,
    one: Climbed,
    images: Sequence[object],
    masks: Sequence[Mask],
    pairs: Sequence[object] | None = None,
) -> Asked:
    try:
        found: Reliance = Explainer(one.model, batch_size=64).reliance(list(images), list(masks), pairs=pairs)
    except HeatmapError:
        return Asked(setting, fall, "undecided")
    return Asked(setting, fall, found.claim, found.loss, found.loss_interval or (0.0, 1.0), found.fault)


def _moved(mask: Mask) -> Mask:
    moved = np.zeros_like(mask)
    moved[3:, 3:] = mask[:-3, :-3]
    return moved


def _boxed(mask: Mask) -> Mask:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = np.zeros_like(mask)
    box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return box


SPOILT: dict[str, Callable[[Mask], Mask]] = {
    "3 px wide": partial(ndimage.binary_dilation, iterations=3),
    "shifted": _moved,
    "half": upper,
    "box": _boxed,
}
