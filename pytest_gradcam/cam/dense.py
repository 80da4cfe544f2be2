"""What explaining detectors and segmenters has in common: gradients at the output of one module."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pytest_gradcam.cam import norms
from pytest_gradcam.cam.capture import zeros_skipped
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.validation import nearest


@dataclass(frozen=True)
class ClassToFind:
    """The class of a Box or Region: its index, None for any, and how to name classes in errors.

    `multi` says that a class is predicted wherever its own logit is above 0, since classes do not compete.
    """

    index: int | None
    name_of: Callable[[int], str] = str
    multi: bool = False


@dataclass(frozen=True)
class Dense:
    """The evidence for one object or region in one image.

    `grid` float32 (h, w), signed and not normalised, covers exactly the image that was passed; `score` is
    the explained scalar; `label` the class's index; `layer` where the grid was read, several levels joined by "+";
    `method` the formula.
    """

    grid: NDArray[np.float32]
    score: float
    label: int
    layer: str
    method: str = "hirescam"


class Leaves:
    """Leaves that replace what one module returns, a tensor or a mapping of tensors, so that scores can be differentiated.

    If the module is called several times, those of its last call. `name` is its dotted name.
    """

    def __init__(self, model: nn.Module, name: str) -> None:
        self._model = model
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
        """A `with` block in which a forward pass puts them in place."""
        handles = [*norms.watch(self._model), self._module.register_forward_hook(self._put)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def maps(self, score: Tensor) -> dict[str, Tensor]:
        """Gradient times activation summed over the channels, (h, w) in at least float32, keyed by the name of its layer.

        This is HiResCAM (Draelos and Carin, 2020). Raises HeatmapError if no tensor (1, C, h, w) has a gradient other
        than zero, and for NaN and infinite values.
        """
        spatial = {key: leaf for key, leaf in self._leaves.items() if leaf.ndim == 4 and leaf.shape[0] == 1}
        gradients: tuple[Tensor | None, ...] = ()
        if spatial and score.requires_grad:
            # One object of many: the rows of all others are zero.
            with zeros_skipped(score):
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
    """The tensor in float32, or in float64 if it is in that."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def check_input(image: Tensor) -> None:
    """Raises HeatmapError unless the image is a finite float tensor (C, H, W)."""
    if image.ndim != 3 or not image.is_floating_point() or image.numel() == 0:
        raise HeatmapError(
            f"a {image.dtype} tensor of shape {tuple(image.shape)} is not an image; expected a float tensor (C, H, W)"
        )
    if not image.isfinite().all():
        raise HeatmapError("the image holds NaN or infinite values; expected finite numbers. Check how it was made")


def not_finite(model: nn.Module) -> str:
    """The end of a message that names the first NaN or infinite weights; empty if all are finite."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point() and not tensor.isfinite().all():
            return f"; the weights at {name} hold NaN or infinite values"
    return ""
