"""pytorch-grad-cam's formulas, on activations and gradients that our engine captured."""

from __future__ import annotations

import warnings
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.backends import cuda

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.state.surroundings import random_states_kept
from pytest_gradcam.state.undo import later, undoing

FloatArray = NDArray[np.float32]

#: The methods whose formula is `mean_weighted`: FinerCAM is Grad-CAM of the score `finer`, ShapleyCAM is Grad-CAM with
#: `shapley_gradient` instead of the gradient.
MEAN_WEIGHTED = ("gradcam", "finercam", "shapleycam")
#: The other methods, with pytorch-grad-cam's class for each.
_CLASSES = {
    "gradcam++": "GradCAMPlusPlus",
    "gradcamelementwise": "GradCAMElementWise",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "xgradcam": "XGradCAM",
    "eigencam": "EigenCAM",
    "eigengradcam": "EigenGradCAM",
    "segeigencam": "SegEigenCAM",
    "kpcacam": "KPCA_CAM",
    "fem": "FEM",
    "randomcam": "RandomCAM",
}
#: All methods of this file, and those of them whose map depends on the target.
METHODS = (*MEAN_WEIGHTED, *_CLASSES)
NEEDS_GRADIENTS = frozenset(METHODS) - {"eigencam", "kpcacam", "fem", "randomcam"}

# These use NumPy's global generator: for RandomCAM's weights, and the start vector of kernel PCA's eigensolver.
_RANDOM = ("randomcam", "kpcacam")
_ATTENTION = ("math", "flash", "mem_efficient", "cudnn")  # PyTorch's backends, as its switches name them
_UNDECIDED = 0.05  # a correlation too weak to tell the sign
# Sums over channels that are smaller than these shares of the summands are rounding: measured, 1e-6 (bfloat16: 1e-3)
# where the summands cancel, and 1e-2 or more (their range: 5e-4) in networks where they do not.
_CANCELLED, _FLAT = 2e-3, 1e-4
_MOST_SIMILAR = 3  # classes FinerCAM compares with, as in the library


