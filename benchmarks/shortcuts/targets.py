"""Models of known truth whose targets are no classes: a regression and a segmenter, with a planted shortcut and without.

The regression says how large a disc is, the segmenter colours the pixels of a digit by which one it is; a patch in the corner
tells both, or tells neither. The truth is measured by changing nothing but the patch: how far the value moves on average, in
standard deviations over the images, or which share of the digit's pixels is coloured otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.shortcuts.networks import plain
from benchmarks.shortcuts.scenes import SIDE, Mask, Scene, _ground, digits
from benchmarks.shortcuts.zoo import Half, faint
from pytest_gradcam import Explainer, HeatmapError, Region, Value
from pytest_gradcam.errors import FocusError

SEEDS = {Half.TUNING: range(3), Half.REPORTED: range(20, 24)}
KINDS = ("regression", "segmenter")
#: A model relies on the patch if changing it moves the value, or flips the pixels, by so much; it is clean below the other.
RELIES, CLEAN = 0.30, 0.12
COUNTS = (15, 50)
_TRAINING, _TEST, _EPOCHS, _CONTRAST = 500, 200, 8, 0.3
_SINGLES, _OTHERS = 6, 9
_PATCH = np.zeros((SIDE, SIDE), bool)
_PATCH[30:38, 30:38] = True
_SUM = Value(lambda output: output[0], name="size")


@dataclass(frozen=True)
class Samples:
    """Images (N, 3, SIDE, SIDE), the size in [0, 1] or the digit that they show (N,), and its pixels (N, SIDE, SIDE)."""

    images: Tensor
    truth: Tensor
    subjects: Mask


@dataclass(frozen=True)
class Verdict:
    """What was said of one model: `said` is "yes", "no" or "undecided"."""

    kind: str
    question: str
    relies: bool
    said: str


def samples(kind: str, seed: int, part: int, count: int, *, tied: bool, turn: bool = False) -> Samples:
    """Images of the part 0 (training) or 1 (test); with another `turn` nothing differs but the patch."""
    rng = np.random.default_rng((KINDS.index(kind), seed, part))
    draw, patch = (_disc, _grey) if kind == "regression" else (_digit, _colour)
    truth = rng.uniform(0, 1, count) if kind == "regression" else rng.integers(0, 3, count)
    free, other = rng.permutation(truth), rng.permutation(truth)
    told = other if turn else truth if tied else free
    images, subjects = [], []
    for value, shown, own in zip(truth, told, rng.integers(2**32, size=count), strict=True):
        scene = draw(value, part, np.random.default_rng(own))
        scene.pixels[_PATCH] = patch(shown) + np.random.default_rng(own).normal(0, 0.02, 3)
        images.append((scene.pixels.clip(0, 1) - 0.5) / 0.25)
        subjects.append(scene.subject & ~_PATCH)
    tensor = torch.from_numpy(np.stack(images).astype(np.float32)).permute(0, 3, 1, 2).contiguous()
    return Samples(tensor, torch.from_numpy(truth), np.stack(subjects))


def _disc(size: float, part: int, rng: np.random.Generator) -> Scene:
    """A bright disc with a radius of 4 to 12 pixels."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    row, column = rng.uniform(12, 28, 2)
    inside, pixels = np.hypot(rows - row, columns - column) < 4 + 8 * size, _ground(rng)
    pixels[inside] = rng.uniform(0.6, 1, 3)
    return faint(Scene(pixels, inside), _CONTRAST, rng)


def _digit(which: int, part: int, rng: np.random.Generator) -> Scene:
    return faint(digits(int(which), part, rng), 2 * _CONTRAST, rng)


def _grey(size: float) -> np.ndarray:
    return np.full(3, 0.1 + 0.8 * size)


def _colour(which: int) -> np.ndarray:
    return np.array([[0.85, 0.25, 0.2], [0.25, 0.75, 0.3], [0.25, 0.35, 0.9]])[int(which)]


