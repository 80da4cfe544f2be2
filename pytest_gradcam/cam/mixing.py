"""Whether the images of a batch affect each other's output, as in a batch norm without running statistics."""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor, nn

from pytest_gradcam.cam.outputs import per_image
from pytest_gradcam.cam.sites import tensors_in
from pytest_gradcam.cam.structure import anatomy
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.state.guard import forward

# How far a larger batch may change an output, as a share of its largest value.
_ROUNDING = {torch.float16: 5e-3, torch.bfloat16: 3e-2}
_CONTRAST = 10  # of the other image, in standard deviations of the first: enough to show in half precision
_OTHER_ROUNDING = 1e-3  # measured: at most 1e-5 in float32


class Mixing:
    """Remembers the answer by the model's structure; each new structure costs two forward passes."""

    def __init__(self) -> None:
        self._found: dict[Hashable, bool] = {}

    def of(self, model: nn.Module, inputs: Tensor) -> bool:
        """Whether the model's output for the first of the inputs (B, C, H, W) depends on the others in its batch.

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
        except HeatmapError:  # it does not take two images
            return True
        alone = per_image(forward(model, image), 0, 1)
    return any(_differ(one, other) for (_, one), (_, other) in zip(tensors_in(alone), tensors_in(beside), strict=False))


def _differ(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or not one.is_floating_point() or not one.numel():
        return False
    allowed = _ROUNDING.get(one.dtype, _OTHER_ROUNDING) * one.abs().max()
    return not bool((one - other).abs().max() <= allowed)  # NaN in a batch counts as different
