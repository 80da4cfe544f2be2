"""Whether `audit.attention()` separates the images of one class that carry a mark by which a model decides.

A corner patch lies in 30 % of the images of one class, and these show the subject of any class: the model has to learn the
mark. Its twin sees the mark as often in every class, on every second seed nowhere. The truth is measured by leaving out the
mark and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.shortcuts.artefacts import corner_patch
from benchmarks.shortcuts.networks import ARCHITECTURES
from benchmarks.shortcuts.scenes import SIDE, SOURCES, Mask, Source
from benchmarks.shortcuts.zoo import EPOCHS, TRAINING, Half, faint, fit
from pytest_gradcam import Case, Explainer

SEEDS = {Half.TUNING: range(24), Half.REPORTED: range(2000, 2024)}
COUNTS = (60, 120, 300)
_MARKED, _CONTRAST, _RELIES = 0.3, 0.5, 0.3
_MOSTLY = 0.6  # of a cluster's images carry the mark, twice as many as of its class
_WHOLE = ("textures", "photographs")  # the subject fills the image


@dataclass(frozen=True)
class Samples:
    """Images (N, 3, SIDE, SIDE), their labels, which carry the mark (N,), and the subjects (N, SIDE, SIDE)."""

    images: Tensor
    labels: Tensor
    marked: NDArray[np.bool_]
    subjects: Mask


@dataclass(frozen=True)
class Seen:
    """What was conspicuous in one model: the mark's cluster, as `separated` or `off_object`, and other clusters."""

    architecture: str
    tied: bool
    known: bool
    images: int
    first: bool
    separated: bool
    off_object: bool
    others: int
    accused: bool


def samples(source: Source, seed: int, part: int, count: int, *, tied: bool, bare: bool = False) -> Samples:
    """Images of the part 0 (training) or 1 (test); `bare` ones differ in the mark, which is left out, and in nothing else."""
    rng = np.random.default_rng((seed, part, 77))
    labels = rng.permutation(np.arange(count) % source.classes)
    drawn = rng.random(count)
    free = drawn < (_MARKED / source.classes if seed % 2 else 0)
    marked = (labels == 0) & (drawn < _MARKED) if tied else free
    images, subjects = [], []
    for label, has, one in zip(labels, marked, rng.integers(2**32, size=count), strict=True):
        own = np.random.default_rng(one)
        shown = int(own.integers(source.classes)) if tied and has else label
        scene = faint(source.draw(shown, part, own, SIDE), _CONTRAST, own)
        image = corner_patch(scene, 0, own)[0] if has and not bare else scene.pixels
        images.append((image - 0.5) / 0.25)
        subjects.append(scene.subject)
    tensor = torch.from_numpy(np.stack(images).astype(np.float32)).permute(0, 3, 1, 2).contiguous()
    return Samples(tensor, torch.from_numpy(labels), marked, np.stack(subjects))


def see(seed: int) -> list[Seen]:
    """What is conspicuous in the two models of a seed; nothing of a biased one that does not need the mark."""
    architecture, source = list(ARCHITECTURES)[seed % 3], SOURCES[seed // 3 % 4]
    return [one for tied in (True, False) for one in _see(architecture, source, seed, tied=tied)]


def _see(architecture: str, source: Source, seed: int, *, tied: bool) -> Iterator[Seen]:
    torch.manual_seed(seed)
    model = ARCHITECTURES[architecture](source.classes, SIDE)
    lesson = samples(source, seed, 0, TRAINING, tied=tied)
    fit(model, lesson.images, lesson.labels, epochs=EPOCHS[architecture])
    test = samples(source, seed, 1, max(COUNTS), tied=tied)
    if tied and _fall(model, test, samples(source, seed, 1, max(COUNTS), tied=tied, bare=True)) < _RELIES:
        return
    known = source.name not in _WHOLE
    cases = [
        Case(image, mask=subject if known else None, target=int(label), id=str(number))
        for number, (image, label, subject) in enumerate(zip(test.images, test.labels, test.subjects, strict=True))
    ]
    audit = Explainer(model.eval()).audit(cases, ["overlap"])
    for count in COUNTS:
        found = audit.attention(images=count)
        marks = [np.mean([test.marked[int(name)] for name in each.cases]) >= _MOSTLY for each in found]
        hits = [each for each, mark in zip(found, marks, strict=True) if mark and tied and each.conspicuous]
        yield Seen(
            architecture,
            tied,
            known,
            count,
            bool(hits) and found[0] in hits,
            any(each.separated for each in hits),
            any(each.off_object for each in hits),
            len(found.conspicuous) - len(hits),
            bool(found.conspicuous),
        )


def _fall(model: nn.Module, test: Samples, bare: Samples) -> float:
    """The recall that the marked images lose without the mark."""
    with torch.no_grad():
        right = [(model(each.images).argmax(1) == each.labels).numpy()[test.marked] for each in (test, bare)]
    return float(right[0].mean() - right[1].mean())


def table(seen: Sequence[Seen]) -> Iterator[str]:
    yield (
        "| network | images | biased, clean | mark's cluster conspicuous: biased | first of all | separated | off the object | "
        "others conspicuous: biased | any conspicuous: clean |"
    )
    yield "| --- " * 9 + "|"
    for name in (*ARCHITECTURES, "all"):
        for count in COUNTS:
            own = [one for one in seen if name in (one.architecture, "all") and one.images == count]
            biased, clean = ([one for one in own if one.tied is tied] for tied in (True, False))
            cells = [
                f"{len(biased)}, {len(clean)}",
                _share([one.separated or one.off_object for one in biased]),
                _share([one.first for one in biased]),
                _share([one.separated for one in biased]),
                _share([one.off_object for one in biased if one.known]),
                _share([one.others > 0 for one in biased]),
                _share([one.accused for one in clean]),
            ]
            yield f"| {name} | {count} | {' | '.join(cells)} |"


def _share(flags: Sequence[bool]) -> str:
    return f"{sum(flags)} of {len(flags)}" if flags else "-"
