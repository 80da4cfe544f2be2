"""Whether the images of a batch change each other's output, as a batch norm without running statistics has it."""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor, nn

from pytest_gradcam.cam.outputs import per_image
from pytest_gradcam.cam.sites import tensors_in
from pytest_gradcam.cam.structure import anatomy
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.state.guard import forward

_ROUNDING = {torch.float16: 5e-3, torch.bfloat16: 3e-2}  # by which a larger batch may change an output, of its largest
_CONTRAST = 10  # of the neighbour, in standard deviations of the image: it shows also where half precision rounds
_OTHER_ROUNDING = 1e-3  # measured: at most 1e-5 in float32


class Mixing:
    """What was found out about models so far, by their structure: two forward passes for each that is new."""

    def __init__(self) -> None:
        self._found: dict[Hashable, bool] = {}

    def of(self, model: nn.Module, inputs: Tensor) -> bool:
        """Whether the model's output for the first input (B, C, H, W) depends on what stands beside it.

        The caller holds the guard.
        """
        buffers = tuple(tuple((name, b is None) for name, b in module._buffers.items()) for module in model.modules())
        key = (anatomy(model), buffers)
        if key not in self._found:
            self._found[key] = _mixes(model, inputs[:1])
        return self._found[key]


def _mixes(model: nn.Module, image: Tensor) -> bool:
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0)).to(image)
    with torch.no_grad():
        try:
            beside = per_image(forward(model, torch.cat([image, image.mean() + _CONTRAST * image.std() * noise])), 0, 2)
        except HeatmapError:  # it takes no two images
            return True
        alone = per_image(forward(model, image), 0, 1)
    return any(_differ(one, other) for (_, one), (_, other) in zip(tensors_in(alone), tensors_in(beside), strict=False))


def _differ(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or not one.is_floating_point() or not one.numel():
        return False
    allowed = _ROUNDING.get(one.dtype, _OTHER_ROUNDING) * one.abs().max()
    return not bool((one - other).abs().max() <= allowed)  # NaN beside another image counts
