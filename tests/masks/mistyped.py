"""Annotation files of every format that is read, each with one value of a wrong type in one place."""

from __future__ import annotations

import base64
import copy
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from pytest_gradcam import masks

SHAPE = (12, 20)
RIGHT = masks.box(SHAPE, (5, 3, 14, 7))
CORNERS = [[5, 3], [14, 3], [14, 7], [5, 7]]

#: What stands in the place of a value; none of them is right anywhere.
WRONG_JSON: list[Any] = [None, "x", -1, 1e300, [], {}, True, [[]], [["x", None]], {"x": [1]}, float("nan"), 10**30]
WRONG_XML = ["", "x", "-1", "1e300", "nan", "-inf", "[]", "true", "None", "1" * 5000, "5,3", ";", ","]


def _png(mask: Any) -> str:
    out = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8)).save(out, "png")
    return base64.b64encode(out.getvalue()).decode()


def _labelme(shape_type: str, points: list[list[float]], **more: Any) -> dict[str, Any]:
    shape = {"label": "cat", "points": points, "group_id": None, "shape_type": shape_type, "flags": {}, **more}
    stated = {"imagePath": "a.png", "imageData": None, "imageHeight": 12, "imageWidth": 20}
    return {"version": "5.5.0", "flags": {}, "shapes": [shape], **stated}


LABELME = {
    "rectangle": _labelme("rectangle", [[14, 7], [5, 3]]),
    "polygon": _labelme("polygon", CORNERS),
    "circle": _labelme("circle", [[9.5, 5], [9.5, 8]]),
    "mask": _labelme("mask", [[5, 3], [13, 6]], mask=_png(np.ones((4, 9)))),
}
_ENTRY = {"id": 7, "image_id": 3, "category_id": 1, "iscrowd": 0, "area": 36.0, "bbox": [5, 3, 9, 4]}
# Nine columns of four pixels after five empty ones: 12 pixels high, so 8 empty pixels between two runs.
_RUNS = [63, *[4, 8] * 8, 4, 77]
COCO = {
    "polygon": {**_ENTRY, "segmentation": [[5, 3, 14, 3, 14, 7, 5, 7]]},
    "counts": {**_ENTRY, "segmentation": {"size": [12, 20], "counts": _RUNS}},
    "compressed": {**_ENTRY, "segmentation": {"size": [12, 20], "counts": "o148" + "00" * 7 + "0U2"}},
    "box": _ENTRY,
}
VOC = (
    "<annotation><folder>f</folder><filename>a.png</filename>"
    "<size><width>20</width><height>12</height><depth>3</depth></size>"
    "<object><name>cat</name><truncated>0</truncated><bndbox>"
    "<xmin>6</xmin><ymin>4</ymin><xmax>14</xmax><ymax>7</ymax></bndbox></object></annotation>"
)
_CVAT = (
    '<annotations><version>1.1</version><image id="0" name="a.png" subset="train" width="20" height="12">'
    '{}</image><image id="1" name="b.png" width="4" height="3"/></annotations>'
)
_CVAT_POINTS = ";".join(f"{x}.00,{y}.00" for x, y in CORNERS)
CVAT = {
    "box": _CVAT.format('<box label="cat" xtl="5.00" ytl="3.00" xbr="14.00" ybr="7.00" z_order="0"/>'),
    "polygon": _CVAT.format(f'<polygon label="cat" points="{_CVAT_POINTS}" z_order="0"/>'),
    "ellipse": _CVAT.format('<ellipse label="cat" cx="9.50" cy="5.00" rx="3.00" ry="3.00" z_order="0"/>'),
    "mask": _CVAT.format('<mask label="cat" rle="0, 36" left="5" top="3" width="9" height="4" z_order="0"/>'),
}
ROUND = masks.circle(SHAPE, (9.5, 5), 3)


def paths(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON document, the document itself first."""
    yield path
    for key, value in content.items() if isinstance(content, dict) else enumerate(content or ()):
        if isinstance(value, (dict, list)):
            yield from paths(value, (*path, key))
        else:
            yield (*path, key)


def replaced(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of the document with the value in that place."""
    if not path:
        return value
    changed = copy.deepcopy(content)
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return changed


def wrong_json(content: Any) -> Iterator[tuple[str, Any]]:
    """(what was changed, the changed document)."""
    for path in paths(content):
        for value in WRONG_JSON:
            yield f"{'/'.join(map(str, path))} = {value!r}", replaced(content, path, value)


def wrong_xml(text: str) -> Iterator[tuple[str, str]]:
    """(what was changed, the changed document): texts and attributes replaced or missing, elements missing."""
    for index, element in enumerate(ElementTree.fromstring(text).iter()):
        for value in WRONG_XML:
            if element.text is not None:
                yield (
                    f"text of <{element.tag}> = {value[:20]!r}",
                    _edited(text, index, lambda one, v=value: _text(one, v)),
                )
            for name in element.attrib:
                change = f"{name} of <{element.tag}> = {value[:20]!r}"
                yield change, _edited(text, index, lambda one, n=name, v=value: one.set(n, v))
        for name in element.attrib:
            yield f"no {name} of <{element.tag}>", _edited(text, index, lambda one, n=name: one.attrib.pop(n))
        for child in range(len(element)):
            yield f"no child {child} of <{element.tag}>", _edited(text, index, lambda one, n=child: one.remove(one[n]))


def _text(element: ElementTree.Element, value: str) -> None:
    element.text = value


def _edited(text: str, index: int, edit: Callable[[Any], Any]) -> str:
    root = ElementTree.fromstring(text)
    edit(list(root.iter())[index])
    return ElementTree.tostring(root, "unicode")


def cases(folder: Path) -> Iterator[tuple[str, Callable[[], Any], Any]]:
    """(name, the call that reads the file, the right mask) for each file; each is written before it is yielded."""
    for kind, content in COCO.items():
        for change, document in wrong_json(content):
            yield f"coco {kind}: {change}", lambda document=document: masks.from_coco(document, SHAPE), RIGHT
    for kind, content in LABELME.items():
        for change, document in wrong_json(content):
            if kind == "circle" and "points/1/" in change and change.endswith("= -1"):
                continue  # the point on the rim may lie outside the image
            (folder / "a.json").write_text(json.dumps(document), "utf-8")
            right = ROUND if kind == "circle" else RIGHT
            yield f"labelme {kind}: {change}", lambda: masks.from_labelme(folder / "a.json", SHAPE, label="cat"), right
    for change, text in wrong_xml(VOC):
        (folder / "a.xml").write_text(text, "utf-8")
        yield f"voc: {change}", lambda: masks.from_voc(folder / "a.xml", label="cat"), RIGHT
    for kind, whole in CVAT.items():
        for change, text in wrong_xml(whole):
            (folder / "a.xml").write_text(text, "utf-8")
            right = ROUND if kind == "ellipse" else RIGHT
            yield f"cvat {kind}: {change}", lambda: masks.from_cvat(folder / "a.xml", "a.png", label="cat"), right