def mean_weighted(activations: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM's maps (n, h, w) of gradients (n, C, h, w), signed and not normalised (Selvaraju et al., ICCV 2017).

    `activations` are (n, C, h, w), or (1, C, h, w) if all gradients are of one image. This is the library's formula in
    PyTorch, in a quarter of the time.
    """
    weights = gradients.float().mean((2, 3), keepdim=True)
    return (weights * activations.float()).sum(1)


def grids(method: str, activations: FloatArray, gradients: FloatArray | None) -> FloatArray:
    """The class activation maps (B, h, w) of activations and gradients (B, C, h, w), signed and not normalised.

    Methods outside `NEEDS_GRADIENTS` ignore the gradients. Each map depends only on its own image and is the same, bit
    for bit, every time.
    """
    slopes = activations if gradients is None else gradients
    return np.stack([_grid(method, *pair) for pair in zip(activations, slopes, strict=True)])


def _grid(method: str, activations: FloatArray, gradients: FloatArray) -> FloatArray:
    if method not in _RANDOM:
        return _signed(method, activations, gradients)
    with random_states_kept():
        np.random.seed(0)
        return _signed(method, activations, gradients)


def _signed(method: str, activations: FloatArray, gradients: FloatArray) -> FloatArray:
    try:
        maps = _formula(_CLASSES[method]).get_cam_image(None, None, None, activations[None], gradients[None], False)
    except (ValueError, np.linalg.LinAlgError) as error:
        raise HeatmapError(
            f"{method} has no solution for these activations ({str(error).splitlines()[0]}); "
            "check whether they are all zero or very large, or use another method"
        ) from error
    grid = np.asarray(maps[0], np.float32)
    if method == "hirescam":
        _check_not_cancelled(grid, gradients * activations)
    if method in ("eigencam", "kpcacam"):
        return oriented(grid, activations)
    if method == "eigengradcam":
        return oriented(grid, gradients * activations)
    return grid


def _check_not_cancelled(grid: FloatArray, summands: FloatArray) -> None:
    if 0 < np.abs(grid).max() <= _CANCELLED * np.abs(summands).sum(0).max():
        raise HeatmapError(
            "hirescam is zero at this layer except for rounding: gradient times activation cancels out at each position, "
            "as it does where positions are read only through a LayerNorm (the last blocks of class-token "
            "transformers), and gradcam is blind there too; use that LayerNorm, or an earlier layer"
        )


def oriented(projection: FloatArray, summands: FloatArray) -> FloatArray:
    """The projection (h, w) on a principal component, with the sign that the decomposition leaves open.

    The sign makes it correlate positively with the sum over the channels of what was decomposed, `summands` (C, h, w):
    without centring, the component of non-negative activations has weights of one sign and grows with their sum. If
    that sum is flat, as after a LayerNorm, the larger extreme is made positive (Chung and Ying, Seg-Eigen-CAM, 2025).
    """
    total = summands.sum(0, dtype=np.float64)
    a, b = projection - projection.mean(dtype=np.float64), total - total.mean()
    agreement = float((a * b).sum())
    flat = np.ptp(total) <= _FLAT * np.abs(summands).sum(0).max()
    if flat or abs(agreement) <= _UNDECIDED * np.linalg.norm(a) * np.linalg.norm(b):
        agreement = float(projection.max() + projection.min())
    return -projection if agreement < 0 else projection


def finer(row: Tensor, index: int) -> Tensor:
    """The score of a class against its three most similar ones (Zhang et al., Finer-CAM, CVPR 2025).

    `row` are the logits (classes,) of one image; the most similar classes are those with the nearest logits. Raises
    HeatmapError if there is no other class.
    """
    target = _library("utils.model_targets").FinerWeightedTarget
    distances = (row.detach() - row[index].detach()).abs()
    nearest = [other for other in distances.argsort(stable=True).tolist() if other != index % len(row)]
    if not nearest:
        raise HeatmapError("finercam compares a class with others, but the model has only one; use another method")
    score: Tensor = target(index, nearest[:_MOST_SIMILAR], alpha=1)(row)
    return score


def differentiable_twice() -> undoing[None]:
    """A `with` block in which attention uses the one backend whose backward pass can be differentiated."""
    return undoing(_attend_plainly)


def _attend_plainly() -> None:
    for kind in _ATTENTION:
        later(partial(getattr(cuda, f"enable_{kind}_sdp"), getattr(cuda, f"{kind}_sdp_enabled")()))
    for kind in _ATTENTION:
        getattr(cuda, f"enable_{kind}_sdp")(kind == "math")


def shapley_gradient(total: Tensor, leaf: Tensor) -> Tensor | None:
    """The score's gradient at the leaf minus half of its Hessian times the leaf; None if there is no gradient.

    Grad-CAM's formula turns it into ShapleyCAM (Cai, CAMs as Shapley Value-based Explainers, 2025). Run the forward
    pass in `differentiable_twice`. Raises HeatmapError if the model has no second derivative.
    """
    gradient = torch.autograd.grad(total, leaf, create_graph=True, allow_unused=True)[0]
    if gradient is None or not gradient.requires_grad:  # the score is linear in the leaf
        return gradient
    try:
        curved = torch.autograd.grad(gradient, leaf, leaf.detach(), retain_graph=True, allow_unused=True)[0]
    except RuntimeError as error:
        raise HeatmapError(
            f"shapleycam needs second derivatives, and the model has none ({str(error).splitlines()[0]}); use gradcam"
        ) from error
    return gradient.detach() if curved is None else gradient.detach() - curved / 2


def constructed(kind: str) -> Any:
    """An instance of a pytorch-grad-cam class, used only for its formula: its model is a dummy without layers to hook."""
    with random_states_kept():
        return getattr(_library(), kind)(nn.LayerNorm(1), [])


_formula = cache(constructed)


def _library(part: str = "") -> Any:
    from importlib import import_module

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # import warnings of its dependencies do not concern the user
        return import_module(f"pytorch_grad_cam.{part}".rstrip("."))
