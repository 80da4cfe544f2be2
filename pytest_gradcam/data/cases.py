"""The cases of a data set from where users keep it: a folder, a COCO file, a table, a torchvision-style data set.

Each function reads names and annotations, and by default the headers of the images and all masks once, so that whatever
cannot be judged is reported before anything is computed: every bad row at once, with its file, entry and label. With
`strict=False` nothing is read ahead, and bad rows stay as cases that never pass.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_gradcam import images as pictures
from pytest_gradcam.data import coco
from pytest_gradcam.data.case import Case, Cases, as_cases, is_path
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.targets import Target, Written
from pytest_gradcam.validation import flag, is_whole, nearest

__all__ = ["from_coco", "from_csv", "from_dataset", "from_folder", "from_frame", "of"]

FilePath = str | os.PathLike[str]
#: What image files are called.
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".ppm", ".pgm")
_MASK_SUFFIXES = (*SUFFIXES, ".npy")


def of(rows: Any, *, strict: bool = True) -> Cases:
    """Cases of an iterable of cases, images, (image, mask) pairs, or dicts of a case's fields."""
    return _finished(as_cases(rows), strict)


def from_folder(
    images: FilePath,
    masks: FilePath | None = None,
    *,
    invalid: FilePath | None = None,
    target: str | Target = None,
    strict: bool = True,
) -> Cases:
    """The images of a folder and of the folders in it, with the masks of the same names.

    `masks` and `invalid` are folders whose files have the images' paths, but for the suffix; an image without its partner and
    a mask without its image are bad rows. `target="folder"` takes each image's class from the name of its folder; any other
    target is that of all images. An image's folder is its slice "folder".
    """
    root = _folder(images, "images")
    own = {path.resolve() for path in (masks, invalid) if path is not None for path in [Path(path)]}
    found = [path for path in _files(root, SUFFIXES) if not any(own_root in path.resolve().parents for own_root in own)]
    partners = {kind: _by_stem(folder, kind) for kind, folder in (("mask", masks), ("invalid", invalid)) if folder}
    rows = [_of_file(path, root, partners, target) for path in found]
    rows += [
        Case(
            path,
            id=f"{kind} {stem}",
            problem=f"{path}: a {kind} without an image: there is no image file {root / stem}",
        )
        for kind, by_stem in partners.items()
        for stem, path in by_stem.items()
        if stem not in {_stem(image, root) for image in found}
    ]
    return _finished(Cases(rows, root.name), strict)


def from_coco(
    annotations: FilePath | Mapping[str, Any],
    images: FilePath,
    *,
    categories: Sequence[str] | None = None,
    invalid: Sequence[str] = (),
    target: str | Mapping[str, Any] | Target = None,
    clip: bool = False,
    strict: bool = True,
) -> Cases:
    """One case for each image of a COCO file that has annotations of these categories.

    The mask is the union of an image's annotations of the `categories` (by default all that are not `invalid`), the invalid
    pixels that of the `invalid` categories. `target="category"` takes the class from the category of the mask, a mapping
    from category to class as well; an image with several of them is then a bad row. The slice "category" names it.
    `clip=True` cuts off what reaches outside of an image. Raises HeatmapError for a file that is not COCO's.
    """
    document = coco.read(annotations, _folder(images, "images"))
    named, unwanted = document.known(categories, "categories"), document.known(invalid, "invalid") or ()
    chosen = coco.Choice(named, unwanted, target, clip=flag("clip", clip))
    return _finished(Cases(coco.cases(document, chosen), document.name), strict)


def from_csv(
    path: FilePath,
    *,
    columns: Mapping[str, str] | None = None,
    slices: Sequence[str] = (),
    root: FilePath | None = None,
    clip: bool = False,
    strict: bool = True,
) -> Cases:
    """One case for each row of a CSV file with a header.

    The columns image, mask, invalid, target and id are read where they are present, `columns` maps these names to others:
    {"image": "file", "target": "label"}. A mask is a path or four numbers, "x0 y0 x1 y1" in pixels of the image, of which
    `clip=True` cuts off what reaches outside. A target is a name or an index; digits that are one class by name and another
    by index are refused when the case is judged. `slices` names the columns that group the images. Relative paths start
    from `root`, by default the file's folder.
    """
    file = Path(path)
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            header, rows = list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise HeatmapError(f"CSV file {str(file)!r} cannot be read ({error}); expected a table in UTF-8") from None
    table = _Table(str(file), columns or {}, slices, file.parent if root is None else Path(root), clip, first=2)
    return _finished(Cases(table.cases(header, rows), file.name), strict)


