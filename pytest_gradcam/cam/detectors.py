"""Detectors of every supported architecture: what they find in an image, and why."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from pytest_gradcam.cam import detection, query_detection
from pytest_gradcam.cam.dense import ClassToFind, Dense, wide
from pytest_gradcam.cam.objects import Found
from pytest_gradcam.targets import Box


def find(model: nn.Module, image: Tensor) -> Found:
    """What the detector finds in an image (C, H, W). The caller holds the guard. Raises HeatmapError for what is none."""
    if query_detection.finds(model):
        return query_detection.detect_queries(model, image)
    return detection.detect(model, wide(image))


def least_score(model: nn.Module) -> float:
    """The score below which the detector reports nothing."""
    return query_detection.LEAST if query_detection.finds(model) else detection.least_score(model)


def explain(
    model: nn.Module, image: Tensor, asked: Sequence[tuple[Box, ClassToFind]], layer: str | None
) -> list[Dense]:
    """The evidence for each of these objects of one image (C, H, W). The caller holds the guard."""
    how = query_detection.explain_queries if query_detection.finds(model) else detection.explain_boxes
    return how(model, image, asked, layer=layer)
