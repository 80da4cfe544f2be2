"""A folder of images as a data set that needs no code: what lies beside the images, and what gradcam.toml says of them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pytest_gradcam.data import cases
from pytest_gradcam.data.case import Cases
from pytest_gradcam.data.plan import plan
from pytest_gradcam.errors import HeatmapError, SettingsError
from pytest_gradcam.validation import nearest

SETTINGS = "gradcam.toml"


@dataclass(frozen=True)
class Folder:
    """What gradcam.toml may say; what it leaves out is looked for, or has the defaults below.

    `images` is the folder of the images, by default the folder images in it if there is one, or the folder itself. `masks`
    and `invalid` are folders, `annotations` a COCO file; `categories` and `invalid_categories` choose from it. `target` is a
    class for all, "folder", "category", or a table from category to class. `checks` maps checks to bounds. `at_least` is
    the share of images that must pass each check, at a `confidence`: where it is given, an image that does not is
    expected, and the verdict is that of the set. `equal_by` and `margin` compare slices; `no_reliance_by` names slices for the
    verdict on invalid pixels, which is asked for all images anyway. `rows` is a file that keeps the rows.
    """

    path: Path
    images: str | None = None
    masks: str | None = None
    invalid: str | None = None
    annotations: str | None = None
    categories: tuple[str, ...] | None = None
    invalid_categories: tuple[str, ...] = ()
    target: Any = None
    checks: Mapping[str, float] | None = None
    at_least: float | None = None
    confidence: float = 0.95
    equal_by: tuple[str, ...] = ()
    margin: float = 0.1
    no_reliance_by: tuple[str, ...] = ()
    rows: str | None = None
    found: Cases = field(default_factory=lambda: Cases(()), repr=False)

    @property
    def bound(self) -> float:
        """The share of images that must pass: if nothing is said, most of them."""
        return 0.5 if self.at_least is None else self.at_least


_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("images", "masks", "invalid", "annotations", "rows"), (str,)),
    **dict.fromkeys(("categories", "invalid_categories", "equal_by", "no_reliance_by"), (list,)),
    **dict.fromkeys(("at_least", "confidence", "margin"), (int, float)),
    "checks": (dict,),
    "target": (str, int, dict),
}


def read(path: Path) -> Folder:
    """The folder with its cases, of which those that cannot be judged have a problem.

    Raises SettingsError for what is not a data set.
    """
    if not path.is_dir():
        raise SettingsError(
            f"gradcam_data = {str(path)!r} is not a folder; expected one with images, and masks or a COCO file beside them"
        )
    said = _said(path / SETTINGS)
    folder = Folder(path, **said)
    try:
        plan(folder.checks)
        return Folder(path, **said, found=_cases(folder).checked())
    except HeatmapError as error:
        raise SettingsError(f"gradcam_data = {str(path)!r}: {error}") from None


def _said(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    try:
        said = tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file} cannot be read ({error}); expected TOML") from None
    known = [one.name for one in fields(Folder) if one.name in _TYPES]
    for name, value in said.items():
        if name not in known:
            raise SettingsError(f"{file} has {name!r}; expected {', '.join(known)}{nearest(name, known)}")
        if isinstance(value, bool) or not isinstance(value, _TYPES[name]):
            expected = " or ".join(each.__name__ for each in _TYPES[name])
            raise SettingsError(f"{file}: {name} = {value!r} cannot be used; expected {expected}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in said.items()}


def _cases(folder: Folder) -> Cases:
    annotations, images = _annotations(folder), _beside(folder, "images") or folder.path
    if annotations is not None:
        return cases.from_coco(
            annotations,
            images,
            categories=folder.categories,
            invalid=folder.invalid_categories,
            target=folder.target,
            strict=False,
        )
    masks, invalid = (_beside(folder, name) for name in ("masks", "invalid"))
    if masks is None and invalid is None:
        raise HeatmapError(
            "there is neither a folder masks, nor a folder invalid, nor a COCO file beside the images, so there is "
            f"nothing to compare a heatmap with; add one, or name it in {SETTINGS}"
        )
    found = cases.from_folder(images, masks, invalid=invalid, target=folder.target, strict=False)
    if not found:
        raise HeatmapError("it has no images; check the path")
    return found


def _beside(folder: Folder, name: str) -> Path | None:
    said = getattr(folder, name)
    path = folder.path / (said or name)
    if said is None and not path.is_dir():
        return None
    return path


def _annotations(folder: Folder) -> Path | None:
    """The COCO file that is named, or the only one that lies there. Raises HeatmapError for several."""
    if folder.annotations is not None:
        return folder.path / folder.annotations
    found = [path for path in sorted(folder.path.glob("*.json")) if _is_coco(path)]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise HeatmapError(
            f"several files could be its annotations ({names}); name one in {SETTINGS}: annotations = '...'"
        )
    return found[0] if found else None


def _is_coco(path: Path) -> bool:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"images", "annotations", "categories"} <= set(content)
