"""Masks from the annotation files of Supervisely (JSON)."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from pytest_gradcam import images
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.masks._arguments import MOST_PIXELS, Bools, Floats, coordinates, naming, shown, size
from pytest_gradcam.masks._documents import FilePath, file_name, json_object
from pytest_gradcam.masks._entries import Size, placed, union_of_label
from pytest_gradcam.masks._shapes import box, polygon


def from_supervisely(path: FilePath, *, label: str | None = None) -> Bools:
    """The union of the objects in a Supervisely file of one image, of one class or of all; bool (H, W) as the file states it.

    Reads rectangles, polygons with holes, and bitmaps. Whole coordinates are pixels, as Supervisely's own library writes
    them, and the last one belongs to a rectangle; with a fraction anywhere in a shape, its coordinates are edges, as the
    labelling tool sends them. Raises HeatmapError for a class that is not there (naming those that are), other shapes, and
    a file without a size.
    """
    name = file_name("Supervisely", path)
    content = json_object(path, name)
    with naming(name):
        stated, objects = content.get("size"), content.get("objects")
        if not isinstance(stated, Mapping) or not isinstance(objects, list):
            raise HeatmapError(
                "there is no 'size' or no list 'objects'; expected what Supervisely writes for one image"
            )
        image = size((stated.get("height"), stated.get("width")))  # type: ignore[arg-type]
        entries = [(f"objects[{index}]", *_named(one, index)) for index, one in enumerate(objects)]
        return union_of_label(entries, label, image, _mask)


def _named(entry: Any, index: int) -> tuple[object, Mapping[str, Any]]:
    if not isinstance(entry, Mapping):
        raise HeatmapError(f"objects[{index}] is {shown(entry)}; expected an object with 'classTitle'")
    return entry.get("classTitle"), entry


def _mask(entry: Mapping[str, Any], image: Size) -> Bools:
    kind = entry.get("geometryType")
    if kind == "bitmap":
        return _bitmap(entry.get("bitmap"), image)
    if kind not in ("rectangle", "polygon"):
        raise HeatmapError(
            f"it is a Supervisely {shown(kind).strip(chr(39))}, which is not supported; convert it to a bitmap"
        )
    points = entry.get("points")
    points = points if isinstance(points, Mapping) else {}
    outline = _points(points.get("exterior"))
    if kind == "polygon":
        whole = polygon(image, _edges(outline))
        for hole in points.get("interior") or ():
            whole &= ~polygon(image, _edges(_points(hole)))
        return whole
    if outline.shape != (2, 2):
        raise HeatmapError(f"the rectangle has points of shape {outline.shape}; expected two points (x, y)")
    last = 0 if (outline % 1).any() else 1
    return box(image, np.concatenate([outline.min(axis=0), outline.max(axis=0) + last]))


def _points(values: Any) -> Floats:
    return coordinates(values, "points (x, y)", columns=2)


def _edges(points: Floats) -> Floats:
    """Points that name pixels lie in their middle."""
    return points if (points % 1).any() else points + 0.5


def _bitmap(bitmap: Any, image: Size) -> Bools:
    """The picture, compressed with zlib and in base64, whose first pixel lies at the origin."""
    if not isinstance(bitmap, Mapping) or not isinstance(bitmap.get("data"), str):
        raise HeatmapError(f"its bitmap is {shown(bitmap)}; expected an object with 'data' and 'origin'")
    origin = coordinates(bitmap.get("origin"), "a point (x, y)", columns=2)  # type: ignore[arg-type]
    if origin.shape != (2,) or (origin % 1).any():
        raise HeatmapError(f"its origin is {shown(bitmap.get('origin'))}; expected one pixel (x, y)")
    try:
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(base64.b64decode(bitmap["data"], validate=True), MOST_PIXELS)
    except (ValueError, zlib.error) as error:
        raise HeatmapError(f"its bitmap cannot be read ({error}); export it again") from None
    with images.open_image(content, "the bitmap") as picture:
        values = (
            np.asarray(picture.convert("RGBA"))[..., 3]
            if "A" in picture.getbands()
            else np.asarray(picture.convert("L"))
        )
    return placed(values > 0, image, left=int(origin[0]), top=int(origin[1]))
