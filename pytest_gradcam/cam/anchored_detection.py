"""What a detector of Ultralytics finds, with the leaves that its head reads. Its package (AGPL-3.0) is never imported here.

Its models are known by the names of their classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torchvision.ops import box_convert, clip_boxes_to_image, nms

from pytest_gradcam.cam.dense import Leaves, not_finite
from pytest_gradcam.cam.detection import Pyramid
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.state.guard import forward

#: Detections with a lower score are none, as in torchvision's detectors.
LEAST = 0.05
#: The heads that are understood: boxes alone, one row for each place or, end to end, for each detection.
HEADS = ("Detect", "v10Detect")
_SAME = 0.7  # IoU from which the less sure of two detections of one class is dropped, as Ultralytics predicts
_MOST = 300  # detections, likewise
_APART = 7680  # pixels between the boxes of two classes there, so that one pass drops doubles of every class
_CACHED = ("anchors", "strides", "shape")  # a head keeps these between forward passes


def anchored_head(model: nn.Module) -> tuple[str, Any] | None:
    """The head of Ultralytics' detectors in the model and its dotted name."""
    for name, module in model.named_modules():
        if any(each.__name__ in ("Detect", "RTDETRDecoder") for each in type(module).__mro__) and _is_ultralytics(
            module
        ):
            return name, module
    return None


def detect_anchored(model: nn.Module, image: Tensor, layer: str | None = None) -> Pyramid:
    """What the detector finds in an image (C, H, W) that is ready for it, as Ultralytics itself selects it.

    The leaves are the feature maps that its head reads, or what the module named `layer` returns. The caller holds the guard.
    Raises HeatmapError for heads that give more than boxes.
    """
    named = anchored_head(model)
    assert named is not None, "a detector of Ultralytics"
    name, head = named
    if type(head).__name__ not in HEADS:
        raise HeatmapError(
            f"{type(head).__name__} of Ultralytics is not supported; expected a detector of boxes alone (a head "
            f"{' or '.join(HEADS)}), or a classifier. Take another model for this question, or wrap it as a callable "
            "to scores (N, classes) for what needs no heatmap"
        )
    leaves = Leaves(model, *([layer] if layer else _read_by(name, head)))
    with leaves.placed(), _no_cache(head):
        output = forward(model, image[None])
    rows = output[0] if isinstance(output, (tuple, list)) else output
    if not isinstance(rows, Tensor) or rows.ndim != 3 or len(rows) != 1:
        raise HeatmapError(
            f"{type(model).__name__} returns no rows of detections; expected what a detector of Ultralytics returns in eval "
            "mode. Wrap it so that its own output is passed on"
        )
    boxes, scores, labels = _selected(rows[0], head)
    boxes = clip_boxes_to_image(boxes, (image.shape[-2], image.shape[-1]))
    sound = len(scores) and boxes.isfinite().all()
    return Pyramid(boxes, scores, labels, "" if sound else not_finite(model), leaves, (1.0, 1.0))


def _selected(rows: Tensor, head: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (N, 4), scores (N,) with their gradient and labels (N,) of what the head (A places) says."""
    if head.end2end:  # (N, 6), doubles are gone already
        boxes, scores, labels = rows[:, :4].detach(), rows[:, 4], rows[:, 5].detach().long()
        kept = (scores.detach() > LEAST).nonzero()[:, 0]
        return boxes[kept].float(), scores[kept], labels[kept]
    scores, labels = rows[4 : 4 + head.nc].max(0)  # (4 + classes, A)
    found = (scores.detach() > LEAST).nonzero()[:, 0]
    boxes = box_convert(rows[:4, found].detach().T, "cxcywh", "xyxy").float()
    apart = boxes + _APART * labels[found, None]
    kept = nms(apart, scores[found].detach().float(), _SAME)[:_MOST]
    return boxes[kept], scores[found[kept]], labels[found[kept]]


def _read_by(name: str, head: Any) -> list[str]:
    """The dotted names of the modules whose outputs the head reads."""
    before, _, own = name.rpartition(".")
    places = [int(own) + place if place < 0 else place for place in head.f]
    return [f"{before}.{place}".lstrip(".") for place in places]


@contextmanager
def _no_cache(head: Any) -> Iterator[None]:
    """A `with` block in which the head makes its anchors anew; those that it held may be of inference mode."""
    held = {key: vars(head)[key] for key in _CACHED if key in vars(head)}
    head.shape = None
    try:
        yield
    finally:
        for key in _CACHED:
            vars(head).pop(key, None)
        vars(head).update(held)


def _is_ultralytics(module: nn.Module) -> bool:
    return any(each.__module__.partition(".")[0] == "ultralytics" for each in type(module).__mro__)
