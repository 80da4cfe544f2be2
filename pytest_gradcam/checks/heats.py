"""Heatmaps of a set of images, which inform beside a verdict, where possible from the passes that give the scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam import metrics
from pytest_gradcam.checks.asked import Asked
from pytest_gradcam.checks.margins import Floats
from pytest_gradcam.checks.masked_image import finite_scores, scores_of
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.questions.explained_model import ExplainedModel
from pytest_gradcam.questions.protocols import HeatmapLike, ModelInput

_ROUNDING = 1e-4  # of the span of an image's logits


def scored(
    model: ExplainedModel, inputs: Sequence[ModelInput], targets: Sequence[Any]
) -> tuple[NDArray[np.float32], list[HeatmapLike]]:
    """The logits (N, classes) of the inputs, and the heatmaps of the first of them, of which there is a target each.

    No heatmaps where their passes do not give the logits as well, or others than a pass without gradients, by which those of
    changed images are found. Raises HeatmapError for scores that are not finite.
    """
    try:
        explained = _explained(model, inputs[: len(targets)], [model.question(target).target for target in targets])
    except HeatmapError:  # no layer to read a heatmap at: the intervention needs none
        explained = []
    known = [heatmap.logits for heatmap in explained if heatmap.logits is not None]
    if not known or len(known) < len(explained) or not _alike(known[0], model.engine.predict(inputs[:1])[0]):
        return scores_of(model.engine, inputs), []
    rest = inputs[len(known) :]
    return finite_scores([*known, *(model.engine.predict(rest) if rest else [])], inputs), explained


def _alike(row: Any, other: NDArray[np.float32]) -> bool:
    if not np.isfinite([row, other]).all():
        return False
    return bool(np.abs(row - other).max() <= _ROUNDING * np.ptp(other))


def of(model: ExplainedModel, asked: Asked, most: int, explained: Sequence[HeatmapLike] = ()) -> list[Floats | None]:
    """The heatmap of each image's class, of the first `most`; None where there is none. `explained` are some of the first."""
    found = list[Floats | None]([None] * asked.count)
    known = {i: one for i, one in enumerate(explained[:most]) if one.subject.target_index == asked.classes[i]}
    missing = [i for i in range(min(most, asked.count)) if i not in known]
    try:
        inputs = [asked.own[i].image_input for i in missing]
        new = _explained(model, inputs, [int(asked.classes[i]) for i in missing]) if missing else []
    except HeatmapError:
        return found
    for i, heatmap in {**known, **dict(zip(missing, new, strict=True))}.items():
        if np.isfinite(heatmap.grid).all() and heatmap.grid.any():
            found[i] = heatmap.values.astype(np.float64)
    return found


def mean_in_masks(asked: Asked, heats: Sequence[Floats | None]) -> float | None:
    """The mean over the images of the heatmap's mean heat in the mask; None if there is no heatmap."""
    figures = [
        metrics.mean_heat(heat, image.mask) for heat, image in zip(heats, asked.own, strict=True) if heat is not None
    ]
    return float(np.mean(figures)) if figures else None


def _explained(model: ExplainedModel, inputs: Sequence[ModelInput], targets: Sequence[Any]) -> list[HeatmapLike]:
    question = model.question()
    return list(model.engine.heatmaps(inputs, targets, layer=question.layer, method=question.method))
