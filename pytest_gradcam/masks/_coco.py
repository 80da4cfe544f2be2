"""Masks from COCO annotations, with no need of pycocotools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.masks._arguments import Bools, Floats, coordinates, naming, shown, size
from pytest_gradcam.masks._runs import decompressed, unrolled
from pytest_gradcam.masks._shapes import box, union_of_polygons
from pytest_gradcam.validation import is_whole

_XYWH = 1
_FORMATS = {0: "xyxy", _XYWH: "xywh"}  # of Detectron2's dictionaries, which are COCO's but for this key


def from_coco(annotation: Mapping[str, Any], shape: Sequence[int], *, clip: bool = False) -> Bools:
    """The object of one COCO annotation, bool (H, W): its segmentation if it has one, else its box.

    `segmentation` is a list of rings [x0, y0, x1, y1, ...] (their union; pixels whose centres lie inside) or a
    run-length encoding, compressed or not; `bbox` is [x, y, width, height], or as a `bbox_mode` of Detectron2 says.
    With `clip=True` the part of rings and boxes outside the image is cut off. Raises HeatmapError for an
    annotation with neither, rings or boxes that `polygon` or `box` refuses, and an encoding of another size or of a
    wrong length.
    """
    if not isinstance(annotation, Mapping):
        raise HeatmapError(f"a {type(annotation).__name__} is not a COCO annotation; pass one entry of 'annotations'")
    image, number = size(shape), annotation.get("id")
    with naming(f"COCO annotation {number}" if is_whole(number) and abs(number) < 1 << 63 else "COCO annotation"):
        return _object(annotation, image, clip)


def _object(annotation: Mapping[str, Any], image: tuple[int, int], clip: bool) -> Bools:
    segmentation, bbox = annotation.get("segmentation"), annotation.get("bbox")
    if isinstance(segmentation, Mapping):
        return _decode(segmentation, image)
    if not _missing(segmentation):
        if not isinstance(segmentation, (list, tuple)):
            raise HeatmapError(f"'segmentation' is {shown(segmentation)}; expected a list of rings or run lengths")
        return union_of_polygons(image, [_points(ring) for ring in segmentation], clip=clip)
    if not _missing(bbox):
        mode = annotation.get("bbox_mode", _XYWH)
        if mode not in _FORMATS:
            raise HeatmapError(
                f"its bbox_mode is {shown(mode)}; expected 0 (xyxy) or 1 (xywh), in pixels, as Detectron2 counts them"
            )
        return box(image, bbox, format=_FORMATS[mode], clip=clip)  # type: ignore[arg-type]
    raise HeatmapError(
        f"there is neither 'segmentation' nor 'bbox', only {shown(sorted(map(str, annotation)))}; "
        "pass one entry of the 'annotations' list"
    )


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, (list, tuple)) and not value)


def _points(ring: Any) -> Floats:
    if not isinstance(ring, (list, tuple, np.ndarray)) or len(ring) < 6 or len(ring) % 2:
        raise HeatmapError(
            f"{shown(ring)} is not a ring of a segmentation; expected [x0, y0, x1, y1, ...], three points or more"
        )
    values = coordinates(ring, "a ring [x0, y0, x1, y1, ...]", columns=len(ring))
    return values.reshape(-1, 2)


def _decode(encoding: Mapping[str, Any], shape: tuple[int, int]) -> Bools:
    """The mask of a run-length encoding, whose runs go down the columns."""
    stated, counts = encoding.get("size"), encoding.get("counts")
    if not isinstance(stated, (list, tuple, np.ndarray)) or not all(map(is_whole, stated)) or [*stated] != [*shape]:
        raise HeatmapError(
            f"the run-length encoding is of size {shown(stated)}, the image {list(shape)} (H, W); "
            "expected the same; pass the image that was annotated"
        )
    pixels = shape[0] * shape[1]
    # Why not pycocotools: these lines would cost every user a compiled dependency.
    runs = decompressed(counts, pixels) if isinstance(counts, (str, bytes)) else counts
    return np.ascontiguousarray(unrolled(runs, pixels).reshape(shape, order="F"))
