"""Detectors of every supported architecture: what they find in an image, and why."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from torch import Tensor, nn

from pytest_gradcam.cam import detection, query_detection
from pytest_gradcam.cam.anchored_detection import LEAST, anchored_head, detect_anchored
from pytest_gradcam.cam.dense import ClassToFind, Dense, check_input
from pytest_gradcam.cam.objects import Found
from pytest_gradcam.targets import Box


def find(model: nn.Module, image: Tensor) -> Found:
    """What the detector finds in an image (C, H, W). The caller holds the guard. Raises HeatmapError for what is none."""
    if query_detection.finds(model):
        return query_detection.detect_queries(model, image)
    return detect_anchored(model, image) if anchored_head(model) else detection.detect(model, image)


def least_score(model: nn.Module) -> float:
    """The score below which the detector reports nothing."""
    if query_detection.finds(model):
        return query_detection.LEAST
    return LEAST if anchored_head(model) else detection.least_score(model)


def explain(
    model: nn.Module, image: Tensor, asked: Sequence[tuple[Box, ClassToFind]], layer: str | None
) -> list[Dense]:
    """The evidence for each of these objects of one image (C, H, W). The caller holds the guard."""
    if query_detection.finds(model):
        return query_detection.explain_queries(model, image, asked, layer=layer)
    if anchored_head(model):
        check_input(image)
        return detection.explain_found(cache(lambda _: detect_anchored(model, image, layer)), asked, exact=False)
    return detection.explain_boxes(model, image, asked, layer=layer)