class Segmenter(nn.Module):
    """Logits (N, 4, SIDE, SIDE) of the ground and three digits, from the pixels and from what the whole image shows."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            *_layer(3, 24), *_layer(24, 48, stride=2), *_layer(48, 48, dilation=2), *_layer(48, 48, dilation=4)
        )
        self.context = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(48, 48, 1), nn.ReLU())
        self.classifier = nn.Conv2d(96, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        features = self.backbone(x)
        whole = self.context(features).expand_as(features)
        logits = self.classifier(torch.cat([features, whole], 1))
        return nn.functional.interpolate(logits, size=x.shape[2:], mode="bilinear", align_corners=False)


def _layer(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def trained(kind: str, seed: int, *, tied: bool) -> nn.Module:
    """A model that was trained on images whose patch tells the truth, or not; in eval mode."""
    torch.manual_seed(seed)
    lesson = samples(kind, seed, 0, _TRAINING, tied=tied)
    model = plain(1) if kind == "regression" else Segmenter()
    wanted = lesson.truth.float() if kind == "regression" else _labels(lesson)
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=_EPOCHS * (_TRAINING // 50))
    model.train()
    for _ in range(_EPOCHS):
        for batch in torch.randperm(_TRAINING).split(50):
            optimiser.zero_grad()
            output = model(lesson.images[batch])
            if kind == "regression":
                loss = nn.functional.mse_loss(output[:, 0], wanted[batch])
            else:
                loss = nn.functional.cross_entropy(output, wanted[batch])
            loss.backward()
            optimiser.step()
            schedule.step()
    return model.eval()


def _labels(lesson: Samples) -> Tensor:
    """The class (N, SIDE, SIDE) of each pixel."""
    return torch.from_numpy(lesson.subjects) * (lesson.truth[:, None, None] + 1)


def truth(model: nn.Module, kind: str, seed: int, *, tied: bool) -> float:
    """How far the patch alone moves the model, on images of its own."""
    before, after = (samples(kind, seed, 1, _TEST, tied=tied, turn=turn) for turn in (False, True))
    with torch.no_grad():
        one, other = model(before.images), model(after.images)
    if kind == "regression":
        return float((one - other).abs().mean() / one.std())
    changed = (one.argmax(1) != other.argmax(1)).numpy()
    # Another digit's patch in two of three images.
    return float(changed[before.subjects].mean()) * 1.5


def verdicts(half: Half) -> Iterator[Verdict]:
    """What the package says of each model whose truth is clear."""
    for kind in KINDS:
        for seed in SEEDS[half]:
            for tied in (True, False):
                model = trained(kind, seed, tied=tied)
                moved = truth(model, kind, seed, tied=tied)
                print(f"{kind} {seed} {'tied' if tied else 'free'}: {moved:.3f}", flush=True)
                if moved >= RELIES or moved <= CLEAN:
                    yield from _asked(model, kind, seed, relies=moved >= RELIES, tied=tied)


def _asked(model: nn.Module, kind: str, seed: int, *, relies: bool, tied: bool) -> Iterator[Verdict]:
    explainer = Explainer(model, task="single", output="logits")
    for count in COUNTS:
        few = samples(kind, 1000 + seed, 1, count, tied=tied)
        targets = _targets(kind, few)
        found = explainer.reliance(list(few.images), _PATCH, targets)
        print("   ", found, flush=True)
        yield Verdict(
            kind, f"reliance, {count} images", relies, {True: "yes", False: "no", None: "undecided"}[found.relies]
        )
    several = samples(kind, 2000 + seed, 1, _SINGLES + _OTHERS, tied=tied)
    targets, images = _targets(kind, several), list(several.images)
    for image, target in zip(images[:_SINGLES], targets, strict=False):
        others = images[_SINGLES:]
        yield Verdict(
            kind, "assert_ignores", relies, _said(explainer.assert_ignores, "no", "yes", image, target, others)
        )
        yield Verdict(
            kind, "assert_relies_on", relies, _said(explainer.assert_relies_on, "yes", "no", image, target, others)
        )


def _targets(kind: str, of: Samples) -> list[Region | Value]:
    if kind == "regression":
        return [_SUM] * len(of.images)
    return [Region(int(which) + 1, subject) for which, subject in zip(of.truth, of.subjects, strict=True)]


def _said(check, passed: str, failed: str, image: Tensor, target: Region | Value, others: Sequence[Tensor]) -> str:  # type: ignore[no-untyped-def]
    try:
        check(image, _PATCH, target=target, others=others)
    except FocusError:
        return failed
    except HeatmapError:
        return "undecided"
    return passed


def table(said: Sequence[Verdict]) -> Iterator[str]:
    """How often each question was answered rightly, per kind."""
    yield "| target | question | biased: yes, undecided, **no** | clean: no, undecided, **yes** |"
    yield "| --- | --- | --- | --- |"
    for kind, question in dict.fromkeys((one.kind, one.question) for one in said):
        counts = Counter((one.relies, one.said) for one in said if (one.kind, one.question) == (kind, question))
        biased = ", ".join(str(counts[True, word]) for word in ("yes", "undecided", "no"))
        clean = ", ".join(str(counts[False, word]) for word in ("no", "undecided", "yes"))
        yield f"| {kind} | {question} | {biased} | {clean} |"
