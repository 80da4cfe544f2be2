"""The maps of one batch, by a formula on captured tensors or by a method that runs the model itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pytest_gradcam.cam import formulas, masked_scores, model_methods
from pytest_gradcam.cam.capture import Captured, capture, gradient
from pytest_gradcam.cam.masked_scores import MaskedScores
from pytest_gradcam.cam.method import Method
from pytest_gradcam.cam.occlusion import occlusion
from pytest_gradcam.cam.outputs import Goal, class_row, class_seeds, per_image
from pytest_gradcam.cam.rise import rise
from pytest_gradcam.cam.sites import Site
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.state.guard import forward
from pytest_gradcam.state.tensors import all_finite


@dataclass(frozen=True)
class Maps:
    """For n goals: their signed maps (n, h, w), the model's outputs for their images, and the scores explained.

    `resampled` are bootstrap replicates, n times (K, h, w), of maps that are estimates; empty for those that are not.
    """

    grids: NDArray[np.float32]
    outputs: list[Any]
    scores: list[Tensor]
    resampled: Sequence[NDArray[np.float32]] = ()

    def to_compare(self) -> list[Tensor]:
        """Each score and each map, to compare with those of another run."""
        return [each.detach().double() for each in (*self.scores, *torch.from_numpy(self.grids))]

    def each(self) -> Iterator[tuple[Any, Tensor, NDArray[np.float32], Sequence[NDArray[np.float32]]]]:
        """Output, score, map and replicates (K, h, w) for each goal."""
        resampled: Sequence[Any] = self.resampled or [()] * len(self.grids)
        return zip(self.outputs, self.scores, self.grids, resampled, strict=True)


def make(model: nn.Module, inputs: Tensor, site: Site, goals: Sequence[Goal], method: Method) -> Maps:
    """The maps of inputs (B, C, H, W), one goal each, or of one image (1, C, H, W) for all goals.

    The caller holds the guard. Raises HeatmapError for NaN or infinite values, and names the first module that gave one.
    """
    if not method.needs_layer:
        return _by_scores(model, inputs, goals, method)
    name = method.name
    with formulas.differentiable_twice() if name == "shapleycam" else nullcontext():
        captured = capture(model, inputs, site)
    one_image = len(inputs) == 1
    outputs = [per_image(captured.output, i, len(inputs)) for i in range(len(inputs))]
    outputs = outputs * len(goals) if one_image else outputs
    scores = [goal.score(output) for goal, output in zip(goals, outputs, strict=True)]
    _check_finite(model, inputs, site, activations=captured.activations, scores=torch.stack(scores).detach())
    if name in model_methods.METHODS:
        settled = [goal.settled(output).score for goal, output in zip(goals, outputs, strict=True)]
        each = inputs.expand(len(goals), *inputs.shape[1:])
        return Maps(model_methods.grids(method, model, each, site, settled), outputs, scores)
    explained = [_finer(*pair) for pair in zip(goals, outputs, strict=True)] if name == "finercam" else scores
    slopes = None
    if name in formulas.NEEDS_GRADIENTS:
        gradients = _gradients(captured, goals, explained, method)
        _check_finite(model, inputs, site, gradients=gradients)
        if name in formulas.MEAN_WEIGHTED:
            return Maps(_array(formulas.mean_weighted(captured.activations, gradients)), outputs, scores)
        slopes = _array(gradients)
    activations = _array(captured.activations)
    each_activations = np.broadcast_to(activations, (len(goals), *activations.shape[1:]))
    return Maps(formulas.grids(name, each_activations, slopes), outputs, scores)


def _by_scores(model: nn.Module, inputs: Tensor, goals: Sequence[Goal], method: Method) -> Maps:
    groups: list[tuple[Tensor, Sequence[Goal]]] = [(inputs, goals)]
    if len(inputs) > 1:
        groups = [(image, [goal]) for image, goal in zip(inputs.split(1), goals, strict=True)]
    with torch.no_grad():
        parts = [
            _from_scores(masked_scores.of_image(model, image, asked, method.batch_size), method)
            for image, asked in groups
        ]
    return Maps(
        np.concatenate([part.grids for part in parts]),
        [output for part in parts for output in part.outputs],
        [score for part in parts for score in part.scores],
        [each for part in parts for each in part.resampled],
    )


def _from_scores(scored: MaskedScores, method: Method) -> Maps:
    if not all_finite(torch.stack(scored.scores)):
        raise HeatmapError(
            "the scores of the model are NaN or infinite; check the weights, and the range that the preprocess gives"
        )
    resampled: Sequence[NDArray[np.float32]] = ()
    if method.name == "rise":
        grids, replicates = rise(scored, method.rise_masks)
        resampled = list(replicates)
    elif method.name == "occlusion":
        grids = occlusion(scored)
    else:
        grids = np.zeros((len(scored.goals), 1, 1), np.float32)
    return Maps(grids, [scored.output] * len(scored.goals), scored.scores, resampled)


def _gradients(captured: Captured, goals: Sequence[Goal], scores: Sequence[Tensor], method: Method) -> Tensor:
    """The gradients (n, C, h, w), of each image's own score, or of all scores of one image, a batch per backward pass."""
    by, at_once = formulas.shapley_gradient if method.name == "shapleycam" else gradient, method.batch_size
    seeds = class_seeds(goals, captured.output) if by is gradient and method.name != "finercam" else None
    if len(captured.leaf) > 1:
        return captured.gradients(scores, by=by) if seeds is None else captured.gradients_of_classes(seeds)
    if by is not gradient:
        return torch.cat([captured.gradients([score], by=by) for score in scores])
    if seeds is not None:
        return _joined([captured.gradients_of_classes(group) for group in seeds.split(at_once)])
    groups = [scores[first : first + at_once] for first in range(0, len(scores), at_once)]
    return _joined([captured.gradients_of_one_image(group) for group in groups])


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _finer(goal: Goal, output: Any) -> Tensor:
    settled = goal.settled(output)
    if settled.index is None or settled.against is not None:
        raise HeatmapError("finercam compares a class with the most similar ones; expected an index or a class name")
    return formulas.finer(class_row(output), settled.index)


def _check_finite(model: nn.Module, inputs: Tensor, site: Site, **named: Tensor) -> None:
    for what, tensor in named.items():
        if not all_finite(tensor):
            first = _first_not_finite(model, inputs)
            raise HeatmapError(
                f"the {what} of the model hold NaN or infinite values"
                + (f", first in the output of {first}" if first else f" at layer {site.name}")
                + "; check the weights, and the range that the preprocess gives"
            )


def _first_not_finite(model: nn.Module, inputs: Tensor) -> str:
    """The first module to return NaN or infinite values; empty if none does."""
    found: list[str] = []

    def look(name: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
        parts: Any = [output]
        if isinstance(output, Mapping):
            parts = output.values()
        elif isinstance(output, (tuple, list)):
            parts = output
        if any(isinstance(t, Tensor) and t.is_floating_point() and not t.isfinite().all() for t in parts):
            found.append(name)

    handles = [module.register_forward_hook(partial(look, name)) for name, module in model.named_modules() if name]
    try:
        with torch.no_grad():
            forward(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else ""


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.detach().float().cpu().numpy()
