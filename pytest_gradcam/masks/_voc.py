"""Masks from Pascal VOC files (XML)."""

from __future__ import annotations

from functools import partial

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.masks._arguments import Bools, naming, size
from pytest_gradcam.masks._documents import Element, FilePath, child, file_name, whole_child, xml_root
from pytest_gradcam.masks._entries import Size, union_of_label
from pytest_gradcam.masks._shapes import box


def from_voc(path: FilePath, *, label: str | None = None, clip: bool = False) -> Bools:
    """The union of the boxes in a Pascal VOC file, of one label or of all; bool (H, W) as the file states it.

    As in the VOC development kit, pixels count from 1 and xmax and ymax belong to the box; an xmin or ymin of 0, which some
    tools write, is the first pixel as well. With `clip=True` the part outside the image is cut off. Raises HeatmapError for
    a label that is not there (naming those that are), a file without a size, boxes outside the image without `clip`, and
    XML with a document type.
    """
    name = file_name("Pascal VOC", path)
    root = xml_root(path, name)
    stated = root.find("size")
    if stated is None:
        raise HeatmapError(f"{name} states no <size>; expected a Pascal VOC file; use masks.box instead")
    with naming(name):
        image = size((whole_child(stated, "height"), whole_child(stated, "width")))
        entries = [
            (f"object {place}", one.findtext("name"), one) for place, one in enumerate(root.iter("object"), start=1)
        ]
        return union_of_label(entries, label, image, partial(_box, clip=clip))


def _box(entry: Element, image: Size, *, clip: bool) -> Bools:
    corners = entry.find("bndbox")
    if corners is None:
        raise HeatmapError("it has no <bndbox>; expected a Pascal VOC box; add it")
    x0, y0, x1, y1 = (child(corners, name) for name in ("xmin", "ymin", "xmax", "ymax"))
    return box(image, (_edge(x0), _edge(y0), x1, y1), clip=clip)


def _edge(first_pixel: float) -> float:
    return 0.0 if 0 <= first_pixel < 1 else first_pixel - 1
