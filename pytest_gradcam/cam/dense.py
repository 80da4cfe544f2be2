"""What is explained in detectors and segmenters, and what both need: leaves in place of what a module returns."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.settings import nearest


@dataclass(frozen=True)
class Box:
    """One object that a detector finds: the detection with this label that matches this box best.

    `label` is a class name or an index, None for any; `box` is (x0, y0, x1, y1) in pixels of the image that is passed,
    kept as floats. Raises HeatmapError for what is no such box.
    """

    label: str | int | None
    box: tuple[float, float, float, float]

    def __post_init__(self) -> None:
        try:
            edges = tuple(float(edge) for edge in self.box)
        except (TypeError, ValueError):
            edges = ()
        if len(edges) != 4 or not all(map(math.isfinite, edges)) or edges[0] >= edges[2] or edges[1] >= edges[3]:
            raise HeatmapError(
                f"box={self.box!r} is no box; expected four numbers (x0, y0, x1, y1) with x0 < x1 and y0 < y1, "
                "in pixels of the image that is passed"
            )
        object.__setattr__(self, "box", edges)


@dataclass(frozen=True, eq=False)  # a mask is an array, which has no truth value to compare by
class Region:
    """One class in a region of the image, as a segmenter sees it.

    `label` is a class name or an index; `mask` is the region in the coordinates of the image that is passed, by
    default all pixels that are predicted as that class. Two regions are equal only if they are the same object.
    """

    label: str | int
    mask: Any = None


@dataclass(frozen=True)
class Dense:
    """The evidence for one object or region in one image.

    `grid` float32 (h, w), signed and not normalised, covers the image that was passed, and nothing but it; `score` is
    the explained scalar; `label` the class's index; `layer` where the grid was read, several levels joined by "+";
    `method` the formula.
    """

    grid: NDArray[np.float32]
    score: float
    label: int
    layer: str
    method: str = "hirescam"


class Leaves:
    """Leaves in place of what one module returns, a tensor or a mapping of tensors, from which scores are differentiated.

    Of several calls the last one's are kept. `name` is the module's dotted name.
    """

    def __init__(self, model: nn.Module, name: str) -> None:
        names = [known for known, _ in model.named_modules() if known]
        if name not in names:
            raise HeatmapError(
                f"the model has no layer {name!r}{nearest(name, names) or '; see model.named_modules()'}"
            )
        self.name = name
        self._module = model.get_submodule(name)
        self._leaves: dict[str, Tensor] = {}

    @contextmanager
    def placed(self) -> Iterator[None]:
        """Inside, a forward pass leaves them here."""
        handle = self._module.register_forward_hook(self._put)
        try:
            yield
        finally:
            handle.remove()

    def maps(self, score: Tensor) -> dict[str, Tensor]:
        """Gradient times activation, summed over the channels: (h, w), in at least float32, by the name of its place.

        This is HiResCAM (Draelos and Carin, 2020). Raises HeatmapError where nothing of the form (1, C, h, w) has a
        gradient other than zero, and where a factor is NaN or infinite.
        """
        spatial = {key: leaf for key, leaf in self._leaves.items() if leaf.ndim == 4 and leaf.shape[0] == 1}
        gradients: tuple[Tensor | None, ...] = ()
        if spatial and score.requires_grad:
            gradients = torch.autograd.grad(score, list(spatial.values()), retain_graph=True, allow_unused=True)
        maps = {
            f"{self.name}[{key}]" if key else self.name: (wide(gradient) * wide(leaf.detach())).sum(1)[0]
            for (key, leaf), gradient in zip(spatial.items(), gradients, strict=False)
            if gradient is not None and gradient.any()
        }
        if not maps:
            raise HeatmapError(
                f"the score, {float(score.detach()):.4g}, has no gradient at any (1, C, h, w) that {self.name} returns; "
                "expected a differentiable path. Choose another layer, and look for no_grad, detach or .item() after it"
            )
        for name, values in maps.items():
            if not values.isfinite().all():
                raise HeatmapError(
                    f"the activations or gradients at {name} hold NaN or infinite values; expected finite numbers. "
                    "Check the weights, and the range of the input"
                )
        return maps

    def _put(self, _module: nn.Module, _inputs: Any, output: Any) -> Any:
        parts = dict(output) if isinstance(output, Mapping) else {"": output}
        if not all(isinstance(part, Tensor) and part.is_floating_point() for part in parts.values()):
            return None
        self._leaves = {str(key): part.detach().clone().requires_grad_() for key, part in parts.items()}
        # The next layer may work in place, which a leaf does not allow.
        copies = {key: self._leaves[str(key)].clone() for key in parts}
        return OrderedDict(copies) if isinstance(output, Mapping) else copies[""]


def wide(tensor: Tensor) -> Tensor:
    """The tensor in at least float32."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def check_input(image: Tensor) -> None:
    """Raises HeatmapError for what is no finite float tensor (C, H, W)."""
    if image.ndim != 3 or not image.is_floating_point() or image.numel() == 0:
        raise HeatmapError(
            f"a {image.dtype} tensor of shape {tuple(image.shape)} is no image; expected a float tensor (C, H, W)"
        )
    if not image.isfinite().all():
        raise HeatmapError("the image holds NaN or infinite values; expected finite numbers. Check how it was made")


def not_finite(model: nn.Module) -> str:
    """Where the model holds NaN or infinite weights, as the end of a message; empty if nowhere."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point() and not tensor.isfinite().all():
            return f"; the weights at {name} hold NaN or infinite values"
    return ""
