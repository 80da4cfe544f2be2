"""The COCO file that masks are drawn into: read once, replaced whole at each change, with what is half drawn beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pytest_gradcam import images, masks
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence import files, plain

_PARTS = ("images", "categories", "annotations")


@dataclass(frozen=True)
class Drawable:
    """An image to draw on: its file, its name in the COCO file, and its size as it is displayed, (H, W)."""

    path: Path
    name: str
    shape: tuple[int, int]


def drawables(paths: Sequence[Path], folder: Path) -> list[Drawable]:
    """The images of these files and folders, named from the COCO file's folder; of a folder without any, those of its folders.

    Raises HeatmapError if there is none, or for a file that is not an image.
    """
    found: list[Path] = []
    for path in paths:
        found += (_images_of(path, "*") or _images_of(path, "*/**/*")) if path.is_dir() else [path]
    if not found:
        raise HeatmapError(f"there is no image in {', '.join(map(str, paths))}; pass images, or folders of images")
    return [Drawable(path, _name(path, folder), images.read(path).shape) for path in dict.fromkeys(found)]


def _images_of(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if _is_image(path))


def _is_image(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")


def _name(path: Path, folder: Path) -> str:
    path, folder = path.resolve(), folder.resolve()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()


class MaskStore:
    """The annotations of some images in one COCO file; those of other images, and other parts of it, stay as they are."""

    def __init__(self, file: Path, drawn: Sequence[Drawable]) -> None:
        """Raises ValueError for a file that is not a COCO file."""
        self.file = file
        self._draft_file = file.with_name(f"{file.name}.draft")
        self._content = _read(file)
        self.drafts: dict[str, Any] = _read_drafts(self._draft_file)
        self._drawn = list(drawn)
        self._ids = [self._image_id(one) for one in drawn]

    @property
    def labels(self) -> list[str]:
        return [str(one.get("name")) for one in self._content["categories"]]

    def annotations(self, index: int) -> list[dict[str, Any]]:
        """Those of one image, with their labels."""
        names = {one.get("id"): one.get("name") for one in self._content["categories"]}
        own = (one for one in self._content["annotations"] if one.get("image_id") == self._ids[index])
        return [{**one, "label": str(names.get(one.get("category_id")))} for one in own]

    def count(self, index: int) -> int:
        return sum(one.get("image_id") == self._ids[index] for one in self._content["annotations"])

    def save(self, index: int, annotations: Sequence[Mapping[str, Any]], draft: Any) -> None:
        """Replace the annotations of one image, on disk when this returns.

        Raises HeatmapError for one that is not a region of the image; then nothing is changed.
        """
        drawable = self._drawn[index]
        made = [self._coco(one, drawable, self._ids[index]) for one in annotations]
        others = [one for one in self._content["annotations"] if one.get("image_id") != self._ids[index]]
        used = {one.get("id") for one in others}
        fresh = (number for number in _numbers() if number not in used)
        self._content["annotations"] = [*others, *({**one, "id": next(fresh)} for one in made)]
        if draft:
            self.drafts[drawable.name] = draft
        else:
            self.drafts.pop(drawable.name, None)
        self._write()

    def _write(self) -> None:
        files.replace(self.file, json.dumps(self._content, indent=1, allow_nan=False).encode())
        if self.drafts:
            files.replace(self._draft_file, json.dumps(self.drafts).encode())
        else:
            self._draft_file.unlink(missing_ok=True)

    def _coco(self, given: Mapping[str, Any], drawable: Drawable, image_id: int) -> dict[str, Any]:
        label = str(given.get("label") or "").strip()
        if not label:
            raise HeatmapError("a region has no label; type one")
        kept = {name: given[name] for name in ("segmentation", "bbox") if name in given}
        mask = masks.from_coco(kept, drawable.shape)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = [int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)]
        return {
            "image_id": image_id,
            "category_id": self._category_id(label),
            "bbox": kept.get("bbox", box),
            "area": int(mask.sum()),
            "iscrowd": 0,
            **({"segmentation": kept["segmentation"]} if "segmentation" in kept else {}),
        }

    def _image_id(self, drawable: Drawable) -> int:
        known = self._content["images"]
        for one in known:
            if one.get("file_name") == drawable.name:
                stated = (one.get("height"), one.get("width"))
                if stated != drawable.shape:
                    raise HeatmapError(
                        f"{self.file} has {drawable.name} with size {stated}, and it is {drawable.shape} (H, W)"
                    )
                return int(one["id"])
        number = 1 + max((int(one.get("id", 0)) for one in known), default=0)
        height, width = drawable.shape
        known.append({"id": number, "file_name": drawable.name, "width": width, "height": height})
        return number

    def _category_id(self, label: str) -> int:
        known = self._content["categories"]
        for one in known:
            if one.get("name") == label:
                return int(one["id"])
        number = 1 + max((int(one.get("id", 0)) for one in known), default=0)
        known.append({"id": number, "name": label})
        return number


def _read(file: Path) -> dict[str, Any]:
    try:
        content = dict(plain.parse(file.read_bytes()))
    except FileNotFoundError:
        return {name: [] for name in _PARTS}
    except ValueError as error:
        raise ValueError(f"{file} cannot be read as a COCO file: {error}") from None
    for name in _PARTS:
        if not isinstance(content.get(name), list) or not all(isinstance(one, dict) for one in content[name]):
            raise ValueError(
                f"{file} is not a COCO file: {name} is not a list of objects; choose another file with --into"
            )
    return content


def _read_drafts(file: Path) -> dict[str, Any]:
    try:
        return dict(plain.parse(file.read_bytes()))
    except (FileNotFoundError, ValueError):
        return {}


def _numbers() -> Iterator[int]:
    number = 1
    while True:
        yield number
        number += 1
