"""Masks from the files of the VGG Image Annotator, versions 1 and 2 (JSON)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.masks._arguments import Bools, naming, shown, size
from pytest_gradcam.masks._documents import FilePath, file_name, json_object
from pytest_gradcam.masks._entries import Size, some, union_of_label
from pytest_gradcam.masks._shapes import box, ellipse, polygon


def from_via(
    path: FilePath, image: str, shape: Sequence[int], *, label: str | None = None, attribute: str | None = None
) -> Bools:
    """The union of the regions of one image in a file of the VGG Image Annotator, of one label or of all; bool (H, W).

    `image` is the image's name in the file; `attribute` the region attribute that holds the label, which can be left out
    where regions have one only. Reads rectangles, polygons, circles and upright ellipses, from annotations and projects. Raises
    HeatmapError for an image or a label that is not there (naming those that are), and for other shapes.
    """
    frame = size(shape)
    name = file_name("VIA", path)
    content = json_object(path, name)
    with naming(f"{name}, image {shown(image)}"):
        regions = _regions(content, image)
        key = attribute if attribute is not None or label is None else _only_attribute(regions)
        entries = [(f"regions[{index}]", _label(one, key), one) for index, one in enumerate(regions)]
        return union_of_label(entries, label, frame, _mask)


def _regions(content: Mapping[str, Any], image: str) -> list[Any]:
    images = content.get("_via_img_metadata", content)
    entries = [one for one in images.values() if isinstance(one, Mapping)] if isinstance(images, Mapping) else []
    found = [one for one in entries if one.get("filename") == image]
    if len(found) != 1:
        names = some(one.get("filename") for one in entries)
        what = "is not in it" if not found else f"is in it {len(found)} times"
        raise HeatmapError(f"it {what}; it holds {names}; pass one of these names, of one image each")
    regions = found[0].get("regions", [])
    regions = list(regions.values()) if isinstance(regions, Mapping) else regions  # as version 1 writes them
    if not isinstance(regions, list):
        raise HeatmapError(f"its regions are {shown(regions)}; expected a list; check the file")
    return regions


def _only_attribute(regions: Sequence[Any]) -> str:
    names = sorted({str(name) for one in regions for name in _part(one, "region_attributes")})
    if len(names) != 1:
        raise HeatmapError(
            f"its regions have {len(names)} attributes ({some(names)}); pass attribute= for the one with the label"
        )
    return names[0]


def _label(region: Any, attribute: str | None) -> object:
    attributes = _part(region, "region_attributes")
    if attribute is None:
        return next(iter(attributes.values()), None)
    return attributes.get(attribute)


def _part(region: Any, name: str) -> Mapping[str, Any]:
    part = region.get(name) if isinstance(region, Mapping) else None
    if not isinstance(part, Mapping):
        raise HeatmapError(f"a region is {shown(region)}; expected an object with {name!r}")
    return part


def _mask(region: Any, image: Size) -> Bools:
    shape = _part(region, "shape_attributes")
    kind: Any = shape.get("name")
    if kind == "rect":
        corners: Any = [shape.get(name) for name in ("x", "y", "width", "height")]
        return box(image, corners, format="xywh")
    if kind == "polygon":
        columns: Any = [shape.get(name) for name in ("all_points_x", "all_points_y")]
        if not all(isinstance(column, list) for column in columns) or len(columns[0]) != len(columns[1]):
            raise HeatmapError(f"its points are {shown(columns)}; expected two lists of one length")
        return polygon(image, list(zip(*columns, strict=True)))
    if kind in ("circle", "ellipse"):
        centre: Any = [shape.get("cx"), shape.get("cy")]
        radii: Any = [shape.get("r")] * 2 if kind == "circle" else [shape.get("rx"), shape.get("ry")]
        if shape.get("theta", 0) not in (0, 0.0):
            raise HeatmapError(
                f"it is an ellipse rotated by {shown(shape['theta'])}; expected an upright one; draw it as a polygon"
            )
        return ellipse(image, centre, radii)
    raise HeatmapError(f"it is a VIA {shown(kind).strip(chr(39))}, which is not supported; draw it as a polygon")
