"""Evidence for a part of the image: one object that a detector found, or a segmenter's class in a region."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import nn

from pytest_gradcam import masks
from pytest_gradcam.cam.dense import ClassToFind
from pytest_gradcam.cam.detection import explain_box
from pytest_gradcam.cam.output_kind import OutputKind, OutputReader
from pytest_gradcam.cam.segmentation import explain_region
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence.record import Subject
from pytest_gradcam.inputs.reader import Input, stack
from pytest_gradcam.questions.padding import refuse_padding
from pytest_gradcam.state.forward_only import require_insides
from pytest_gradcam.state.guard import untouched
from pytest_gradcam.targets import Box, Region, class_index


def explain_placed(
    network: nn.Module, one: Input, target: Box | Region, outputs: OutputReader, layer: str | None
) -> tuple[NDArray[np.float32], Subject]:
    """The evidence for the target, float32 (h, w) as in `Dense`, and what it explains.

    `layer` is the dotted name of a module to read. Raises HeatmapError if the model does not find the target.
    """
    require_insides(network, f"the heatmap of a {type(target).__name__}")
    names = outputs.names
    wanted = ClassToFind(None if target.label is None else class_index(target.label, names), names.name)
    kind = OutputKind()
    with untouched(network):
        inputs = stack([one], network)
        if isinstance(target, Box):
            found = explain_box(network, inputs[0], box_in_view(target, one), wanted, layer=layer)
        else:
            region = region_in_view(target, one)
            with outputs.reading(network, inputs, dense=True) as kind:
                wanted = replace(wanted, multi=kind.multi)
                found = explain_region(network, inputs[0], region, wanted, layer=layer)
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
