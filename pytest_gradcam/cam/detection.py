"""Why a detector found one object: the evidence for its score, read at the levels of its feature pyramid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from pytest_gradcam.cam.dense import ClassToFind, Dense, Leaves, check_input, not_finite, sum_levels, wide
from pytest_gradcam.cam.objects import Found
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.state.guard import forward
from pytest_gradcam.targets import Box

_ROUNDING = 16  # units in the last place: the gradient of a score this close to 1 is rounding error


def explain_box(
    model: nn.Module, image: Tensor, target: Box, wanted: ClassToFind, *, layer: str | None = None
) -> Dense:
    """The evidence for the score of the detection that best matches the target.

    `image` is a float tensor (C, H, W) in the detector's own range; `wanted` is the class of the target's label; `layer`
    the dotted name of a module to read instead of the backbone. The map is gradient times activation, summed over the
    levels of the feature pyramid. Grad-CAM averages the gradient over the image and so confuses two objects of one class;
    this does not. The caller holds the guard. Raises HeatmapError if no detection with the label overlaps the box with an
    IoU of 0.5 (it lists the nearest), and if the score or its gradient cannot be used.
    """
    return explain_boxes(model, image, [(target, wanted)], layer=layer)[0]


def explain_boxes(
    model: nn.Module, image: Tensor, asked: Sequence[tuple[Box, ClassToFind]], *, layer: str | None = None
) -> list[Dense]:
    """The same for several objects of one image, from one forward pass."""
    check_input(image)
    look = cache(lambda exact: detect(model, image.double() if exact else image, layer))
    return explain_found(look, asked, exact=image.device.type != "mps")


def explain_found(
    look: Callable[[bool], Pyramid], asked: Sequence[tuple[Box, ClassToFind]], *, exact: bool
) -> list[Dense]:
    """The same where `look` finds the objects, in float64 if its argument says so; `exact` says whether that is possible."""
    return [_explained(look, target, wanted, exact=exact) for target, wanted in asked]


def _explained(look: Callable[[bool], Pyramid], target: Box, wanted: ClassToFind, *, exact: bool) -> Dense:
    """The evidence for one object; a saturated score is looked at again in float64, where that is possible."""
    found = look(False)
    place = found.matching(target, wanted)
    if found.is_saturated(place) and exact:
        found = look(True)
        place = found.matching(target, wanted)
    if found.is_saturated(place):
        raise HeatmapError(
            f"the score of this detection, {float(found.scores[place]):.9g}, is saturated, so its gradient is "
            "only rounding error; expected less than 1. Check the range of the input, and the weights"
        )
    maps = found.leaves.maps(found.scores_with_grad[place])
    grid = sum_levels(list(maps.values()), found.filled)
    return Dense(grid.float().cpu().numpy(), float(found.scores[place]), int(found.labels[place]), "+".join(maps))


@dataclass(frozen=True)
class Pyramid(Found):
    """The detections, the leaves they come from, and the share of these that the image fills."""

    leaves: Leaves
    filled: tuple[float, float]

    def is_saturated(self, place: int) -> bool:
        return 1 - float(self.scores[place]) < _ROUNDING * torch.finfo(self.scores.dtype).eps


def detect(model: nn.Module, image: Tensor, layer: str | None = None) -> Pyramid:
    """What the detector finds in an image (C, H, W); `layer` is the module whose outputs become the leaves.

    The caller holds the guard. Raises HeatmapError for a model that is not a detector of torchvision.
    """
    named = torchvision_detector(model)
    if named is None:
        raise HeatmapError(
            f"{type(model).__name__} is not one of torchvision's detectors and contains none; expected one with a "
            "GeneralizedRCNNTransform and a backbone. For a classifier pass a class, for a segmenter a Region"
        )
    name, detector = named
    leaves = Leaves(model, layer or f"{name}.backbone".lstrip("."))
    with leaves.placed(), _watched(detector) as filled:
        # torchvision's box operators lack half precision on a CPU
        output = forward(_OneImage(model), wide(image))
    found = output[0] if isinstance(output, (list, tuple)) and len(output) == 1 else None
    if not isinstance(found, Mapping) or not {"boxes", "scores", "labels"} <= found.keys():
        raise HeatmapError(
            f"{type(model).__name__} does not work like torchvision's detectors; expected it to take a list of images "
            "and to return boxes, scores and labels for each"
        )
    sound = len(found["scores"]) and found["boxes"].isfinite().all()  # a NaN score is below every threshold
    hint = "" if sound else not_finite(model)
    return Pyramid(found["boxes"].detach(), found["scores"], found["labels"], hint, leaves, filled[-1])


def least_score(model: nn.Module) -> float:
    """The score below which the detector reports nothing."""
    named = torchvision_detector(model)
    own = None if named is None else named[1]
    return float(getattr(own, "score_thresh", getattr(getattr(own, "roi_heads", None), "score_thresh", 0.0)))


def torchvision_detector(model: nn.Module) -> tuple[str, nn.Module] | None:
    """The detector in the model and its dotted name."""
    for name, module in model.named_modules():
        if isinstance(getattr(module, "transform", None), GeneralizedRCNNTransform) and hasattr(module, "backbone"):
            return name, module
    return None


@contextmanager
def _watched(detector: nn.Module) -> Iterator[list[tuple[float, float]]]:
    """A `with` block that notes which share (of the height, of the width) of the backbone's input the image fills."""
    shares: list[tuple[float, float]] = []

    def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
        seen = output[0]
        (height, width), padded = seen.image_sizes[0], seen.tensors.shape
        shares.append((height / padded[-2], width / padded[-1]))

    handle = detector.get_submodule("transform").register_forward_hook(note)
    try:
        yield shares
    finally:
        handle.remove()


class _OneImage(nn.Module):
    """Makes a detector, which takes a list of images, take one image and compute in that image's dtype."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Any:
        tensors = [*self.model.named_parameters(), *self.model.named_buffers()]
        other = {name: t.to(image.dtype) for name, t in tensors if t.is_floating_point() and t.dtype != image.dtype}
        return functional_call(self.model, other, ([image],))
