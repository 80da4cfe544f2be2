"""Masks from the JSON exports of Label Studio: boxes, ellipses, polygons in percent of the image, and brush strokes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.masks._arguments import Bools, coordinates, holds_flags, naming, shown, size
from pytest_gradcam.masks._documents import FilePath, file_name, json_list
from pytest_gradcam.masks._entries import Size, some, union_of_label
from pytest_gradcam.masks._shapes import box, ellipse, polygon

_UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # what Label Studio puts before the name of an uploaded file
_SHAPES = ("rectangle", "ellipse", "polygon", "brush")
_CHANNELS = 4  # of the picture whose bytes a brush's runs hold: the last one is the mask
_MOST_STEPS = 2_000_000


def from_label_studio(path: FilePath, image: str, *, label: str | None = None, annotation: int | None = None) -> Bools:
    """The union of the regions of one image in a JSON export of Label Studio, of one label or of all; bool (H, W).

    `image` is the image's name, with or without what Label Studio puts before the name of an uploaded file; `annotation`
    the id of one annotation, needed where several people annotated the image. Reads rectangles, upright ellipses, polygons
    and brush strokes. Raises HeatmapError for an image or a label that is not there (naming those that are), for rotated
    shapes, and for brush strokes whose run lengths do not add up to the image.
    """
    name = file_name("Label Studio", path)
    tasks = json_list(path, name)
    with naming(f"{name}, image {shown(image)}"):
        chosen = _annotation(_task(tasks, image), annotation)
        results = [one for one in chosen if isinstance(one, Mapping) and _kind(one)]
        if not results:
            raise HeatmapError("its annotation marks nothing; leave the check out for this image")
        frame = _frame(results)
        entries = [(f"result {place}", text, one) for place, one in enumerate(results) for text in _labels(one)]
        return union_of_label(entries, label, frame, _mask)


def _task(tasks: Sequence[Any], image: str) -> Mapping[str, Any]:
    named = [(name, task) for task in tasks if isinstance(task, Mapping) for name in _names(task)]
    found = [task for name, task in named if image in (name, _UPLOADED.sub("", name))]
    if len(found) != 1:
        what = "is not in it" if not found else f"is in it {len(found)} times"
        raise HeatmapError(
            f"it {what}; it holds {some(name for name, _ in named)}; pass one of these names, of one image each"
        )
    return found[0]


def _names(task: Mapping[str, Any]) -> Iterator[str]:
    data = task.get("data")
    for value in data.values() if isinstance(data, Mapping) else ():
        if isinstance(value, str) and "." in value:
            yield PurePosixPath(value.partition("?d=")[2] or value).name


def _annotation(task: Mapping[str, Any], wanted: int | None) -> Sequence[Any]:
    """The results of the one annotation that counts."""
    listed = task.get("annotations")
    found = (
        [
            one
            for one in listed
            if isinstance(one, Mapping) and not one.get("was_cancelled") and wanted in (None, one.get("id"))
        ]
        if isinstance(listed, list)
        else []
    )
    if len(found) != 1:
        ids = (
            some(one.get("id") for one in listed if isinstance(one, Mapping)) if isinstance(listed, list) else "nothing"
        )
        raise HeatmapError(
            f"it has {len(found)} annotations to choose from (ids: {ids}); pass annotation= with the id of one"
        )
    results = found[0].get("result")
    if not isinstance(results, list):
        raise HeatmapError(f"its result is {shown(results)}; expected a list; export it as JSON")
    return results


def _kind(result: Mapping[str, Any]) -> str:
    """Of which shape it is, from a type such as rectanglelabels; empty for choices, texts and relations."""
    kind = str(result.get("type", ""))
    return next(
        (shape for shape in _SHAPES if kind.startswith(shape)), "keypoint" if kind.startswith("keypoint") else ""
    )


def _frame(results: Sequence[Mapping[str, Any]]) -> Size:
    sizes = {(one.get("original_height"), one.get("original_width")) for one in results}
    if len(sizes) != 1:
        raise HeatmapError(f"its regions are of images of {some(sizes)} (H, W); expected one size; export it again")
    return size(sizes.pop())  # type: ignore[arg-type]


def _value(result: Mapping[str, Any]) -> Mapping[str, Any]:
    value = result.get("value")
    if not isinstance(value, Mapping):
        raise HeatmapError(f"its value is {shown(value)}; expected an object; export it as JSON")
    return value


def _labels(result: Mapping[str, Any]) -> Sequence[object]:
    found = _value(result).get(str(result.get("type")))
    return found if isinstance(found, list) and found else [None]


def _mask(result: Mapping[str, Any], image: Size) -> Bools:
    kind, value = _kind(result), _value(result)
    height, width = image
    if result.get("image_rotation") not in (None, 0):
        raise HeatmapError(
            f"its image was turned by {shown(result['image_rotation'])} degrees for labelling, so its coordinates are not those "
            "of the image; expected an image as it is; turn it back and label it again"
        )
    if kind == "brush":
        return _brush(value, image)
    if value.get("rotation", 0) not in (0, 0.0, None):
        raise HeatmapError(
            f"it is rotated by {shown(value['rotation'])} degrees; expected an upright one; draw it as a polygon"
        )
    pixel = np.array([width / 100, height / 100])
    if kind == "polygon":
        points: Any = value.get("points")
        return polygon(image, coordinates(points, "points (x, y)", columns=2) * pixel)
    if kind == "keypoint":
        raise HeatmapError("it is a Label Studio keypoint, which is not supported; draw it as a polygon")
    names = ("x", "y", "radiusX", "radiusY") if kind == "ellipse" else ("x", "y", "width", "height")
    given: Any = [value.get(name) for name in names]
    first, second = coordinates(given, "four percentages", columns=4).reshape(2, 2) * pixel
    if kind == "ellipse":
        return ellipse(image, first, second.tolist())
    return box(image, np.concatenate([first, second]), format="xywh")


def _brush(value: Mapping[str, Any], image: Size) -> Bools:
    """The pixels that are not transparent in the picture whose bytes the run lengths hold."""
    coded = value.get("rle")
    if value.get("format", "rle") != "rle" or not isinstance(coded, list) or holds_flags(coded):
        raise HeatmapError(
            f"its brush strokes are {shown(coded)}; expected a list of bytes as run lengths; export it as JSON"
        )
    try:
        packed = np.array(coded, np.int64)
    except (ValueError, OverflowError, TypeError):
        packed = np.array([-1])
    if packed.ndim != 1 or not packed.size or packed.min() < 0 or packed.max() > 255:
        raise HeatmapError("its run lengths are not bytes; expected whole numbers from 0 to 255; export it again")
    pixels = image[0] * image[1]
    return _unpacked(packed.astype(np.uint8), pixels * _CHANNELS).reshape(*image, _CHANNELS)[..., -1] > 0


class _Bits:
    """The bits of some bytes, read from the front."""

    def __init__(self, packed: NDArray[np.uint8]) -> None:
        self._all, self._length = int.from_bytes(packed.tobytes(), "big"), 8 * packed.size
        self._text = f"{self._all:0{self._length}b}"
        self._next = 0

    def read(self, count: int) -> int:
        if self._next + count > self._length:
            raise HeatmapError("its run lengths end too early; the export is cut off; export it again")
        self._next += count
        return int(self._text[self._next - count : self._next], 2)


def _unpacked(packed: NDArray[np.uint8], expected: int) -> NDArray[np.uint8]:
    """The bytes of a picture from thi.ng's rle-pack, which Label Studio uses.

    A header (how many words, their bits, four sizes of run lengths), then one bit for a run or single words, two that choose
    the size of the length, the length, and the words.
    """
    bits = _Bits(packed)
    count, word = bits.read(32), bits.read(5) + 1
    if count != expected or word != 8:
        raise HeatmapError(
            f"its run lengths hold {count} words of {word} bits; expected {expected} of 8 for an image of this size; pass the "
            "image that was annotated"
        )
    sizes = [bits.read(4) + 1 for _ in range(4)]
    out, place, steps = np.zeros(count, np.uint8), 0, 0
    while place < count:
        is_run = bits.read(1)
        end = place + 1 + bits.read(sizes[bits.read(2)])
        steps += 1 if is_run else end - place
        if end > count or steps > _MOST_STEPS:
            raise HeatmapError("its run lengths reach beyond the image, or are too many; export it again")
        if is_run:
            out[place:end] = bits.read(word)
        else:
            out[place:end] = [bits.read(word) for _ in range(end - place)]
        place = end
    return out
