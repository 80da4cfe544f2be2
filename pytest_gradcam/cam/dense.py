"""What explaining detectors and segmenters has in common: gradients at the output of one module."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pytest_gradcam.cam import norms
from pytest_gradcam.cam.capture import replaced
from pytest_gradcam.cam.containers import tensors
from pytest_gradcam.cam.zeros import zeros_skipped
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


def tensors_of(found: Sequence[Dense]) -> list[Tensor]:
    """Each score and each map, to compare with those of another run."""
    return [torch.as_tensor(value, dtype=torch.float64) for one in found for value in (one.score, one.grid)]


class Leaves:
    """Leaves that replace the tensors (1, C, h, w) in what modules return, so that scores can be differentiated.

    If a module is called several times, those of its last call. `names` are their dotted names.
    """

    def __init__(self, model: nn.Module, *names: str) -> None:
        self._model = model
        known = [each for each, _ in model.named_modules() if each]
        for name in names:
            if name not in known:
                raise HeatmapError(
                    f"the model has no layer {name!r}{nearest(name, known) or '; see model.named_modules()'}"
                )
        self.names = names
        self._leaves: dict[str, Tensor] = {}

    @contextmanager
    def placed(self) -> Iterator[None]:
        """A `with` block in which a forward pass puts them in place."""
        handles = norms.watch(self._model)
        for name in self.names:
            handles.append(self._model.get_submodule(name).register_forward_hook(partial(self._put, name)))
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
        gradients: tuple[Tensor | None, ...] = ()
        if self._leaves and score.requires_grad:
            # One object of many: the rows of all others are zero.
            with zeros_skipped(score):
                leaves = list(self._leaves.values())
                gradients = torch.autograd.grad(score, leaves, retain_graph=True, allow_unused=True)
        maps = {
            key: (wide(gradient) * wide(leaf.detach())).sum(1)[0]
            for (key, leaf), gradient in zip(self._leaves.items(), gradients, strict=False)
            if gradient is not None and gradient.any()
        }
        if not maps:
            raise HeatmapError(
                f"the score, {float(score.detach()):.4g}, has no gradient at any (1, C, h, w) that "
                f"{' or '.join(self.names)} returns; expected a differentiable path. Choose another layer, and look for "
                "no_grad, detach or .item() after it"
            )
        for name, values in maps.items():
            if not values.isfinite().all():
                raise HeatmapError(
                    f"the activations or gradients at {name} hold NaN or infinite values; expected finite numbers. "
                    "Check the weights, and the range of the input"
                )
        return maps

    def _put(self, name: str, _module: nn.Module, _inputs: Any, output: Any) -> Any:
        self._leaves = {key: leaf for key, leaf in self._leaves.items() if key.partition("[")[0] != name}
        placed: dict[int, tuple[Tensor, Tensor]] = {}  # a tensor may be at several places
        for path, tensor in list(tensors(output)):
            if tensor.is_floating_point() and tensor.ndim == 4 and tensor.shape[0] == 1:
                _, leaf = placed.get(id(tensor), (tensor, None))
                if leaf is None:
                    leaf = tensor.detach().clone().requires_grad_()
                    placed[id(tensor)] = tensor, leaf
                    self._leaves[f"{name}[{'.'.join(map(str, path))}]" if path else name] = leaf
                # The next layer may work in place, which a leaf does not allow.
                output = replaced(output, path, partial(_copy_of, leaf))
        return output


def _copy_of(leaf: Tensor, _: Tensor) -> Tensor:
    return leaf.clone()


def sum_levels(maps: Sequence[Tensor], filled: tuple[float, float]) -> Tensor:
    """The maps (h, w) of several levels, resampled to the finest one's grid and summed, without the padding.

    The image fills the shares `filled` (of the height, of the width) of each map, from the upper left corner.
    """
    finest = max(maps, key=Tensor.numel)
    high, broad = filled
    size = [max(1, math.ceil(cells * share - 1e-6)) for cells, share in zip(finest.shape, filled, strict=True)]
    corner = finest.new_tensor([[[broad, 0, broad - 1], [0, high, high - 1]]])
    places = F.affine_grid(corner, [1, 1, *size], align_corners=False)
    parts = [F.grid_sample(one[None, None], places, padding_mode="border", align_corners=False) for one in maps]
    return torch.cat(parts).sum(0)[0]


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
