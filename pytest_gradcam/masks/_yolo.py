"""Masks from the label files of YOLO (text): boxes and polygons as shares of the image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pytest_gradcam import images
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.masks._arguments import Bools, naming, shown, size
from pytest_gradcam.masks._documents import FilePath, file_name
from pytest_gradcam.masks._entries import Size, union_of_label
from pytest_gradcam.masks._shapes import box, polygon

_ROUNDING = 1e-4  # of the image: the digits that tools write
_BOX, _SCORED = 4, 5  # numbers after the class: a box, and one with the confidence of a prediction
_LEAST = 6  # numbers of a polygon


def from_yolo(
    path: FilePath, shape: Sequence[int], *, label: str | int | None = None, names: Sequence[str] | None = None
) -> Bools:
    """The union of the boxes and polygons of a YOLO label file, of one label or of all; bool (H, W).

    Each line is a class number and shares of the image: `x y width height` of a box by its centre, with a confidence behind
    it in files of predictions, or `x y x y ...` of a polygon (also of a rotated box). Keypoints cannot be told apart from
    polygons: files of pose models are not supported. `label` is a class number, or a name among `names`. Raises
    HeatmapError for a label that is not there (naming those that are), for a name that is not in `names`, for lines of
    another form, and for shares outside [0, 1].
    """
    image = size(shape)
    name = file_name("YOLO", path)
    with naming(name):
        wanted = _known(label, names)
    try:
        lines = images.file_content(path, name).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise HeatmapError(f"{name} cannot be read ({error}); expected text") from None
    with naming(name):
        entries = [_entry(number, line, names) for number, line in enumerate(lines, start=1) if line.strip()]
        return union_of_label(entries, wanted, image, _mask)


def _known(label: str | int | None, names: Sequence[str] | None) -> str | None:
    """The label as the file's entries are called."""
    if label is None or (isinstance(label, str) and names is not None and label in names):
        return label
    if isinstance(label, str):
        given = "there are no names" if names is None else f"they are {shown(list(names))}"
        raise HeatmapError(
            f"label={label!r} is not among the names, {given}; pass names= in the order of the class numbers"
        )
    return _called(label, names)


def _called(number: int, names: Sequence[str] | None) -> str:
    return str(number) if names is None or not 0 <= number < len(names) else names[number]


def _entry(number: int, line: str, names: Sequence[str] | None) -> tuple[str, str, list[float]]:
    """Where it is, what it is called, and its numbers."""
    fields = line.split()
    with naming(f"line {number}"):
        values = [_share(field) for field in fields[1:]]
        if not fields[0].isdecimal():
            raise HeatmapError(f"{shown(fields[0])} is not a class number; expected a whole number of 0 or more")
        if names is not None and int(fields[0]) >= len(names):
            raise HeatmapError(f"class {fields[0]} has no name; expected {len(names)} classes; check names=")
        if len(values) not in (_BOX, _SCORED) and (len(values) < _LEAST or len(values) % 2):
            raise HeatmapError(
                f"{len(values)} numbers follow the class; expected 4 of a box, 5 with a confidence, or pairs of 3 or more points"
            )
    return f"line {number}", _called(int(fields[0]), names), values


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not -_ROUNDING <= value <= 1 + _ROUNDING:
        raise HeatmapError(f"{shown(text)} is not a share of the image; expected a number from 0 to 1; check the file")
    return value


def _mask(values: list[float], image: Size) -> Bools:
    height, width = image
    if len(values) > _SCORED:
        return polygon(image, np.clip(np.reshape(values, (-1, 2)), 0, 1) * (width, height))
    x, y, wide, tall = values[:_BOX]
    edges = np.array([x - wide / 2, y - tall / 2, x + wide / 2, y + tall / 2])
    if edges.min() < -_ROUNDING or edges.max() > 1 + _ROUNDING:
        raise HeatmapError(
            f"the box {shown(values[:_BOX])} reaches outside the image: from {edges[:2].min():g} to {edges[2:].max():g}; "
            "expected shares from 0 to 1; check the file"
        )
    return box(image, np.clip(edges, 0, 1) * (width, height, width, height))
