"""What users name as a target: a class, one class rather than another, a detected object, a region, a value, a callable."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.validation import is_flag, is_whole, nearest, number, shown


@dataclass(frozen=True)
class Box:
    """One object that a detector finds: the detection with this label that matches this box best.

    `label` is a class name or an index, None for any; `box` is (x0, y0, x1, y1) in pixels of the image that is passed,
    kept as floats. Raises HeatmapError for anything else.
    """

    label: str | int | None
    box: tuple[float, float, float, float]

    def __post_init__(self) -> None:
        try:
            edges = tuple(float(edge) for edge in self.box)
        except (TypeError, ValueError, RuntimeError):  # the last of a tensor without values
            edges = ()
        if len(edges) != 4 or not all(map(math.isfinite, edges)) or edges[0] >= edges[2] or edges[1] >= edges[3]:
            raise HeatmapError(
                f"box={shown(self.box)} is not a box; expected four numbers (x0, y0, x1, y1) with x0 < x1 and y0 < y1, "
                "in pixels of the image that is passed"
            )
        object.__setattr__(self, "box", edges)


@dataclass(frozen=True)
class Detection(Box):
    """An object that a detector found, as `explainer.detections(image)` lists it: a Box, and its `score` in [0, 1]."""

    score: float = 0.0


@dataclass(frozen=True, eq=False)  # comparing masks, which are arrays, gives no single True or False
class Region:
    """One class in a region of the image, as a segmenter sees it.

    `label` is a class name or an index; `mask` is the region in the coordinates of the image that is passed, by
    default all pixels that are predicted as that class. Two regions are equal only if they are the same object.
    """

    label: str | int
    mask: Any = None

    def __post_init__(self) -> None:
        if self.label is None:
            raise HeatmapError("a Region without a label says nothing; expected the name or the index of a class")


@dataclass(frozen=True)
class Contrast:
    """What speaks for one class rather than another: the difference of their logits. Each is an index or a name.

    Raises HeatmapError for a class rather than itself, whose difference is 0 whatever the image.
    """

    target: int | str
    rather_than: int | str

    def __post_init__(self) -> None:
        if type(self.target) is type(self.rather_than) and self.target == self.rather_than:
            raise _with_itself(self)

    def indices(self, names: ClassNames) -> tuple[int, int]:
        """Those of both classes. Raises HeatmapError for names that no class has, and for two names of one class."""
        own, other = class_index(self.target, names), class_index(self.rather_than, names)
        if own == other:
            raise _with_itself(self)
        return own, other


@dataclass(frozen=True)
class Value:
    """A number that the model returns and that is not the score of a class: the result of a regression, a similarity, a distance.

    `function` takes what the model returns for one image, without the batch's axis, and returns a tensor with one value;
    `unit` is a difference that matters, in the value's own units (5, for an age in years): checks that replace pixels
    count in it, and without one in the spread of the value over the images; `name` is what messages call it.
    Raises HeatmapError for anything else.
    """

    function: Callable[[Any], Any]
    unit: float | None = None
    name: str = "value"

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise HeatmapError(
                f"Value({self.function!r:.60}) is not callable; expected a function of the model's output for one image"
            )
        if self.unit is not None:
            number("unit", self.unit, "a difference that matters, above 0", lambda unit: unit > 0)

    def __call__(self, output: Any) -> Any:
        return self.function(output)

    @property
    def __name__(self) -> str:
        return self.name


#: None (the predicted class), an index, a class name, a contrast, a callable from the model's output for one image to a
#: scalar tensor, for detectors a box, for segmenters a region.
Target = int | str | Contrast | Box | Region | Callable[[Any], Any] | None
#: Names in the order of the scores, name -> index, index -> name, or a whole configuration of Hugging Face.
Classes = Sequence[Any] | Mapping[Any, Any]


class Written(str):
    """A class as a table or a command line has it: a name or, in digits, an index."""


class ClassNames:
    """The names of a model's classes, both ways. Without names a class is called by its index."""

    def __init__(self, classes: Classes | None) -> None:
        self._complete = not isinstance(classes, Mapping)
        self.pairs = _pairs(classes)
        self._names = {index: name for name, index in self.pairs}

    def check(self, count: int) -> None:
        """Raises HeatmapError unless the names fit this number of scores: one each, or a dict without larger indices."""
        last = max(self._names, default=-1)
        if last >= count or (self._complete and self.pairs and last + 1 != count):
            two = "; one score stands for two classes, 0 and 1" if count == 2 else ""
            count_of = "is 1 class name" if len(self._names) == 1 else f"are {len(self._names)} class names"
            what = count_of if self._complete else f"is a class name for the index {last}"
            raise HeatmapError(
                f"there {what}, and the model gives {count} scores; expected one name for "
                f"each score, in the order of the scores{two}. Check gradcam_classes (classes= of an Explainer), and whether "
                "there is a background class"
            )

    def name(self, index: int) -> str:
        return self._names.get(index, str(index))

    def written(self, text: str) -> int:
        """The index of a class that is written as its name, or as its index.

        Raises HeatmapError as `index` does, and for digits that stand for one class as a name, for another as an index.
        """
        if not text.isdecimal() or str(int(text)) != text:
            return self.index(text)
        index = int(text)
        if not any(name.isdecimal() for name, _ in self.pairs):
            return index
        own = [known for name, known in self.pairs if name == text]
        if own == [index] or (len(own) == 1 and index not in self._names):
            return own[0]
        raise HeatmapError(
            f"the class {text} is not clear: some classes are named in digits, so it may be the name of a class or the index "
            f"of {self.name(index)!r}; expected a class that both mean alike. Pass the index as a whole number, in cases.of, or "
            "give the classes other names"
        )

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


