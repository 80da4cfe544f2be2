"""What users name as a target: a class, one class rather than another, a detected object, a region, a callable."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.settings import nearest


@dataclass(frozen=True)
class Box:
    """One object that a detector finds: the detection with this label that matches this box best.

    `label` is a class name or an index, None for any; `box` is (x0, y0, x1, y1) in pixels of the image that is passed,
    kept as floats. Raises HeatmapError for what is no such box.
    """

    label: str | int | None
    box: tuple[float, float, float, float]

    def __post_init__(self) -> None:
        try:
            edges = tuple(float(edge) for edge in self.box)
        except (TypeError, ValueError):
            edges = ()
        if len(edges) != 4 or not all(map(math.isfinite, edges)) or edges[0] >= edges[2] or edges[1] >= edges[3]:
            raise HeatmapError(
                f"box={self.box!r} is no box; expected four numbers (x0, y0, x1, y1) with x0 < x1 and y0 < y1, "
                "in pixels of the image that is passed"
            )
        object.__setattr__(self, "box", edges)


@dataclass(frozen=True, eq=False)  # a mask is an array, which has no truth value to compare by
class Region:
    """One class in a region of the image, as a segmenter sees it.

    `label` is a class name or an index; `mask` is the region in the coordinates of the image that is passed, by
    default all pixels that are predicted as that class. Two regions are equal only if they are the same object.
    """

    label: str | int
    mask: Any = None


@dataclass(frozen=True)
class Contrast:
    """What speaks for one class rather than another: the difference of their logits. Each is an index or a name."""

    target: int | str
    rather_than: int | str


#: None (the predicted class), an index, a class name, a contrast, a callable from the model's output for one image to a
#: scalar tensor, for detectors a box, for segmenters a region.
Target = int | str | Contrast | Box | Region | Callable[[Any], Any] | None
Classes = Sequence[str] | Mapping[str, int]


class ClassNames:
    """The names of a model's classes, both ways. Without names a class is called by its index."""

    def __init__(self, classes: Classes | None) -> None:
        if isinstance(classes, str):
            raise HeatmapError(f"classes={classes!r} is one name; expected a sequence of names or a dict name -> index")
        pairs = classes.items() if isinstance(classes, Mapping) else ((n, i) for i, n in enumerate(classes or ()))
        self.pairs = [(str(name), int(index)) for name, index in pairs]
        self._names = {index: name for name, index in self.pairs}

    def name(self, index: int) -> str:
        return self._names.get(index, str(index))

    def index(self, name: str) -> int:
        """Raises HeatmapError for a name that no class has, or that several have."""
        found = [index for known, index in self.pairs if known == name]
        if len(found) == 1:
            return found[0]
        if found:
            raise HeatmapError(
                f"the class name {name!r} stands for the indices {', '.join(map(str, found))}; pass the index you mean"
            )
        if not self.pairs:
            raise HeatmapError(
                f"the class name {name!r} means nothing here, since no class names are set; "
                "pass an index, or set classes (gradcam_classes in pytest)"
            )
        names = [known for known, _ in self.pairs]
        hint = nearest(name, names) or "; check gradcam_classes"
        raise HeatmapError(f"there is no class {name!r} among the {len(names)} class names{hint}")


def class_index(target: Any, names: ClassNames) -> int:
    """The index of a class that is given by index or name."""
    if isinstance(target, str):
        return names.index(target)
    if hasattr(target, "__index__") and not isinstance(target, bool):
        return int(target.__index__())
    raise HeatmapError(
        f"target={target!r} is no target; expected None, a class index, a class name, a Contrast or a callable"
    )


def index_within(index: int, count: int) -> int:
    """The index, if there are so many scores. Raises HeatmapError for one below 0 or beyond the last score."""
    if not 0 <= index < count:
        raise HeatmapError(
            f"target={index} is out of range; expected an index from 0 to {count - 1}, since the model gives {count} scores"
        )
    return index
