"""Why a transformer found one object: DETR, YOLOS and their kind, whose queries answer with a class and a box each."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import box_convert

from pytest_gradcam.cam.compute import Maps, make
from pytest_gradcam.cam.containers import parts
from pytest_gradcam.cam.dense import ClassToFind, Dense, check_input, not_finite
from pytest_gradcam.cam.layers import SHALLOWER, choose
from pytest_gradcam.cam.method import Method
from pytest_gradcam.cam.objects import Found
from pytest_gradcam.cam.outputs import Goal
from pytest_gradcam.cam.sites import Site
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.state.guard import forward
from pytest_gradcam.targets import Box

#: Answers with a lower score are none, as in torchvision's detectors: every query answers something.
LEAST = 0.05


@dataclass(frozen=True)
class _Answers:
    """What the queries answer: log-odds (Q, classes) of the classes, and boxes (Q, 4) in shares of the image."""

    log_odds: Tensor
    boxes: Tensor

    @classmethod
    def of(cls, model: nn.Module, output: Any) -> _Answers | None:
        """The answers for one image; None for an output that holds none."""
        inside = parts(output)
        logits, boxes = inside.get("logits"), inside.get("pred_boxes")
        if not isinstance(logits, Tensor) or not isinstance(boxes, Tensor) or boxes.shape[-1] != 4:
            return None
        logits, boxes = (each[0] if each.ndim == 3 else each for each in (logits, boxes))
        count = _classes(model)
        if count not in (logits.shape[-1], logits.shape[-1] - 1):
            raise HeatmapError(
                f"the queries of {type(model).__name__} answer with {logits.shape[-1]} numbers each, and its config names "
                f"{count} classes; expected as many, or one more for no object"
            )
        if count == logits.shape[-1]:  # each class by itself, as under a focal loss
            return cls(logits, boxes)
        every = torch.logsumexp(logits, -1, keepdim=True)
        shares = logits[:, :-1] - every
        return cls(shares - torch.log1p(-shares.exp().clamp(max=1 - 1e-7)), boxes)

    def found(self, size: tuple[int, int]) -> tuple[Found, Tensor]:
        """The detections in an image of this size (H, W), and the queries (N,) that they come from."""
        best, labels = self.log_odds.max(-1)
        height, width = size
        scale = self.boxes.new_tensor([width, height, width, height])
        boxes = box_convert(self.boxes.detach().float(), "cxcywh", "xyxy") * scale.float()
        kept = (best.sigmoid() >= LEAST).nonzero()[:, 0]
        return Found(boxes[kept], best.sigmoid()[kept], labels[kept], hint=""), kept


def finds(model: nn.Module) -> bool:
    """Whether the model's configuration names it a detector of transformers."""
    inner = _configured(model)
    names = getattr(getattr(inner, "config", None), "architectures", None) or [type(inner).__name__]
    return any("ObjectDetection" in str(name) for name in [*names, type(inner).__name__])


def detect_queries(model: nn.Module, image: Tensor) -> Found:
    """What the detector finds in an image (C, H, W) that is ready for it. The caller holds the guard."""
    return _look(model, image)[0]


def explain_queries(
    model: nn.Module, image: Tensor, asked: Sequence[tuple[Box, ClassToFind]], *, layer: str | None = None
) -> list[Dense]:
    """The evidence for the log-odds of the detections that match best, as maps of one layer from one forward pass.

    The layer is the deepest that all evidence passes through, chosen as for a classifier, or that of the name. The map is
    gradient times activation, which keeps two objects apart. The caller holds the guard. Raises HeatmapError if no detection
    with the label overlaps the box with an IoU of 0.5, and if there is no layer to read.
    """
    check_input(image)
    found, queries = _look(model, image)
    places = [found.matching(target, wanted) for target, wanted in asked]
    goals = [
        Goal(function=partial(_log_odds, model, int(queries[place]), int(found.labels[place]))) for place in places
    ]
    site, maps = _maps(model, image[None], goals, layer)
    return [
        Dense(grid, float(found.scores[place]), int(found.labels[place]), site.name)
        for grid, place in zip(maps.grids, places, strict=True)
    ]


def _maps(model: nn.Module, inputs: Tensor, goals: Sequence[Goal], layer: str | None) -> tuple[Site, Maps]:
    """The maps of the chosen layer, or of the next before it where they can be read.

    Tokens that are read only through a LayerNorm have a gradient that cancels out against them.
    """
    chosen = choose(model, inputs, partial(_everything, model), name=layer)
    before = [candidate.site for candidate in chosen.candidates if candidate.note == SHALLOWER]
    try:
        return chosen.site, make(model, inputs, chosen.site, goals, Method("hirescam"))
    except HeatmapError:
        for site in before:
            with suppress(HeatmapError):
                return site, make(model, inputs, site, goals, Method("hirescam"))
        raise


def _look(model: nn.Module, image: Tensor) -> tuple[Found, Tensor]:
    with torch.no_grad():
        output = forward(model, image[None])
    answers = _Answers.of(model, output)
    if answers is None:
        raise HeatmapError(
            f"{type(model).__name__} returns no logits with pred_boxes; expected a detector of transformers such as DETR or YOLOS"
        )
    if not answers.log_odds.isfinite().all() or not answers.boxes.isfinite().all():
        raise HeatmapError(f"the detector answers with NaN or infinite values{not_finite(model)}; check the weights")
    height, width = image.shape[-2:]
    return answers.found((height, width))


def _log_odds(model: nn.Module, query: int, label: int, output: Any) -> Tensor:
    answers = _Answers.of(model, output)
    assert answers is not None, "the output of a detector"
    return answers.log_odds[query, label]


def _everything(model: nn.Module, output: Any) -> Tensor:
    """What all queries answer together: the layer that is chosen for it serves each of them."""
    answers = _Answers.of(model, output)
    assert answers is not None, "the output of a detector"
    return answers.log_odds.max(-1).values.sum()


def _classes(model: nn.Module) -> int:
    return int(getattr(getattr(_configured(model), "config", None), "num_labels", -1))


def _configured(model: nn.Module) -> Any:
    """The model that has a configuration, which another one may hold."""
    return model if hasattr(model, "config") else getattr(model, "model", model)