def _pairs(classes: Any) -> list[tuple[str, int]]:
    """(name, index) for every name, a class's last one the one that it is called by."""
    if hasattr(classes, "tolist"):  # an array
        with suppress(RuntimeError):  # of a tensor without values of its own, which is refused below
            classes = classes.tolist()
    if classes is None:
        return []
    if isinstance(classes, (str, bytes)) or not isinstance(classes, (Sequence, Mapping)):
        raise HeatmapError(f"classes={classes!r:.60} is one name; expected a sequence of names or a dict name -> index")
    if not isinstance(classes, Mapping):
        return [(name, index) for index, entry in enumerate(classes) for name in _labels(entry)]
    of_config = [_pairs(classes[key]) for key in ("id2label", "label2id") if isinstance(classes.get(key), Mapping)]
    if of_config:  # Hugging Face's config.json
        return _agreed(of_config)
    if _by_name(classes):
        return _one_name_each([(str(name), _index(index)) for name, index in classes.items()])
    return [(name, _index(index)) for index, entry in classes.items() for name in _labels(entry)]


def _agreed(ways: list[list[tuple[str, int]]]) -> list[tuple[str, int]]:
    """What a configuration says once or both ways. Raises HeatmapError where label2id has what id2label has not.

    A name that two classes share is there once only.
    """
    for name, index in ways[-1]:
        if (name, index) not in ways[0]:
            raise HeatmapError(
                f"id2label and label2id of the class names differ: {name!r} is {index} in label2id alone; expected the same in "
                "both. Pass the one that the model was trained with"
            )
    return ways[0]


def _one_name_each(pairs: list[tuple[str, int]]) -> list[tuple[str, int]]:
    first: dict[int, str] = {}
    for name, index in pairs:
        if first.setdefault(index, name) != name:
            raise HeatmapError(
                f"the class names {first[index]!r} and {name!r} have the same index, {index}; expected one name for each index. "
                "For several names of a class pass index -> list of its names"
            )
    return pairs


def _by_name(classes: Mapping[Any, Any]) -> bool:
    """Whether a dict goes from names to indices, not from indices to names. Raises HeatmapError if either may be meant."""
    if not all(map(_is_index, classes.values())):
        return False
    whole_keys, whole_values = (all(map(is_whole, each)) for each in (classes.keys(), classes.values()))
    if not all(map(_is_index, classes)) or whole_keys != whole_values:
        return not whole_keys or whole_values
    if all(int(str(key)) == int(str(value)) for key, value in classes.items()):
        return True
    raise HeatmapError(
        f"classes={dict(classes)!r:.60} may go from names to indices or from indices to names, since both are digits; expected "
        "one of them as whole numbers; pass a list of the names in the order of the scores"
    )


def _is_index(value: Any) -> bool:
    return is_whole(value) or str(value).strip().isdecimal()


def _labels(entry: Any) -> list[str]:
    """The names of one class: one, or several as in ImageNet's ["n01440764", "tench"]."""
    several = entry if isinstance(entry, (list, tuple)) and entry else [entry]
    if len({isinstance(name, str) for name in several}) > 1:
        raise HeatmapError(
            f"the class {shown(entry)} is text and a number; expected names in the order of the scores. If the number is the "
            "index, pass a dict name -> index"
        )
    for name in several:
        if not isinstance(name, (str, int, float)) or not str(name).strip():
            raise HeatmapError(f"the class name {shown(name)} is blank or not text; expected a name for each score")
    return [str(name) for name in several]


def _index(value: Any) -> int:
    """The index that a dict gives: a whole number, or one written out."""
    text = str(value).strip()
    if is_flag(value) or not text.isdecimal():
        raise HeatmapError(
            f"the class names have {value!r:.60} in place of an index; expected names in the order of the scores, "
            "name -> index, or index -> name"
        )
    return int(text)


def _with_itself(contrast: Contrast) -> HeatmapError:
    return HeatmapError(
        f"{contrast!r} sets a class against itself, so its score is 0 for every image; name two different classes"
    )


def class_index(target: Any, names: ClassNames) -> int:
    """The index of a class that is given by index or name."""
    if isinstance(target, str):
        return names.written(target) if isinstance(target, Written) else names.index(target)
    if hasattr(target, "__index__") and not isinstance(target, bool):
        with suppress(TypeError):  # of a tensor or an array that is no whole number
            return int(target.__index__())
    raise HeatmapError(
        f"target={shown(target)} is not a target; expected None, a class index, a class name, a Contrast or a callable"
    )


def index_within(index: int, count: int) -> int:
    """The index. Raises HeatmapError if it is below 0 or beyond the last score."""
    if not 0 <= index < count:
        raise HeatmapError(
            f"target={index} is out of range; expected an index from 0 to {count - 1}, since the model gives {count} scores"
        )
    return index
