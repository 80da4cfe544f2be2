"""The score of a target that is not a class, in an image and in changed versions of it: what interventions measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pytest_gradcam.cam.chance import floats_in
from pytest_gradcam.cam.dense import ClassToFind
from pytest_gradcam.cam.detectors import find, least_score
from pytest_gradcam.cam.output_kind import OutputReader
from pytest_gradcam.cam.placed import box_in_view, class_to_find, region_in_view
from pytest_gradcam.cam.segmentation import class_within, dense_logits, region_pixels
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence.record import Subject
from pytest_gradcam.inputs.reader import Input, stack
from pytest_gradcam.state.forward_only import PART, require_insides
from pytest_gradcam.state.guard import forward, untouched
from pytest_gradcam.targets import Box, Region, Target, Value, class_index

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
_LEFT = 0.25  # share of a region that changed pixels must leave over: else they are part of what is asked about


@dataclass(frozen=True)
class TargetScore:
    """A target's score in one image: `value`, and by how much it `falls` (N,) in N changed versions of the image.

    `unit` is what a fall is measured in, and `unit_said` what that is; None where only other images can say. `noun` is what the
    score is called, and where `two_sided` a rise counts like a fall.
    """

    subject: Subject
    value: float
    falls: Callable[[Sequence[Input]], Floats]
    unit: float | None = None
    unit_said: str = ""
    noun: str = "score"
    two_sided: bool = False


class _Scores(Protocol):
    def scores(self, images: Sequence[Any], target: Target = None) -> Floats: ...


def target_scores(
    engine: _Scores, network: nn.Module, outputs: OutputReader, ready: Sequence[Input], targets: Sequence[Target]
) -> list[TargetScore]:
    """One for each image and its target: a Box, a Region, a Value or another callable.

    Raises HeatmapError for a target that the model does not find in its image, and for scores that are not finite.
    """
    found: dict[int, TargetScore] = {}
    for place, (one, target) in enumerate(zip(ready, targets, strict=True)):
        if isinstance(target, Box):
            found[place] = _of_box(network, outputs, one, target)
        elif isinstance(target, Region):
            found[place] = _of_region(network, outputs, one, target)
    functions = [target for place, target in enumerate(targets) if place not in found]
    for function in {id(each): each for each in functions}.values():
        places = [place for place, target in enumerate(targets) if target is function]
        values = _finite(engine.scores([ready[place] for place in places], function), function)
        found.update({k: _of_value(engine, function, value) for k, value in zip(places, values.tolist(), strict=True)})
    return [found[place] for place in range(len(ready))]


def _of_value(engine: _Scores, function: Any, value: float) -> TargetScore:
    unit = function.unit if isinstance(function, Value) else None
    name = getattr(function, "__name__", type(function).__name__)
    return TargetScore(
        Subject(target=name, score=value),
        value,
        lambda images: value - _finite(engine.scores(images, function), function),
        unit=None if unit is None else float(unit),
        unit_said="" if unit is None else f"{unit:g}, as the test says",
        two_sided=True,
    )


def _finite(values: Floats, function: Any) -> Floats:
    if not np.isfinite(values).all():
        raise HeatmapError(f"the target {function!r:.80} returned NaN or an infinite value; check the weights")
    return values


def _of_box(network: nn.Module, outputs: OutputReader, one: Input, target: Box) -> TargetScore:
    require_insides(network, "a Box", otherwise=PART)
    names = outputs.names
    wanted, view = class_to_find(target, names), box_in_view(target, one)
    with untouched(network), torch.no_grad():
        image = stack([one], network)[0]
        outputs.require_steady("objects", network, lambda: find(network, image).tensors)
        found = outputs.steadily(network, partial(find, network, image), lambda found: found.tensors)
        place, least = found.matching(view, wanted), least_score(network)
    label, score = int(found.labels[place]), float(found.scores[place])
    if score < 2 * least:
        raise HeatmapError(
            f"the score of this detection is {score:.2f}, and the detector reports none below {least:.2g}: so near to that it "
            "may disappear at any change. Lower the detector's score threshold, or name a detection with a score of at least "
            f"{2 * least:.2g}"
        )

    def falls(images: Sequence[Input]) -> Floats:
        again = partial(_score_of_box, network, outputs, found.boxes[place], label)
        return score - np.array(list(map(again, images)))

    subject = Subject(target=names.name(label), target_index=label, score=score)
    said = f"the detection's own score, {score:.3g}: at 1 it is not found any more"
    return TargetScore(subject, score, falls, unit=score, unit_said=said)


def _score_of_box(network: nn.Module, outputs: OutputReader, box: Tensor, label: int, image: Input) -> float:
    with untouched(network), torch.no_grad():
        ready = stack([image], network)[0]
        return outputs.steadily(
            network,
            lambda: find(network, ready).again(box, label),
            lambda score: [torch.tensor(score, dtype=torch.float64)],
        )


def _of_region(network: nn.Module, outputs: OutputReader, one: Input, target: Region) -> TargetScore:
    names, region = outputs.names, region_in_view(target, one)
    segmenter = _Segmenter(network, outputs)
    logits = segmenter.logits(one)
    label = class_within(class_index(target.label, names), logits)
    wanted = ClassToFind(label, names.name, multi=segmenter.multi)
    pixels = region_pixels(logits, label, region, wanted).cpu().numpy()
    lead, best = segmenter.leads(logits, label)
    unit, score = float(best[pixels].mean()), float(lead[pixels].mean())
    if not unit > 1e-6 * float(logits.abs().max()):
        raise HeatmapError(
            "the model scores its best two classes the same in the whole region, so there is nothing that pixels could move; "
            "check the weights"
        )

    def falls(images: Sequence[Input]) -> Floats:
        found = []
        for image in images:
            after = segmenter.leads(segmenter.logits(image), label)[0]
            counted = _left(pixels, (image.pixels != one.pixels).any(axis=0))
            found.append(float(lead[counted].mean() - after[counted].mean()))
        return np.array(found)

    how_far = "the class's logit is from 0" if segmenter.multi else "the first class leads over the second"
    said = f"{unit:.3g} of logit: how far {how_far}, the mean over the {int(pixels.sum())} pixels of the region"
    subject = Subject(target=names.name(label), target_index=label, score=score)
    return TargetScore(subject, score, falls, unit=unit, unit_said=said, noun="margin")


def _left(region: Bools, changed: Bools) -> Bools:
    """The pixels of the region that count: those left as they were, or all of it where that is less than a quarter.

    What is replaced inside the region is another object there: only the rest can say whether it was needed.
    """
    kept = region & ~changed
    return kept if kept.sum() >= _LEFT * region.sum() else region


@dataclass(frozen=True)
class _Segmenter:
    """A segmenter as what it makes of single images, one class against the others at each pixel."""

    network: nn.Module
    outputs: OutputReader

    def logits(self, one: Input) -> Tensor:
        """(classes, H, W), in the size of the view."""
        with untouched(self.network), torch.no_grad():
            inputs = stack([one], self.network)
            with self.outputs.reading(self.network, inputs, dense=True):
                output = self.outputs.steadily(self.network, partial(forward, self.network, inputs), floats_in)
                return dense_logits(self.network, output, inputs[0])

    @property
    def multi(self) -> bool:
        """Whether the classes do not compete; known after the first image."""
        return self.outputs.last is not None and self.outputs.last.multi

    def leads(self, logits: Tensor, label: int) -> tuple[Floats, Floats]:
        """The margin (H, W) of the class at each pixel, and how clear the decision is there."""
        values = logits.double()
        if self.multi:
            own = values[label]
            return own.cpu().numpy(), own.abs().cpu().numpy()
        best = values.topk(2, dim=0).values
        rivals = torch.where(values.argmax(0) == label, best[1], best[0])
        return (values[label] - rivals).cpu().numpy(), (best[0] - best[1]).cpu().numpy()
