"""What a repository holds besides code: weights, class names, images and their masks."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from pytest_gradcam.errors import SettingsError
from pytest_gradcam.models import sources
from pytest_gradcam.validation import brief

_IMAGES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
_WEIGHTS = {".safetensors", ".pt", ".pth", ".ckpt"}
_CLASSES = re.compile(
    r"^(class(es)?(_?names)?|labels?|categories|id2label|names|imagenet_class_index)\.(txt|json)$", re.I
)
_SKIPPED = {"node_modules", "site-packages", "venv", "env", "build", "dist", "__pycache__", "__gradcam__"}
#: Files of an environment, and of a report: its pictures are none to test on.
_NOT_DATA = ("pyvenv.cfg", "evidence.json")
_OURS = ("gradcam-report", "gradcam-merged", "gradcam-explained")
_HELD_OUT = re.compile(r"(^|/)(test|val|valid|validation|eval|holdout)", re.I)
_SAMPLES = re.compile(r"(^|/)(images?|photos?|pictures?|samples?|examples?|data|assets)", re.I)
_TRAINING = re.compile(r"(^|/)train", re.I)
_MASKS = re.compile(r"mask|annotation|segmentation", re.I)
_EACH, _MOST = 8, 24  # images of one class, and in all: fewer seldom allow a verdict on reliance
_Folder = tuple[Path, tuple[Path, ...]]  # and the images in it


@dataclass(frozen=True)
class Case:
    """One image, its class if its folder is named after one, and its mask file if there is one."""

    image: Path
    label: str | None = None
    mask: Path | None = None


@dataclass(frozen=True)
class DataFacts:
    """The files of a repository by what they are; the newest weights and the likeliest images come first."""

    root: Path
    weights: tuple[Path, ...]
    class_files: tuple[Path, ...]
    folders: tuple[_Folder, ...]

    @property
    def classes_of_folders(self) -> tuple[str, ...]:
        """The names of the folders that an ImageFolder of torchvision would take for classes, in its order."""
        parents = defaultdict(set)
        for folder, _ in self.folders:
            parents[folder.parent].add(folder.name)
        trained = [names for parent, names in parents.items() if len(names) > 1 and _TRAINING.search(parent.as_posix())]
        several = trained or [names for names in parents.values() if len(names) > 1]
        return tuple(sorted(several[0])) if several else ()


def data_facts(root: Path) -> DataFacts:
    """The files of a repository, without environments and hidden folders."""
    weights: list[Path] = []
    classes: list[Path] = []
    for folder, names in _walk(root):
        weights += [folder / name for name in names if Path(name).suffix in _WEIGHTS]
        classes += [folder / name for name in names if _CLASSES.match(name)]
    weights.sort(key=lambda path: -path.stat().st_mtime)
    return DataFacts(root, tuple(weights), tuple(classes), _folders(root))


def _folders(root: Path) -> tuple[_Folder, ...]:
    """The folders of images below the root, without those of masks: the likeliest to test on come first."""
    found: list[_Folder] = []
    for folder, names in _walk(root):
        images = tuple(folder / name for name in names if Path(name).suffix.lower() in _IMAGES)
        if images and not _MASKS.search(folder.relative_to(root).as_posix()):
            found.append((folder, images))
    return tuple(sorted(found, key=lambda one: _rank(one[0].relative_to(root).as_posix())))


def cases(
    facts: DataFacts, classes: tuple[str, ...], chosen: Path | None = None, masks: Path | None = None
) -> tuple[list[Case], str]:
    """Some images of this folder, or of the likeliest ones, from each of its folders in turn; and a note on what is left out.

    Where folders are named after classes, the images are theirs alone, with their class.
    """
    folders = _likeliest(facts) if chosen is None else _folders(chosen)
    of_classes = [found for found in folders if found[0].name in classes]
    of_classes = [found for found in of_classes if found[0].parent == of_classes[0][0].parent]
    each = _EACH if of_classes else _MOST
    turns = zip_longest(*(images[:each] for _, images in of_classes or folders))
    images = sorted([image for turn in turns for image in turn if image is not None][:_MOST])
    found = [Case(image, image.parent.name if of_classes else None, _mask_of(image, masks)) for image in images]
    others = [folder.name for folder, _ in folders if folder.name not in classes]
    left_out = f"no class is called {brief(', '.join(others))}: the images there are left out"
    return found, left_out if of_classes and others else ""


def _likeliest(facts: DataFacts) -> tuple[_Folder, ...]:
    """The first folder of images, and those beside it that are as likely."""
    if not facts.folders:
        return ()
    first, rank = facts.folders[0][0], _rank(facts.folders[0][0].relative_to(facts.root).as_posix())[0]
    beside = [found for found in facts.folders if found[0].parent == first.parent]
    return tuple(found for found in beside if _rank(found[0].relative_to(facts.root).as_posix())[0] == rank)


def fitting_classes(facts: DataFacts, count: int) -> tuple[Path | None, tuple[str, ...]]:
    """The file of class names that fits the number of scores, and the names; the folders' names if only they fit."""
    for path in facts.class_files:
        try:
            names = sources.class_names(str(path))
        except SettingsError:
            continue
        if len(names) == count:
            return path, tuple(map(str, names if isinstance(names, (list, tuple)) else _in_order(names)))
    named = facts.classes_of_folders
    return None, named if len(named) == count else ()


def _in_order(names: dict[object, object]) -> list[object]:
    """The names of a mapping name -> index, or index -> name."""
    if all(str(key).isdecimal() for key in names):
        return [
            name[-1] if isinstance(name, list) else name
            for _, name in sorted(names.items(), key=lambda pair: int(str(pair[0])))
        ]
    return sorted(names, key=lambda name: int(str(names[name])))


def _mask_of(image: Path, masks: Path | None) -> Path | None:
    """The mask file of the same name: in this folder, beside the image's folder, or in a folder of masks of the same shape."""
    folders = (
        [masks]
        if masks
        else [image.parent.parent / "masks", image.parent / "masks", image.parents[2] / "masks" / image.parent.name]
    )
    names = (f"{image.stem}.png", f"{image.stem}_mask.png", f"{image.stem}-mask.png")
    return next((path for folder in folders for name in names if (path := folder / name).is_file()), None)


def _walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(n for n in folders if n not in _SKIPPED and n not in _OURS and not n.startswith("."))
        folders[:] = [name for name in folders if not any((Path(folder, name) / no).exists() for no in _NOT_DATA)]
        yield Path(folder), sorted(names)


def _rank(name: str) -> tuple[int, str]:
    if _HELD_OUT.search(name):
        return 0, name
    if _TRAINING.search(name):
        return 2, name
    return (1 if _SAMPLES.search(name) else 3), name
