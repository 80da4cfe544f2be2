"""Why a segmenter sees a class in a region: the evidence for its logit there, from a layer that says more than the logit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pytest_gradcam.cam.dense import ClassToFind, Dense, Leaves, check_input, not_finite, sum_levels
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.state.guard import forward
from pytest_gradcam.targets import Region

_THE_LOGIT = 0.95  # a map that correlates more than this with the class's logit adds nothing to it
_LISTED = 5  # classes in an error
_TRUNKS, _HEADS = ("backbone", "encoder"), ("classifier", "segmentation_head", "decode_head")


def explain_region(
    model: nn.Module,
    inputs: Tensor,
    region: Region,
    wanted: ClassToFind,
    *,
    layer: str | None = None,
) -> Dense:
    """The evidence for a class's logit, summed over the mask, or without one over the pixels predicted as that class.

    `inputs` is a float tensor (C, H, W) that is ready for the model, which returns logits (1, classes, h, w); the region's
    mask is bool (H, W), `wanted` the class of its label; `layer` is the dotted name of a module to read. The map is
    gradient times activation at the backbone's output or, while the map only repeats the class's logit (|r| > 0.95), at
    an earlier part of the backbone. Unlike Grad-CAM, which averages the gradient, it keeps the region's position. The
    caller holds the guard. Raises HeatmapError if the class does not exist, if the region is empty, and if the logits
    or their gradient cannot be used.
    """
    check_input(inputs)
    place = layer or _backbone(model)
    seen = _look(model, inputs, place)
    assert wanted.index is not None, "a Region has a label"
    label = class_within(wanted.index, seen.logits)
    pixels = region_pixels(seen.logits, label, region, wanted)
    best = _read(seen, label, pixels)
    # Earlier parts of a trunk whose levels are all read do not carry all evidence.
    for name in () if layer or "+" in best.layer else _earlier(model, place):
        if best.likeness <= _THE_LOGIT:
            break
        with suppress(HeatmapError):  # layers that cannot be read are skipped
            best = min(best, _read(_look(model, inputs, name), label, pixels), key=lambda reading: reading.likeness)
    return Dense(best.grid, best.score, label, best.layer)


@dataclass(frozen=True)
class _Seen:
    """The logits (classes, H, W) for one image, and the leaves they come from."""

    logits: Tensor
    leaves: Leaves


@dataclass(frozen=True)
class _Reading:
    """A map and its likeness to the class's logit: the larger |r|, over the image or with the rest set to 0."""

    grid: NDArray[np.float32]
    layer: str
    score: float
    likeness: float


def _look(model: nn.Module, inputs: Tensor, name: str) -> _Seen:
    leaves = Leaves(model, name)
    with leaves.placed():
        output = forward(model, inputs[None])
    return _Seen(dense_logits(model, output, inputs), leaves)


def _read(seen: _Seen, label: int, region: Tensor) -> _Reading:
    """The maps of all leaves with a gradient, summed: what skips a deeper one is evidence too."""
    logit = seen.logits[label].float()
    score = logit[region].sum()
    maps = seen.leaves.maps(score)
    values, *more = maps.values()
    if more:
        finest = max(map(Tensor.numel, maps.values()))
        # A coarse cell's evidence is spread over the fine ones that it covers.
        values = sum_levels([one * (one.numel() / finest) for one in maps.values()], (1.0, 1.0))
    known = torch.stack([logit.detach(), logit.detach() * region])
    height, width = values.shape
    likeness = max(_correlation(values, one) for one in F.adaptive_avg_pool2d(known, (height, width)))
    return _Reading(values.float().cpu().numpy(), "+".join(maps), float(score.detach()), likeness)


def _correlation(values: Tensor, other: Tensor) -> float:
    """|r|; 1 for constant values, which say nothing either."""
    a, b = values.double() - values.double().mean(), other.double() - other.double().mean()
    if not a.any():
        return 1.0
    return float((a * b).sum().abs() / (a.norm() * b.norm()).clamp_min(1e-30))


def region_pixels(logits: Tensor, label: int, region: Region, wanted: ClassToFind) -> Tensor:
    """The region (H, W) on the logits' device."""
    size, mask = tuple(logits.shape[1:]), region.mask
    if mask is None:
        predicted = logits.argmax(0)
        found = logits[label] > 0 if wanted.multi else predicted == label
        if not found.any():
            raise HeatmapError(
                f"no pixel is predicted as {region.label!r}; expected some, since the region has no mask. Predicted: "
                f"{_predicted(predicted, wanted.name_of)}. Pass Region({region.label!r}, mask) to explain the logit elsewhere"
            )
        return found
    if mask.shape != size or mask.dtype != np.bool_:
        raise HeatmapError(f"the region's mask is {mask.dtype} {mask.shape}; expected bool {size}, like the image")
    if not mask.any():
        raise HeatmapError("the region's mask has no pixel; check how it was made")
    return torch.tensor(mask, device=logits.device)


def _predicted(predicted: Tensor, name_of: Callable[[int], str]) -> str:
    classes, counts = predicted.unique(return_counts=True)
    order = counts.argsort(descending=True)[:_LISTED].tolist()
    return ", ".join(f"{name_of(int(classes[i]))!r} at {100 * int(counts[i]) / predicted.numel():.3g} %" for i in order)


def dense_logits(model: nn.Module, output: object, inputs: Tensor) -> Tensor:
    """The logits (classes, H, W) at the input's size."""
    found = output
    if not isinstance(found, Tensor) or found.ndim != 4 or found.shape[0] != 1:
        shape = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"type {type(found).__name__}"
        raise HeatmapError(
            f"{type(model).__name__} returns an output of {shape}; expected logits (1, classes, H, W), bare or under 'out'"
        )
    if not found.isfinite().all():
        raise HeatmapError(
            f"the logits hold NaN or infinite values; expected finite numbers{not_finite(model)}. Check the weights, and the "
            "range of the input"
        )
    if found.shape[2:] != inputs.shape[1:]:
        found = F.interpolate(found, size=inputs.shape[1:], mode="bilinear", align_corners=False)
    return found[0]


def class_within(index: int, logits: Tensor) -> int:
    if not -len(logits) <= index < len(logits):
        raise HeatmapError(
            f"the class {index} is out of range; expected an index from 0 to {len(logits) - 1}, "
            "since that is how many classes the model segments"
        )
    return index % len(logits)


def _backbone(model: nn.Module) -> str:
    """The dotted name of the part that makes the features, beside a head that classifies their places."""
    for name, module in model.named_modules():
        children = [child for child, _ in module.named_children()]
        if any(head in children for head in _HEADS):
            for trunk in (*_TRUNKS, getattr(module, "base_model_prefix", "")):  # the last of transformers
                if trunk in children:
                    return f"{name}.{trunk}".lstrip(".")
    raise HeatmapError(
        f"{type(model).__name__} is not built like a segmenter of torchvision, segmentation_models_pytorch or transformers; "
        f"expected a part {' or '.join(_TRUNKS)} beside one of {', '.join(_HEADS)}. Name a layer to read it at, or explain a "
        "classifier by its class and a detector by a Box"
    )


def _earlier(model: nn.Module, backbone: str) -> Iterator[str]:
    """The parts of the backbone, deepest first."""
    children = [name for name, _ in model.get_submodule(backbone).named_children()]
    return (f"{backbone}.{child}" for child in reversed(children))