def from_frame(
    frame: Any,
    *,
    columns: Mapping[str, str] | None = None,
    slices: Sequence[str] = (),
    root: FilePath = ".",
    clip: bool = False,
    strict: bool = True,
) -> Cases:
    """One case for each row of a pandas frame, or of whatever has `columns` and `to_dict("records")`; see `from_csv`."""
    if not hasattr(frame, "columns") or not hasattr(frame, "to_dict"):
        raise HeatmapError(f"{type(frame).__name__} is not a table; expected a pandas.DataFrame; pass one")
    table = _Table("the frame", columns or {}, slices, Path(root), clip, first=0)
    return _finished(Cases(table.cases(list(frame.columns), frame.to_dict("records"))), strict)


def from_dataset(dataset: Any, *, classes: bool = True, strict: bool = True) -> Cases:
    """One case for each (image, label) of a torchvision-style data set, which has `len` and gives items by index.

    Labels come from its `targets` where it has them, else from the items, each of which is then read once for it; with
    `classes` the names in its `classes` take the place of the labels. Paths in its `samples` are used as they are.
    Transforms of the data set are its own: it must give PIL images, or tensors that are ready for the model.
    """
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise HeatmapError(
            f"{type(dataset).__name__} has no length and no items; expected a torchvision-style data set"
        )
    count = len(dataset)
    labels, samples = _labels(dataset, count), getattr(dataset, "samples", None)
    names = list(getattr(dataset, "classes", ())) if classes else []
    rows = []
    for index in range(count):
        path: Any = samples[index][0] if samples is not None and len(samples) == count else None
        label = labels[index]
        target = names[label] if isinstance(label, int) and 0 <= label < len(names) else label
        slices = {} if target is None else {"label": str(target)}
        image = path if is_path(path) and getattr(dataset, "transform", None) is None else Item(dataset, index)
        rows.append(Case(image, target=target, slices=slices, id=Path(path).stem if is_path(path) else f"item {index}"))
    return _finished(Cases(rows, type(dataset).__name__), strict)


@dataclass(frozen=True)
class Item:
    """The image of one item of a data set, read when it is asked for."""

    dataset: Any
    index: int

    def __call__(self) -> Any:
        item = self.dataset[self.index]
        return item[0] if isinstance(item, (tuple, list)) else item


@dataclass(frozen=True)
class BoxOf:
    """The mask of a box in an image whose size is read when the mask is asked for."""

    image: Path
    corners: tuple[float, ...]
    clip: bool

    def __call__(self) -> Any:
        shape = pictures.shape_of(self.image)
        return coco.box(shape, self.corners, clip=self.clip)


@dataclass(frozen=True)
class _Table:
    """Rows of a table as cases. `first` is the number of the first row, as its reader counts."""

    name: str
    columns: Mapping[str, str]
    slices: Sequence[str]
    root: Path
    clip: bool
    first: int

    def cases(self, header: Sequence[Any], rows: Iterable[Mapping[Any, Any]]) -> list[Case]:
        fields = ("image", "mask", "invalid", "target", "id")
        if unknown := [name for name in self.columns if name not in fields]:
            raise HeatmapError(f"columns has {unknown[0]!r}; expected {', '.join(fields)}{nearest(unknown[0], fields)}")
        named = {field: self.columns.get(field, field) for field in fields}
        wanted = [named["image"], *self.columns.values(), *self.slices]
        if missing := [column for column in dict.fromkeys(wanted) if column not in header]:
            raise HeatmapError(
                f"{self.name} has no column {', '.join(map(repr, missing))}; it has {', '.join(map(repr, map(str, header)))}; "
                "name its columns: columns={'image': ...}"
            )
        return [self._case(row, named, number) for number, row in enumerate(rows, self.first)]

    def _case(self, row: Mapping[Any, Any], named: Mapping[str, str], number: int) -> Case:
        cell = {field: _cell(row.get(column)) for field, column in named.items()}
        source = f"{self.name}, row {number}"
        slices = {str(name): str(_cell(row.get(name)) or "") for name in self.slices}
        image = cell["image"]
        if image is None:
            return Case(
                "",
                slices=slices,
                id=f"row {number}",
                source=source,
                problem=f"{source}: there is no image; fill the cell",
            )
        path = self.root / image if is_path(image) else image
        regions_of: dict[str, Any] = {}
        for kind in ("mask", "invalid"):
            try:
                regions_of[kind] = self._region(cell[kind], path)
            except HeatmapError as error:
                return Case(
                    path,
                    slices=slices,
                    id=str(cell["id"] or f"row {number}"),
                    source=source,
                    problem=f"{source}: {kind} {error}",
                )
        name = None if cell["id"] is None else str(cell["id"])
        return Case(path, **regions_of, target=_target(cell["target"]), slices=slices, id=name, source=source)

    def _region(self, cell: Any, image: Any) -> Any:
        """A mask from a cell: a path, or the numbers of a box."""
        if not isinstance(cell, str):
            return cell
        words = cell.replace(",", " ").strip("[]() ").split()
        try:
            numbers = tuple(float(word) for word in words)
        except ValueError:
            return self.root / cell
        if len(numbers) != 4 or not is_path(image):
            raise HeatmapError(f"is {cell!r}; expected a path, or a box of an image file: x0 y0 x1 y1")
        return BoxOf(Path(image), numbers, self.clip)


def _cell(value: Any) -> Any:
    """A cell's content; None for an empty one."""
    if value is None or value != value or (isinstance(value, str) and not value.strip()):  # NaN is not itself
        return None
    return value.strip() if isinstance(value, str) else value


def _target(cell: Any) -> Any:
    """A class: digits are an index, unless classes are named in digits. A table does not tell numbers from names."""
    if isinstance(cell, float) and cell.is_integer():  # pandas' column of numbers with gaps
        cell = int(cell)
    return Written(cell) if isinstance(cell, str) or is_whole(cell) else cell


def _labels(dataset: Any, count: int) -> list[Any]:
    targets = getattr(dataset, "targets", None)
    if targets is not None and len(targets) == count:
        return targets.tolist() if hasattr(targets, "tolist") else list(targets)
    found = []
    for index in range(count):
        item = dataset[index]
        label: Any = item[1] if isinstance(item, (tuple, list)) and len(item) > 1 else None
        found.append(label.item() if hasattr(label, "item") else label)
    return found


def _of_file(path: Path, root: Path, partners: Mapping[str, Mapping[str, Path]], target: Any) -> Case:
    stem = _stem(path, root)
    folder = path.parent.relative_to(root).as_posix()
    by_folder = isinstance(target, str) and target == "folder"
    missing = [kind for kind, by_stem in partners.items() if stem not in by_stem]
    problem = (
        f"{path}: an image without {' and without '.join(f'{kind}' for kind in missing)} of the same name"
        if missing
        else ""
    )
    if by_folder and folder == ".":
        problem = problem or f"{path}: it is not in a folder that names its class"
    return Case(
        path,
        **{kind: by_stem.get(stem) for kind, by_stem in partners.items()},  # type: ignore[arg-type]
        target=path.parent.name if by_folder else target,
        slices={} if folder == "." else {"folder": folder},
        source=str(path),
        problem=problem,
    )


def _by_stem(folder: FilePath, kind: str) -> dict[str, Path]:
    root = _folder(folder, kind)
    return {_stem(path, root): path for path in _files(root, _MASK_SUFFIXES)}


def _stem(path: Path, root: Path) -> str:
    return path.relative_to(root).with_suffix("").as_posix()


def _files(root: Path, suffixes: Sequence[str]) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.suffix.lower() in suffixes and path.is_file())


def _folder(path: FilePath, name: str) -> Path:
    if not is_path(path) or not Path(path).is_dir():
        raise HeatmapError(
            f"{name}={str(path)!r} is not a folder; expected the one that holds the files; check the path"
        )
    return Path(path)


def _finished(found: Cases, strict: bool) -> Cases:
    return found.checked().required() if strict else found
