"""What the readers of annotation files share: the entries of one label, their union, a mask of a part of the image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.masks._arguments import Bools, naming, shown

Size = tuple[int, int]
T = TypeVar("T")


def union_of_label(
    entries: Sequence[tuple[str, object, T]], label: str | None, image: Size, draw: Callable[[T, Size], Bools]
) -> Bools:
    """The union of the entries (where it is in the file, its label, itself) of one label or of all, as `draw` draws them.

    Raises HeatmapError if there is none, and for what `draw` refuses, naming the entry.
    """
    union = np.zeros(image, bool)
    for where, name, entry in _selected(entries, label):
        with naming(f"{where} {shown(name)}"):
            union |= draw(entry, image)
    return union


def _selected(entries: Sequence[tuple[str, object, T]], label: str | None) -> Sequence[tuple[str, object, T]]:
    if label is None and entries:
        return entries
    for where, name, _ in entries:
        if not isinstance(name, str):
            raise HeatmapError(f"{where} has the label {shown(name)}; expected text; name it, or leave label= out")
    selected = [entry for entry in entries if entry[1] == label]
    if not selected:
        raise HeatmapError(
            f"this annotation marks {'nothing' if label is None else f'no {shown(label)}'}; it holds "
            f"{some(name for _, name, _ in entries)}; pass one of these, or leave the check out for this image"
        )
    return selected


def some(names: Iterable[object]) -> str:
    """The first eight names in alphabetical order, and how many more there are."""
    found = sorted({shown(name) for name in names})
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    return (", ".join(found[:8]) or "nothing") + more


def refuse_part_outside(shape: Size, image: Size, *, left: int, top: int) -> None:
    """Raise HeatmapError unless the part of this shape lies in the image."""
    bottom, right = top + shape[0], left + shape[1]
    if min(left, top) < 0 or min(shape) < 1 or bottom > image[0] or right > image[1]:
        raise HeatmapError(
            f"a mask from x {left:g} to {right:g} and y {top:g} to {bottom:g} reaches outside the image of {image[1]} x "
            f"{image[0]} px; pass the image that was annotated"
        )


def placed(part: Bools, image: Size, *, left: int, top: int) -> Bools:
    """The mask of a part of the image, in the whole image. Raises HeatmapError if it reaches outside."""
    refuse_part_outside((part.shape[0], part.shape[1]), image, left=left, top=top)
    whole = np.zeros(image, bool)
    whole[top : top + part.shape[0], left : left + part.shape[1]] = part
    return whole
