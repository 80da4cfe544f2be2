"""A COCO file as cases: which annotations belong to which image, and what does not fit together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pytest_gradcam import images, masks
from pytest_gradcam.data.case import Case, is_path
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.masks._documents import file_name, json_object
from pytest_gradcam.validation import is_flag, is_whole, nearest, shown

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Document:
    """The lists of a COCO file, with the names of its categories, and the folder of its images."""

    name: str
    folder: Path
    images: Sequence[Entry]
    annotations: Sequence[Entry]
    categories: Mapping[Any, str]

    def known(self, names: Sequence[str] | None, what: str) -> tuple[str, ...] | None:
        """The names. Raises HeatmapError for one that no category has."""
        if names is None:
            return None
        if isinstance(names, str):
            raise HeatmapError(f"{what}={names!r} is one name; expected a list of them; pass [{names!r}]")
        for name in names:
            if name not in self.categories.values():
                there = sorted(self.categories.values())
                raise HeatmapError(
                    f"{self.name} has no category {name!r}; it has {', '.join(there)}{nearest(str(name), there)}"
                )
        return tuple(names)


@dataclass(frozen=True)
class Choice:
    """Which categories make up the mask (None: all the others) and the invalid pixels, what the target is, and whether
    what reaches outside of the image is cut off.
    """

    categories: tuple[str, ...] | None
    invalid: tuple[str, ...]
    target: Any
    clip: bool = False

    def kind(self, category: str) -> str:
        """'invalid', 'mask', or '' for a category that is left out."""
        if category in self.invalid:
            return "invalid"
        return "mask" if self.categories is None or category in self.categories else ""


@dataclass(frozen=True)
class Drawn:
    """The union of annotations, drawn when it is asked for, in the file's own size (H, W) of the image."""

    path: Path
    entries: tuple[Entry, ...]
    stated: tuple[int, int] | None
    clip: bool

    def __call__(self) -> Any:
        shape = images.shape_of(self.path)
        if self.stated not in (None, shape):
            height, width = self.stated
            raise HeatmapError(
                f"the annotations are of an image of {width} x {height} px, the file has {shape[1]} x {shape[0]}; expected "
                "the same; put back the image that was annotated"
            )
        union = np.zeros(shape, bool)
        for entry in self.entries:
            union |= masks.from_coco(entry, shape, clip=self.clip)
        return union


def read(annotations: Any, folder: Path) -> Document:
    """The document. Raises HeatmapError unless it has the lists of a COCO file."""
    if is_path(annotations):
        name = file_name("COCO", annotations)
        content = json_object(annotations, name)
    else:
        name, content = "the COCO annotations", annotations
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, Mapping) or not isinstance(content.get(key), list):
            raise HeatmapError(
                f"{name} has no list {key!r}; expected a COCO file of objects: images, annotations, categories"
            )
        if not all(isinstance(entry, Mapping) for entry in content[key]):
            raise HeatmapError(f"{name} has an entry in {key} that is not an object; expected COCO's entries")
        _check_ids(name, key, content[key])
    return Document(name, folder, content["images"], content["annotations"], _categories(name, content["categories"]))


def _check_ids(name: str, key: str, entries: Sequence[Entry]) -> None:
    """Raises HeatmapError for ids that are neither numbers nor text; what is missing is said of each image."""
    for place, entry in enumerate(entries):
        for field in ("id", "image_id", "category_id"):
            value = entry.get(field)
            if value is not None and (is_flag(value) or not isinstance(value, (int, float, str))):
                raise HeatmapError(
                    f"{name}: {key}[{place}] has {shown(value)} as its {field}; expected a number or text"
                )


