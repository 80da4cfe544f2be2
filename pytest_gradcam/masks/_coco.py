"""Masks from COCO annotations, with no need of pycocotools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.masks._arguments import Bools, size
from pytest_gradcam.masks._shapes import box, union_of_polygons


def from_coco(annotation: Mapping[str, Any], shape: Sequence[int]) -> Bools:
    """The object of one COCO annotation, bool (H, W): its segmentation if it has one, else its box.

    `segmentation` is a list of rings [x0, y0, x1, y1, ...] (their union; pixels whose centres lie inside) or a
    run-length encoding, compressed or not; `bbox` is [x, y, width, height].
    Raises HeatmapError for an annotation with neither, rings or boxes that `polygon` or `box` refuses, and an encoding
    of another size or of a wrong length.
    """
    if not isinstance(annotation, Mapping):
        raise HeatmapError(f"a {type(annotation).__name__} is not a COCO annotation; pass one entry of 'annotations'")
    height, width = size(shape)
    segmentation, bbox = annotation.get("segmentation"), annotation.get("bbox")
    if isinstance(segmentation, Mapping):
        return _decode(segmentation, (height, width))
    if segmentation:
        return union_of_polygons((height, width), [_points(ring) for ring in segmentation])
    if bbox is not None and len(bbox):
        return box(shape, bbox, format="xywh")
    raise HeatmapError(
        f"the annotation has neither 'segmentation' nor 'bbox', only {sorted(annotation)}; "
        "pass one entry of the 'annotations' list"
    )


def _points(ring: Sequence[float]) -> NDArray[Any]:
    if isinstance(ring, (str, Mapping)) or not hasattr(ring, "__len__") or len(ring) < 6 or len(ring) % 2:
        raise HeatmapError(
            f"{ring!r} is not a ring of a segmentation; expected [x0, y0, x1, y1, ...], three points or more"
        )
    return np.reshape(np.asarray(ring), (-1, 2))


def _decode(encoding: Mapping[str, Any], shape: tuple[int, int]) -> Bools:
    """The mask of a run-length encoding: runs of 0 and 1 in turn, 0 first, down the columns."""
    if list(encoding.get("size", [])) != list(shape):
        raise HeatmapError(
            f"the run-length encoding is of size {encoding.get('size')}, the image {list(shape)} (H, W); "
            "expected the same; pass the image that was annotated"
        )
    # Why not pycocotools: these lines would cost every user a compiled dependency.
    counts = encoding.get("counts")
    runs = np.asarray(_expand(counts) if isinstance(counts, (str, bytes)) else counts)
    if runs.dtype.kind not in "iu" or runs.ndim != 1 or runs.min(initial=0) < 0 or runs.sum() != shape[0] * shape[1]:
        raise HeatmapError(
            f"the run-length encoding does not add up to {shape[0] * shape[1]} pixels of runs of 0 or more; "
            "expected 'counts' as a list or a COCO string; it may be cut off or of another format"
        )
    values = np.repeat(np.arange(runs.size) % 2 == 1, runs)
    return np.ascontiguousarray(values.reshape(shape, order="F"))


def _expand(counts: str | bytes) -> list[int]:
    """The runs of a compressed encoding: base 32 digits, low first; from the third run on, less the run two before."""
    text = counts if isinstance(counts, bytes) else counts.encode("utf-8")
    runs: list[int] = []
    value = shift = 0
    for code in text:
        digit = code - 48
        value |= (digit & 0x1F) << shift
        shift += 5
        if digit & 0x20:
            continue
        if digit & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs
