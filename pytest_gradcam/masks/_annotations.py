"""Masks from the files of annotation tools: labelme (JSON), Pascal VOC and CVAT (XML)."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.masks._arguments import Bools, coordinates, size
from pytest_gradcam.masks._read import as_mask
from pytest_gradcam.masks._shapes import box, ellipse, polygon

FilePath = str | os.PathLike[str]
Size = tuple[int, int]
Element = ElementTree.Element


def from_labelme(annotation: FilePath | Mapping[str, Any], shape: Sequence[int], *, label: str | None = None) -> Bools:
    """The union of the shapes in a labelme file, or in its content, of one label or of all; bool (H, W).

    Reads polygons, rectangles, circles and masks. Raises HeatmapError for a label that is not there (naming those that
    are), shapes without an area (points, lines), a file of another image size, and coordinates outside the image.
    """
    content, image = annotation if isinstance(annotation, Mapping) else _json(annotation), size(shape)
    shapes, stated = content.get("shapes"), (content.get("imageHeight"), content.get("imageWidth"))
    if not isinstance(shapes, list):
        raise HeatmapError(f"{sorted(content)} is not labelme content; expected 'shapes'; pass what labelme wrote")
    if None not in stated and stated != image:
        raise HeatmapError(f"the labelme file is of an image of {stated} (H, W), not {image}; pass the image it is of")
    return _union(_labelme_shape(one, image) for one in _select([(one.get("label"), one) for one in shapes], label))


def from_voc(path: FilePath, *, label: str | None = None) -> Bools:
    """The union of the boxes in a Pascal VOC file, of one label or of all; bool (H, W) as the file states it.

    As in the VOC development kit, pixels count from 1 and xmax and ymax belong to the box; an xmin or ymin of 0, which
    some tools write, is the first pixel as well. Raises HeatmapError for a label that is not there (naming those that
    are), a file without a size, boxes outside it, and XML with a document type.
    """
    root = _xml(path)
    stated = root.find("size")
    if stated is None:
        raise HeatmapError(f"{os.fspath(path)} states no <size>; expected a Pascal VOC file; use masks.box instead")
    image = size((int(_child(stated, "height")), int(_child(stated, "width"))))
    parts = [(one.findtext("name"), one) for one in root.iter("object")]
    return _union(_voc_box(one, image) for one in _select(parts, label))


def from_cvat(path: FilePath, image: str, *, label: str | None = None) -> Bools:
    """The union of the shapes of one image in a 'CVAT for images' file, of one label or of all; bool (H, W).

    `image` is the image's name in the file. Reads boxes, polygons, ellipses and masks. Raises HeatmapError for an image
    or a label that is not there (naming those that are), other and rotated shapes, and XML with a document type.
    """
    entries = {one.get("name"): one for one in _xml(path).iter("image")}
    if image not in entries:
        raise HeatmapError(f"{os.fspath(path)} holds no image {image!r}; it holds {_some(entries)}; pass one of these")
    frame = size((int(_attribute(entries[image], "height")), int(_attribute(entries[image], "width"))))
    parts = [(one.get("label"), one) for one in entries[image] if one.get("label") is not None]
    return _union(_cvat_shape(one, frame) for one in _select(parts, label))


def _select(parts: list[tuple[str | None, Any]], label: str | None) -> list[Any]:
    selected = [part for name, part in parts if label is None or name == label]
    if not selected:
        raise HeatmapError(
            f"this annotation marks {'nothing' if label is None else f'no {label!r}'}; it holds "
            f"{_some(name for name, _ in parts)}; pass one of these, or leave the check out for this image"
        )
    return selected


def _some(names: Iterable[str | None]) -> str:
    found = sorted({str(name) for name in names})
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    return (", ".join(map(repr, found[:8])) or "nothing") + more


def _union(parts: Iterable[Bools]) -> Bools:
    return np.asarray(np.any(list(parts), axis=0))


def _labelme_shape(one: Mapping[str, Any], shape: Size) -> Bools:
    kind, points = one.get("shape_type") or "polygon", one.get("points") or []
    if kind == "polygon":
        return polygon(shape, points)
    if kind not in ("rectangle", "circle", "mask"):
        raise HeatmapError(f"{one.get('label')!r} is a labelme {kind}, which is not read; draw it as a polygon")
    corners = coordinates(points, "two points (x, y)", columns=2)
    if corners.shape != (2, 2):
        raise HeatmapError(f"the labelme {kind} {one.get('label')!r} has {len(corners)} points; expected two")
    if kind == "circle":
        radius = float(np.hypot(*(corners[1] - corners[0])))
        return ellipse(shape, corners[0], (radius, radius))
    if kind == "mask":
        return _placed(_labelme_mask(one), shape, left=int(corners[0, 0]), top=int(corners[0, 1]))
    return box(shape, np.concatenate([corners.min(axis=0), corners.max(axis=0)]))


def _labelme_mask(one: Mapping[str, Any]) -> Bools:
    try:
        picture = Image.open(io.BytesIO(base64.b64decode(one.get("mask") or "")))
    except (OSError, ValueError) as error:
        raise HeatmapError(f"the labelme mask {one.get('label')!r} cannot be read ({error}); save it again") from error
    return as_mask(picture, name=f"the labelme mask {one.get('label')!r}")


def _voc_box(one: Element, shape: Size) -> Bools:
    corners = one.find("bndbox")
    if corners is None:
        raise HeatmapError(f"the object {one.findtext('name')!r} has no <bndbox>; expected a Pascal VOC box; add it")
    x0, y0, x1, y1 = (_child(corners, name) for name in ("xmin", "ymin", "xmax", "ymax"))
    return box(shape, (max(x0 - 1, 0.0), max(y0 - 1, 0.0), x1, y1))


def _cvat_shape(one: Element, shape: Size) -> Bools:
    if one.get("rotation") is not None and _attribute(one, "rotation"):
        raise HeatmapError(f"{one.get('label')!r} is a rotated {one.tag}, which is not read; draw it as a polygon")
    if one.tag == "box":
        return box(shape, [_attribute(one, name) for name in ("xtl", "ytl", "xbr", "ybr")])
    if one.tag == "polygon":
        return polygon(
            shape, [_numbers(point, f"a point of <{one.tag}>") for point in one.get("points", "").split(";")]
        )
    if one.tag == "ellipse":
        centre, radii = ([_attribute(one, name) for name in names] for names in (("cx", "cy"), ("rx", "ry")))
        return ellipse(shape, centre, radii)
    if one.tag == "mask":
        return _cvat_mask(one, shape)
    raise HeatmapError(f"{one.get('label')!r} is a CVAT {one.tag}, which is not read; draw it as a polygon")


def _cvat_mask(one: Element, shape: Size) -> Bools:
    """The mask of runs of 0 and 1 in turn, 0 first, along the rows of its box."""
    left, top, width, height = (int(_attribute(one, name)) for name in ("left", "top", "width", "height"))
    runs = np.asarray(_numbers(one.get("rle", ""), "rle of <mask>"), np.int64)
    if runs.min() < 0 or runs.sum() != height * width:
        raise HeatmapError(
            f"the CVAT mask {one.get('label')!r} does not add up to {height * width} pixels; export it again"
        )
    values = np.repeat(np.arange(runs.size) % 2 == 1, runs).reshape(height, width)
    return _placed(values, shape, left=left, top=top)


def _placed(part: Bools, shape: Size, *, left: int, top: int) -> Bools:
    """The mask of a part of the image, in the whole image."""
    bottom, right = top + part.shape[0], left + part.shape[1]
    if left < 0 or top < 0 or bottom > shape[0] or right > shape[1]:
        raise HeatmapError(
            f"a mask from x {left} to {right} and y {top} to {bottom} reaches outside the image of {shape[1]} x "
            f"{shape[0]} px; pass the image that was annotated"
        )
    whole = np.zeros(shape, bool)
    whole[top:bottom, left:right] = part
    return whole


def _json(path: FilePath) -> Mapping[str, Any]:
    try:
        content = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise HeatmapError(f"{os.fspath(path)} cannot be read ({error}); expected a JSON file") from error
    if not isinstance(content, dict):
        raise HeatmapError(f"{os.fspath(path)} holds a {type(content).__name__}; expected a JSON object")
    return content


class _Tree(ElementTree.TreeBuilder):
    """A document without a type: entities, declared in it, can be expanded without end or name other files."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise HeatmapError(f"the XML file has the document type {name!r}, which is not read; remove the DOCTYPE")


def _xml(path: FilePath) -> Element:
    try:
        return ElementTree.parse(path, ElementTree.XMLParser(target=_Tree())).getroot()
    except (OSError, ElementTree.ParseError, ValueError) as error:
        if isinstance(error, HeatmapError):
            raise
        raise HeatmapError(f"{os.fspath(path)} cannot be read ({error}); expected an XML file") from error


def _child(parent: Element, name: str) -> float:
    return _float(parent.findtext(name), f"<{name}> of <{parent.tag}>")


def _attribute(one: Element, name: str) -> float:
    return _float(one.get(name), f"{name} of <{one.tag}>")


def _numbers(text: str, what: str) -> list[float]:
    return [_float(number, what) for number in text.split(",")]


def _float(text: str | None, what: str) -> float:
    try:
        return float(text or "")
    except ValueError:
        raise HeatmapError(f"{what} is {text!r}; expected a number; check the file") from None
