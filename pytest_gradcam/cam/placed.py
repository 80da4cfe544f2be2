"""Evidence for a part of the image: one object that a detector found, or a segmenter's class in a region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pytest_gradcam import masks
from pytest_gradcam.cam.dense import ClassToFind, Dense, tensors_of
from pytest_gradcam.cam.detectors import explain, find
from pytest_gradcam.cam.output_kind import OutputKind, OutputReader
from pytest_gradcam.cam.segmentation import explain_region
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence.record import Subject
from pytest_gradcam.inputs.reader import Input, stack
from pytest_gradcam.questions.padding import refuse_padding
from pytest_gradcam.state.forward_only import PART, require_insides
from pytest_gradcam.state.guard import untouched
from pytest_gradcam.targets import Box, ClassNames, Detection, Region, class_index


def explain_objects(
    network: nn.Module, one: Input, targets: Sequence[Box], outputs: OutputReader, layer: str | None
) -> list[tuple[NDArray[np.float32], Subject]]:
    """The evidence for each object, float32 (h, w) as in `Dense`, and what it explains: one forward pass for all of them.

    `layer` is the dotted name of a module to read. Raises HeatmapError if the model does not find one of them.
    """
    require_insides(network, "the heatmap of a Box", otherwise=PART)
    names = outputs.names
    asked = [(box_in_view(target, one), class_to_find(target, names)) for target in targets]
    with untouched(network):
        image = stack([one], network)[0]
        outputs.require_steady("objects", network, lambda: find(network, image).tensors)
        found = outputs.steadily(network, lambda: explain(network, image, asked, layer), tensors_of)
    return [_explained(each, names, OutputKind()) for each in found]


def explain_area(
    network: nn.Module, one: Input, target: Region, outputs: OutputReader, layer: str | None
) -> tuple[NDArray[np.float32], Subject]:
    """The evidence for a segmenter's class in a region, as for objects."""
    require_insides(network, "the heatmap of a Region", otherwise=PART)
    names, region = outputs.names, region_in_view(target, one)
    with untouched(network):
        inputs = stack([one], network)
        with outputs.reading(network, inputs, dense=True) as kind:
            wanted = replace(class_to_find(target, names), multi=kind.multi)
            found = outputs.steadily(
                network,
                lambda: explain_region(network, inputs[0], region, wanted, layer=layer),
                lambda one: tensors_of([one]),
            )
    return _explained(found, names, kind)


def class_to_find(target: Box | Region, names: ClassNames) -> ClassToFind:
    """The class of the target's label."""
    return ClassToFind(None if target.label is None else class_index(target.label, names), names.name)


def _explained(found: Dense, names: ClassNames, kind: OutputKind) -> tuple[NDArray[np.float32], Subject]:
    return found.grid, Subject(
        target=names.name(found.label),
        target_index=found.label,
        score=found.score,
        output=str(kind),
        task=kind.task,
        layer=found.layer,
        method=found.method,
    )


def region_in_view(target: Region, one: Input) -> Region:
    """The region in the coordinates of the model's input. Raises HeatmapError for one that is a heatmap's padding."""
    refuse_padding(target.mask)
    return target if target.mask is None else replace(target, mask=one.carry(target.mask).pixels)


def box_in_view(target: Box, one: Input) -> Box:
    """The box in the coordinates of the model's input."""
    if one.size is None:
        return target
    rows, columns = np.nonzero(one.carry(masks.box(one.size, target.box)).pixels)
    if not len(rows):
        raise HeatmapError(
            f"box={target.box} lies outside the part of the image that the preprocess keeps; check the box"
        )
    return Box(target.label, (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))


def detections(network: nn.Module, one: Input, names: ClassNames) -> list[Detection]:
    """What the detector finds, the surest first, with boxes in pixels of the image that was passed.

    Raises HeatmapError for a model that is no detector, and where the preprocess cannot be followed.
    """
    require_insides(network, "a list of detections", otherwise=PART)
    with untouched(network), torch.no_grad():
        found = find(network, stack([one], network)[0])
    order = found.scores.argsort(descending=True, stable=True).tolist()
    boxes = _in_image(found.boxes.double().cpu().numpy()[order], one)
    return [
        Detection(
            names.name(int(found.labels[i])) if names.pairs else int(found.labels[i]), box, float(found.scores[i])
        )
        for i, box in zip(order, boxes, strict=True)
        if box[0] < box[2] and box[1] < box[3]
    ]


def _in_image(boxes: NDArray[np.float64], one: Input) -> list[tuple[float, float, float, float]]:
    """Boxes (N, 4) in the view as boxes in the image. A box that the preprocess turns is that of its corners."""
    corners = boxes.reshape(-1, 2, 2)
    if one.place is not None:
        to_image = one.place().to_image
        # Coordinates of edges: the centre of the first pixel lies at a half.
        corners = (corners - 0.5) @ to_image[:, :2].T + to_image[:, 2] + 0.5
    low, high = corners.min(axis=1), corners.max(axis=1)
    if one.size is not None:  # an object at the rim may be said to reach beyond it
        low, high = (np.clip(each, 0, one.size[::-1]) for each in (low, high))
    return [(a, b, c, d) for (a, b), (c, d) in zip(low.tolist(), high.tolist(), strict=True)]
