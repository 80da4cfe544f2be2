"""Masks from the files of labelme (JSON)."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from pytest_gradcam import images
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.masks._arguments import Bools, Floats, coordinates, naming, shown, size
from pytest_gradcam.masks._documents import FilePath, file_name, json_object
from pytest_gradcam.masks._entries import Size, placed, union_of_label
from pytest_gradcam.masks._read import as_mask
from pytest_gradcam.masks._shapes import box, ellipse, polygon

_NO_OBJECTS = ("__ignore__", "_background_")


def from_labelme(
    annotation: FilePath | Mapping[str, Any], shape: Sequence[int], *, label: str | None = None, clip: bool = False
) -> Bools:
    """The union of the shapes in a labelme file, or in its content, of one label or of all; bool (H, W).

    Reads polygons, rectangles (of two corners, and of four as X-AnyLabeling writes them), circles and masks. All labels
    are those of objects: `__ignore__` and `_background_`, which labelme's own converters set apart, are marked only by
    their name. With `clip=True` the part of a polygon, rectangle or circle outside the image is cut off. Raises
    HeatmapError for a label that is not there (naming those that are), shapes without an area (points, lines), a file of
    another image size, and coordinates outside the image without `clip`.
    """
    image = size(shape)
    if isinstance(annotation, Mapping):
        return _union("labelme content", annotation, image, (label, clip))
    name = file_name("labelme", annotation)
    return _union(name, json_object(annotation, name), image, (label, clip))


def _union(name: str, content: Mapping[str, Any], image: Size, wanted: tuple[str | None, bool]) -> Bools:
    label, clip = wanted
    shapes = content.get("shapes")
    if not isinstance(shapes, list):
        raise HeatmapError(
            f"{name}, with {shown(sorted(map(str, content)))}, is not what labelme writes; expected a list 'shapes'; "
            "pass what labelme wrote"
        )
    with naming(name):
        _refuse_other_size(content, image)
        entries = [(f"shapes[{index}]", *_labelled(one, index)) for index, one in enumerate(shapes)]
        if label is None:
            entries = [entry for entry in entries if entry[1] not in _NO_OBJECTS]
        return union_of_label(entries, label, image, partial(_mask, clip=clip))


def _refuse_other_size(content: Mapping[str, Any], image: Size) -> None:
    stated = (content.get("imageHeight"), content.get("imageWidth"))
    if any(side is not None and side != expected for side, expected in zip(stated, image, strict=True)):
        raise HeatmapError(
            f"it is of an image of ({shown(stated[0])}, {shown(stated[1])}) (H, W), not {image}; pass the image it is of"
        )


def _labelled(entry: Any, index: int) -> tuple[object, Mapping[str, Any]]:
    if not isinstance(entry, Mapping):
        raise HeatmapError(f"shapes[{index}] is {shown(entry)}; expected an object with 'label' and 'points'")
    return entry.get("label"), entry


def _mask(entry: Mapping[str, Any], image: Size, *, clip: bool) -> Bools:
    kind, points = entry.get("shape_type"), entry.get("points")
    if kind in (None, "polygon", "rotation"):  # X-AnyLabeling's turned rectangle is its four corners
        return polygon(image, points, clip=clip)  # type: ignore[arg-type]
    if kind not in ("rectangle", "circle", "mask"):
        raise HeatmapError(
            f"it is a labelme {shown(kind).strip(chr(39))}, which is not supported; draw it as a polygon"
        )
    corners = coordinates(points, "two points (x, y)", columns=2)  # type: ignore[arg-type]
    if kind == "rectangle" and corners.shape == (4, 2):  # as X-AnyLabeling writes it
        return box(image, _upright(corners), clip=clip)
    if corners.shape != (2, 2):
        raise HeatmapError(f"the labelme {kind} has points of shape {corners.shape}; expected two points (x, y)")
    if kind == "circle":
        radius = math.dist(*corners)
        return ellipse(image, corners[0], (radius, radius), clip=clip)
    if kind == "mask":
        return _bitmap(entry.get("mask"), corners, image)
    return box(image, np.concatenate([corners.min(axis=0), corners.max(axis=0)]), clip=clip)


def _upright(corners: Floats) -> Floats:
    """The edges (x0, y0, x1, y1) of four corners in turn."""
    edges = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
    if any(len(np.unique(axis.round(3))) != 2 for axis in corners.T):
        raise HeatmapError(f"the four corners {shown(corners)} are not an upright rectangle; draw it as a polygon")
    return edges


def _bitmap(mask: Any, corners: Any, image: Size) -> Bools:
    """The picture of the box between two corners, the second in it; labelme cuts fractions of the corners as well."""
    (left, top), (right, bottom) = ((int(x), int(y)) for x, y in corners.tolist())
    part = _picture(mask)
    whole = placed(part, image, left=left, top=top)
    if part.shape != (bottom - top + 1, right - left + 1):
        raise HeatmapError(
            f"the mask's picture is of {part.shape} (H, W), its box of {(bottom - top + 1, right - left + 1)}; "
            "expected the same; save it again"
        )
    return whole


def _picture(mask: Any) -> Bools:
    if not isinstance(mask, str):
        raise HeatmapError(f"the labelme mask is {shown(mask)}; expected a picture in base64; save it again")
    try:
        content = base64.b64decode(mask, validate=True)
    except ValueError as error:
        raise HeatmapError(f"the labelme mask cannot be read as base64 ({error}); save it again") from error
    with images.open_image(content, "the labelme mask") as picture:
        return as_mask(picture, name="the labelme mask")
