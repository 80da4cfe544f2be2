"""Masks from 'CVAT for images' files (XML)."""

from __future__ import annotations

from functools import partial

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.masks._arguments import Bools, naming, shown, size
from pytest_gradcam.masks._documents import (
    Element,
    FilePath,
    attribute,
    file_name,
    numbers,
    whole,
    whole_attribute,
    xml_root,
)
from pytest_gradcam.masks._entries import Size, placed, refuse_part_outside, some, union_of_label
from pytest_gradcam.masks._runs import unrolled
from pytest_gradcam.masks._shapes import box, ellipse, polygon


def from_cvat(
    path: FilePath, image: str, *, label: str | None = None, subset: str | None = None, clip: bool = False
) -> Bools:
    """The union of the shapes of one image in a 'CVAT for images' file, of one label or of all; bool (H, W).

    `image` is the image's name in the file, `subset` the subset that it is in, needed where two images share a name. Reads
    boxes, polygons, ellipses and masks. With `clip=True` the part of a box, polygon or ellipse outside the image is cut
    off. Raises HeatmapError for an image or a label that is not there (naming those that are), a name that two images
    share, other and rotated shapes, and XML with a document type.
    """
    name = file_name("CVAT", path)
    entry = _only_image(xml_root(path, name), image, subset, name)
    with naming(f"{name}, image {shown(image)}"):
        frame = size((whole_attribute(entry, "height"), whole_attribute(entry, "width")))
        marked = [one for one in entry if one.get("label") is not None]
        entries = [(f"<{one.tag}> {place}", one.get("label"), one) for place, one in enumerate(marked, start=1)]
        return union_of_label(entries, label, frame, partial(_mask, clip=clip))


def _only_image(root: Element, image: str, subset: str | None, name: str) -> Element:
    entries = [one for one in root.iter("image") if subset is None or one.get("subset") == subset]
    found = [one for one in entries if isinstance(image, str) and one.get("name") == image]
    if not found:
        where = "" if subset is None else f" in subset {shown(subset)}"
        if not entries and root.find("track") is not None:
            raise HeatmapError(
                f"{name} is an export of CVAT for video, with tracks; expected one of CVAT for images; export it in that format"
            )
        held = some(one.get("name") for one in entries)
        raise HeatmapError(f"{name} holds no image {shown(image)}{where}; it holds {held}; pass one of these")
    if len(found) > 1:
        raise HeatmapError(
            f"{name} holds {len(found)} images named {shown(image)}: {some(map(_place, found))}; expected one; "
            "pass subset=, or export each subset to a file of its own"
        )
    return found[0]


def _place(image: Element) -> str:
    return f"id {image.get('id')} in subset {image.get('subset')}"


def _mask(entry: Element, frame: Size, *, clip: bool) -> Bools:
    if entry.get("rotation") is not None and attribute(entry, "rotation"):
        raise HeatmapError(f"it is a rotated {entry.tag}, which is not supported; draw it as a polygon")
    if entry.tag == "box":
        return box(frame, [attribute(entry, name) for name in ("xtl", "ytl", "xbr", "ybr")], clip=clip)
    if entry.tag == "polygon":
        points = [numbers(point, "a point of <polygon>") for point in entry.get("points", "").split(";")]
        return polygon(frame, points, clip=clip)
    if entry.tag == "ellipse":
        centre, radii = ([attribute(entry, name) for name in names] for names in (("cx", "cy"), ("rx", "ry")))
        return ellipse(frame, centre, radii, clip=clip)
    if entry.tag == "mask":
        return _run_lengths(entry, frame)
    raise HeatmapError(f"it is a CVAT {entry.tag}, which is not supported; draw it as a polygon")


def _run_lengths(entry: Element, frame: Size) -> Bools:
    """The mask of run lengths along the rows of its box."""
    left, top, width, height = (whole_attribute(entry, name) for name in ("left", "top", "width", "height"))
    refuse_part_outside((height, width), frame, left=left, top=top)
    runs = [whole(run, "a run of <mask>") for run in numbers(entry.get("rle", ""), "rle of <mask>")]
    return placed(unrolled(runs, height * width).reshape(height, width), frame, left=left, top=top)