def _categories(name: str, entries: Sequence[Entry]) -> dict[Any, str]:
    """The names by id. Raises HeatmapError for a category without a name, and for two with one id: which would be meant?"""
    found: dict[Any, str] = {}
    for place, entry in enumerate(entries):
        label = entry.get("name")
        if not isinstance(label, str) or not label.strip():
            raise HeatmapError(f"{name}: categories[{place}] has {shown(label)} as its name; expected text")
        if found.setdefault(entry.get("id"), label) != label:
            raise HeatmapError(
                f"{name}: categories {found[entry.get('id')]!r} and {label!r} have the same id, {entry.get('id')!r}; expected "
                "an id of its own for each"
            )
    return found


def cases(document: Document, choice: Choice) -> Iterator[Case]:
    """A case for each image with annotations that were chosen, and one for each entry that fits nowhere."""
    by_image: dict[Any, list[Entry]] = {}
    known = {entry.get("id") for entry in document.images}
    for entry in document.annotations:
        where = f"{document.name}, annotation {entry.get('id')!r}"
        if entry.get("image_id") not in known:
            yield _bad(where, f"its image {entry.get('image_id')!r} is not in the file")
        elif entry.get("category_id") not in document.categories:
            yield _bad(where, f"its category {entry.get('category_id')!r} is not in the file")
        elif choice.kind(document.categories[entry["category_id"]]):
            by_image.setdefault(entry["image_id"], []).append(entry)
    seen: set[Any] = set()
    for entry in document.images:
        where = f"{document.name}, image {entry.get('id')!r} {entry.get('file_name')!r}"
        if not isinstance(entry.get("file_name"), str) or not entry["file_name"]:
            yield _bad(where, "it has no file_name")
        elif entry.get("id") in seen:
            yield _bad(where, "another image has the same id")
        elif entry.get("id") in by_image:
            yield _case(document, choice, entry, by_image[entry["id"]], where)
        seen.add(entry.get("id"))


def box(shape: tuple[int, int], corners: Sequence[float], *, clip: bool) -> Any:
    """The mask of a box xyxy; with `clip` what reaches outside is cut off."""
    if clip:
        height, width = shape
        x0, y0, x1, y1 = corners
        corners = (max(x0, 0), max(y0, 0), min(x1, width), min(y1, height))
    return masks.box(shape, corners)


def _case(document: Document, choice: Choice, entry: Entry, own: Sequence[Entry], where: str) -> Case:
    path = document.folder / entry["file_name"]
    by_kind: dict[str, list[Entry]] = {"mask": [], "invalid": []}
    names: set[str] = set()
    for annotation in own:
        category = document.categories[annotation["category_id"]]
        kind = choice.kind(category)
        by_kind[kind].append(annotation)
        names |= {category} if kind == "mask" else set()
    stated = _stated(entry)
    drawn = {kind: Drawn(path, tuple(found), stated, choice.clip) if found else None for kind, found in by_kind.items()}
    labels = " and ".join(sorted(names))
    case = Case(
        path,
        **drawn,  # type: ignore[arg-type]
        target=None,
        slices={"category": labels} if labels else {},
        source=f"{where} ({labels})" if labels else where,
    )
    return _targeted(case, choice.target, sorted(names))


def _targeted(case: Case, target: Any, names: list[str]) -> Case:
    named = isinstance(target, str) and target == "category"
    if not named and not isinstance(target, Mapping):
        return replace(case, target=target)
    if len(names) != 1:
        what = f"{len(names)} categories" if names else "no category"
        return replace(
            case,
            problem=f"{case.source}: it has {what} in its mask, so its class is unclear; choose one with categories=",
        )
    if named:
        return replace(case, target=names[0])
    if names[0] not in target:
        return replace(case, problem=f"{case.source}: target= names no class for {names[0]!r}; add it")
    return replace(case, target=target[names[0]])


def _stated(entry: Entry) -> tuple[int, int] | None:
    height, width = entry.get("height"), entry.get("width")
    return (int(height), int(width)) if is_whole(height) and is_whole(width) else None


def _bad(where: str, what: str) -> Case:
    return Case("", id=where, source=where, problem=f"{where}: {what}; correct the file")
