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

#: The methods whose formula is `mean_weighted`. FinerCAM is Grad-CAM of the score that `finer` makes, ShapleyCAM is
#: Grad-CAM with what `shapley_gradient` gives in place of the gradient.
MEAN_WEIGHTED = ("gradcam", "finercam", "shapleycam")
#: Each other method and the class that holds its formula.
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
#: The methods of this file, and those among them whose map depends on the target.
METHODS = (*MEAN_WEIGHTED, *_CLASSES)
NEEDS_GRADIENTS = frozenset(METHODS) - {"eigencam", "kpcacam", "fem", "randomcam"}

# They draw from NumPy's global generator: the weights of RandomCAM, the start vector of kernel PCA's eigensolver.
_RANDOM = ("randomcam", "kpcacam")
_ATTENTION = ("math", "flash", "mem_efficient", "cudnn")  # the ways to compute it, by PyTorch's names of their switches
_UNDECIDED = 0.05  # a correlation that tells no sign
# Sums over channels that are smaller than these shares of the summands are rounding: measured, 1e-6 (bfloat16: 1e-3)
# where the summands cancel, and 1e-2 or more (their range: 5e-4) in networks where they do not.
_CANCELLED, _FLAT = 2e-3, 1e-4
_MOST_SIMILAR = 3  # classes that FinerCAM compares with, as in the library


def mean_weighted(activations: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM's maps (n, h, w) of gradients (n, C, h, w), signed and not normalised (Selvaraju et al., ICCV 2017).

    `activations` are (n, C, h, w), or (1, C, h, w) of the one image of all gradients. The library's formula on PyTorch's
    threads, in a fourth of the time.
    """
    weights = gradients.float().mean((2, 3), keepdim=True)
    return (weights * activations.float()).sum(1)


def grids(method: str, activations: FloatArray, gradients: FloatArray | None) -> FloatArray:
    """The class activation maps (B, h, w) of activations and gradients (B, C, h, w), signed and not normalised.

    Methods that are not in `NEEDS_GRADIENTS` do not look at the gradients. Each map depends on its own image only,
    and is the same, bit for bit, every time.
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
            "look whether they are all zero or very large, or use another method"
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
            "hirescam is zero at this layer but for rounding: gradient times activation cancels out at each position, "
            "as it does where positions are read through a LayerNorm only (the last blocks of class-token "
            "transformers), and gradcam is blind there too; take that LayerNorm, or an earlier layer"
        )


def oriented(projection: FloatArray, summands: FloatArray) -> FloatArray:
    """The projection (h, w) on a principal component, whose sign means nothing, or its negative.

    It is the one that correlates with the sum over the channels of what was decomposed, `summands` (C, h, w): without
    centring, the component of non-negative activations has weights of one sign and grows with their sum. Where that
    is flat, as after a LayerNorm, the one whose larger extreme is positive (Chung and Ying, Seg-Eigen-CAM, 2025).
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

    `row` are the logits (classes,) of one image; similar are the classes with the nearest logits. Raises HeatmapError
    where there is no other class.
    """
    target = _library("utils.model_targets").FinerWeightedTarget
    distances = (row.detach() - row[index].detach()).abs()
    nearest = [other for other in distances.argsort(stable=True).tolist() if other != index % len(row)]
    if not nearest:
        raise HeatmapError("finercam compares a class with others and the model has one; use another method")
    score: Tensor = target(index, nearest[:_MOST_SIMILAR], alpha=1)(row)
    return score


def differentiable_twice() -> undoing[None]:
    """A `with` block: attention runs in the one way whose backward pass can itself be differentiated."""
    return undoing(_attend_plainly)


def _attend_plainly() -> None:
    for kind in _ATTENTION:
        later(partial(getattr(cuda, f"enable_{kind}_sdp"), getattr(cuda, f"{kind}_sdp_enabled")()))
    for kind in _ATTENTION:
        getattr(cuda, f"enable_{kind}_sdp")(kind == "math")


def shapley_gradient(total: Tensor, leaf: Tensor) -> Tensor | None:
    """The gradient of the score at the leaf, less half of its Hessian times the leaf; None if it has no gradient.

    Grad-CAM's formula makes ShapleyCAM of it (Cai, CAMs as Shapley Value-based Explainers, 2025). The forward pass
    runs in `differentiable_twice`. Raises HeatmapError if the model has no second derivative.
    """
    gradient = torch.autograd.grad(total, leaf, create_graph=True, allow_unused=True)[0]
    if gradient is None or not gradient.requires_grad:  # of a score that is linear in the leaf
        return gradient
    try:
        curved = torch.autograd.grad(gradient, leaf, leaf.detach(), retain_graph=True, allow_unused=True)[0]
    except RuntimeError as error:
        raise HeatmapError(
            f"shapleycam needs second derivatives and the model has none ({str(error).splitlines()[0]}); use gradcam"
        ) from error
    return gradient.detach() if curved is None else gradient.detach() - curved / 2


def constructed(kind: str) -> Any:
    """An instance of a class of pytorch-grad-cam for its formula alone, around a model with nothing to hook or to change."""
    with random_states_kept():
        return getattr(_library(), kind)(nn.LayerNorm(1), [])


_formula = cache(constructed)


def _library(part: str = "") -> Any:
    from importlib import import_module

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what its dependencies warn of at import is not the user's concern
        return import_module(f"pytorch_grad_cam.{part}".rstrip("."))
