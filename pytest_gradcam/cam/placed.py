"""Evidence for what has a place in the image: one object of a detector, or one class of a segmenter in a region."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import nn

from pytest_gradcam import masks
from pytest_gradcam.cam.detection import explain_box
from pytest_gradcam.cam.output_kind import OutputKind, OutputReader
from pytest_gradcam.cam.segmentation import explain_region
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence.record import Subject
from pytest_gradcam.inputs.reader import Input, stack
from pytest_gradcam.state.forward_only import require_insides
from pytest_gradcam.state.guard import untouched
from pytest_gradcam.targets import Box, ClassNames, Region, class_index


def explain_placed(
    network: nn.Module, one: Input, target: Box | Region, names: ClassNames, outputs: OutputReader, layer: str | None
) -> tuple[NDArray[np.float32], Subject]:
    """The evidence for the target, float32 (h, w) as in `Dense`, and what it explains.

    `layer` is the dotted name of a module to read. Raises HeatmapError for a target that the model does not find.
    """
    require_insides(network, f"the heatmap of a {type(target).__name__}")
    label = None if target.label is None else class_index(target.label, names)
    kind = OutputKind()
    with untouched(network):
        inputs = stack([one], network)
        if isinstance(target, Box):
            found = explain_box(network, inputs[0], _in_view(target, one), label, layer=layer, name_of=names.name)
        else:
            assert label is not None
            region = target if target.mask is None else replace(target, mask=one.carry(target.mask).pixels)
            with outputs.reading(network, inputs, dense=True) as kind:
                found = explain_region(
                    network, inputs[0], region, label, multi=kind.multi, layer=layer, name_of=names.name
                )
    return found.grid, Subject(
        target=names.name(found.label),
        target_index=found.label,
        score=found.score,
        output=str(kind),
        task=kind.task,
        layer=found.layer,
        method=found.method,
    )


def _in_view(target: Box, one: Input) -> Box:
    """The box where the model sees it."""
    if one.size is None:
        return target
    rows, columns = np.nonzero(one.carry(masks.box(one.size, target.box)).pixels)
    if not len(rows):
        raise HeatmapError(f"box={target.box} lies outside of what the preprocess shows the model; check the box")
    return Box(target.label, (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
