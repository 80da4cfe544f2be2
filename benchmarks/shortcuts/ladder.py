"""The ladder: models that rely on an artefact a little, in one class only, or on two at once.

A rung is one model. In its training and test images the artefact's variant is the label's with probability `tie`, and any variant
otherwise, so that the true fall of accuracy spreads from 0 to 0.8. The truth is measured on images of their own.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from benchmarks.shortcuts.artefacts import KINDS, VARIANTS
from benchmarks.shortcuts.networks import ARCHITECTURES
from benchmarks.shortcuts.scenes import FIVE, SIDE, Mask, Source
from benchmarks.shortcuts.zoo import EPOCHS, TRAINING, Half, Recipe, Samples, faint, fit, touch

_TEST = 500  # images on which the truth is measured
_RARE = 0.1  # the share of the marked class of five
#: The tie, and whether the subject is faint, so that the artefact counts for more.
_STEPS = (
    *((tie, False) for tie in (0.0, 0.0, 0.3, 0.45, 0.6, 0.75, 0.9)),
    *((tie, True) for tie in (0.5, 0.7)),
)
_SECOND = {"corner patch": "timestamp", "border": "sticker", "vignette": "watermark", "timestamp": "corner patch"}
_ONE_CLASS = ("corner patch", "sticker", "timestamp", "watermark")
_SEEDS = {Half.TUNING: 600, Half.REPORTED: 700}
_LARGE = 64  # pixels of the larger images


class Case(Enum):
    """What is tied: each variant to its class, one variant to one class of five, or two artefacts to the class."""

    TIES = "ties"
    ONE_CLASS = "one class"
    TWO_CUES = "two cues"


@dataclass(frozen=True)
class Rung:
    """One model of the ladder; of two cues, `second` is the other artefact and `second_tie` its tie."""

    case: Case
    kind: str
    architecture: str
    seed: int
    tie: float
    second: str = ""
    second_tie: float = 0.0
    faint: bool = False
    side: int = SIDE

    @property
    def source(self) -> Source:
        if self.case is Case.ONE_CLASS:
            return FIVE[self.seed % len(FIVE)]
        return self._recipe.source

    @property
    def name(self) -> str:
        parts = (self.case.value, self.kind, self.second, self.architecture, self.seed, self.tie, "faint" * self.faint)
        parts += (f"{self.side} px",) if self.side != SIDE else ()
        return "-".join(str(part).replace(" ", "-") for part in parts if part != "")

    @property
    def _recipe(self) -> Recipe:
        return Recipe(self.kind, self.architecture, self.seed, attempt=int(self.faint))

    def rng(self, *purpose: int) -> np.random.Generator:
        return self._recipe.rng(3 + list(Case).index(self.case), round(100 * self.tie), *purpose)


@dataclass(frozen=True)
class Fall:
    """How much accuracy is lost when an artefact is exchanged: over all images, its 95 % interval, and by class."""

    fall: float
    interval: tuple[float, float]
    by_class: tuple[float, ...]


@dataclass(frozen=True)
class Climbed:
    """One trained model of the ladder; `falls` of the first artefact and, of two cues, of the second and of both."""

    rung: Rung
    accuracy: float
    falls: tuple[Fall, ...]
    model: nn.Module


def rungs(half: Half) -> list[Rung]:
    """Those of one half."""
    first = _SEEDS[half]
    found = [
        Rung(Case.TIES, kind, list(ARCHITECTURES)[(place + step) % 3], first + step, tie, faint=faint)
        for place, kind in enumerate(KINDS)
        for step, (tie, faint) in enumerate(_STEPS)
    ]
    found += [
        Rung(Case.ONE_CLASS, kind, list(ARCHITECTURES)[(place + step) % 2], first + 10 + step, tie)
        for place, kind in enumerate(_ONE_CLASS)
        for step, tie in enumerate((1.0, 1.0, 0.0))
    ]
    found += [
        Rung(Case.TIES, kind, list(ARCHITECTURES)[(place + step) % 3], first + 14 + step, tie, side=_LARGE)
        for place, kind in enumerate(KINDS)
        for step, tie in enumerate((0.0, 0.9))
    ]
    return found + [
        Rung(Case.TWO_CUES, kind, list(ARCHITECTURES)[place % 3], first + 16 + step, tie, second, other)
        for place, (kind, second) in enumerate(_SECOND.items())
        for step, (tie, other) in enumerate(((0.9, 0.7), (0.7, 0.9)))
    ]


def drawn(rung: Rung, *, purpose: int, count: int, turns: tuple[int, int] = (0, 0), only: int | None = None) -> Samples:
    """Images of a purpose: 0 training, 1 asked about, 2 the truth. `turns` exchange the variants and nothing else.

    `only` is the one class of which they are. Of two cues the masks are those of the first; `second_masks` has the others.
    """
    return _drawn(rung, purpose, count, turns, only)[0]


def second_masks(rung: Rung, *, purpose: int, count: int) -> Mask:
    """The masks of the second artefact in the same images."""
    return _drawn(rung, purpose, count, (0, 0), None)[1]


def _drawn(rung: Rung, purpose: int, count: int, turns: tuple[int, int], only: int | None) -> tuple[Samples, Mask]:
    rng, classes = rung.rng(purpose, 0 if only is None else 1 + only), rung.source.classes
    labels = _labels(rung, count, rng) if only is None else np.full(count, only)
    variants = [
        (np.where(rng.random(count) < tie, labels, rng.integers(classes, size=count)) + turn) % classes
        for tie, turn in ((rung.tie, turns[0]), (rung.second_tie, turns[1]))
    ]
    if rung.case is Case.ONE_CLASS:
        marked = labels == 0 if rung.tie else rng.random(count) < _RARE
        variants[0] = (marked + turns[0]) % 2  # 1 shows the artefact, 0 does not
    images, masks, seconds, near = [], [], [], []
    for i, seed in enumerate(rng.integers(2**32, size=count)):
        own = np.random.default_rng(seed)
        scene = faint(rung.source.draw(int(labels[i]), min(purpose, 1), own, rung.side), rung._recipe.contrast, own)
        second = own.spawn(1)[0]
        if rung.case is Case.ONE_CLASS:
            image, mask = KINDS[rung.kind](scene, 0, own)
            image = image if variants[0][i] else scene.pixels
        else:
            image, mask = KINDS[rung.kind](scene, variants[0][i], own)
        if rung.second:
            image, other = KINDS[rung.second](type(scene)(image, scene.subject), variants[1][i], second)
            seconds.append(other)
        images.append((image - 0.5) / 0.25)
        masks.append(mask)
        near.append(touch(mask, scene.subject))
    tensor = torch.from_numpy(np.stack(images).astype(np.float32)).permute(0, 3, 1, 2).contiguous()
    shown = Samples(
        tensor, np.stack(masks), torch.from_numpy(labels), torch.from_numpy(variants[0]), float(np.mean(near))
    )
    return shown, np.stack(seconds) if seconds else shown.masks


def _labels(rung: Rung, count: int, rng: np.random.Generator) -> np.ndarray:
    classes = rung.source.classes
    if rung.case is Case.ONE_CLASS:
        rare = round(_RARE * count)
        return rng.permutation(np.r_[np.zeros(rare, int), 1 + np.arange(count - rare) % (classes - 1)])
    return rng.permutation(np.arange(count) % classes)


def climb(rung: Rung, directory: Path) -> Climbed:
    """The model of a rung, trained unless it is there."""
    path = directory / f"{rung.name}.safetensors"
    if not path.with_suffix(".json").exists():
        _keep(_trained(rung), path)
    kept = json.loads(path.with_suffix(".json").read_text("utf-8"))
    model = ARCHITECTURES[rung.architecture](rung.source.classes, rung.side)
    model.load_state_dict(load_file(path))
    falls = tuple(Fall(one["fall"], tuple(one["interval"]), tuple(one["by_class"])) for one in kept["falls"])
    return Climbed(rung, kept["accuracy"], falls, model.eval())


def _trained(rung: Rung) -> Climbed:
    torch.manual_seed(rung.seed)
    model = ARCHITECTURES[rung.architecture](rung.source.classes, rung.side)
    lesson = drawn(rung, purpose=0, count=TRAINING * (2 if rung.case is Case.ONE_CLASS else 1))
    fit(model, lesson.images, lesson.labels, epochs=EPOCHS[rung.architecture])
    accuracy, falls = truth(model, rung)
    return Climbed(rung, accuracy, falls, model)


def truth(model: nn.Module, rung: Rung) -> tuple[float, tuple[Fall, ...]]:
    """The accuracy on images of their own, and the falls when each artefact, or both, are exchanged in them."""
    variants = 2 if rung.case is Case.ONE_CLASS else min(VARIANTS, rung.source.classes)
    ways = [(1, 0)] if not rung.second else [(1, 0), (0, 1), (1, 1)]
    unchanged = drawn(rung, purpose=2, count=_TEST)
    before, labels = _right(model, unchanged), unchanged.labels.numpy()
    falls = []
    for first, second in ways:
        turned = [
            drawn(rung, purpose=2, count=_TEST, turns=(first * turn, second * turn)) for turn in range(1, variants)
        ]
        falls.append(_fall(before - np.mean([_right(model, one) for one in turned], axis=0), labels))
    return float(before.mean()), tuple(falls)


def _fall(lost: np.ndarray, labels: np.ndarray) -> Fall:
    reach = 1.96 * lost.std(ddof=1) / np.sqrt(len(lost))
    mean = float(lost.mean())
    return Fall(
        mean,
        (float(mean - reach), float(mean + reach)),
        tuple(float(lost[labels == index].mean()) for index in np.unique(labels)),
    )


def _right(model: nn.Module, shown: Samples) -> np.ndarray:
    with torch.inference_mode():
        return (model(shown.images).argmax(1) == shown.labels).numpy().astype(float)


def _keep(one: Climbed, path: Path) -> None:
    """The weights first: what the JSON file says is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(one.model.state_dict(), path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)
    truth = {"accuracy": one.accuracy, "falls": [asdict(fall) for fall in one.falls]}
    path.with_suffix(".json").write_text(json.dumps(truth), "utf-8")
