"""What `pytest-gradcam init` writes into a repository: first tests, the fixtures that they need, and the settings.

What is found is tried before it is written: the model is built, the weights are loaded, one image is explained.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pytest_gradcam.errors import SettingsError
from pytest_gradcam.evidence import files
from pytest_gradcam.models import sources
from pytest_gradcam.tools import data_facts, kept_part, model_choice, settings_file, templates
from pytest_gradcam.tools.data_facts import Case, DataFacts
from pytest_gradcam.tools.model_choice import Found

_TEST, _CONFTEST = "test_attention.py", "conftest.py"


@dataclass(frozen=True)
class Wishes:
    """What the user names in place of what would be found; None for what is to be found. `weights` is a file, or 'pretrained'."""

    model: str | None = None
    weights: str | None = None
    preprocess: str | None = None
    classes: Path | None = None
    images: Path | None = None
    masks: Path | None = None


@dataclass(frozen=True)
class Plan:
    """The files to write, by path, what was found, and what the user has to look at."""

    root: Path
    contents: dict[Path, str]
    found: dict[str, str]
    notes: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def test_file(self) -> Path:
        return next(path for path in self.contents if path.name == _TEST)

    def write(self) -> None:
        for path, text in self.contents.items():
            files.replace(path, text.encode())

    def lines(self) -> Iterator[str]:
        width = max(map(len, self.found)) + 2
        yield from (f"{label:<{width}}{phrase}" for label, phrase in self.found.items())
        yield from (f"{'NOTE':<{width}}{note}" for note in self.notes)
        yield from (f"{'writes':<{width}}{self.shown(path)}" for path in self.contents)

    def shown(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)


@dataclass(frozen=True)
class _Classes:
    """The class names, what they come from, and how tests get them: by `setting`, `in_fixture`, or with the weights."""

    names: tuple[str, ...]
    source: str
    setting: str = ""
    in_fixture: bool = False


def plan(root: Path, wishes: Wishes) -> Plan:
    """What would be written into the repository. Raises SettingsError for what is missing, already there, or does not work."""
    root = root.resolve()
    target = _folder_of_tests(root)
    configuration = settings_file.find(root)
    facts = data_facts.data_facts(root)
    chosen = model_choice.choose(root, facts, wishes.model, wishes.weights, wishes.preprocess)
    notes = list(chosen.notes)
    classes = _classes(root, facts, wishes, chosen, notes)
    chosen_images = _within(root, wishes.images)
    cases, left_out = data_facts.cases(facts, classes.names, chosen_images, _within(root, wishes.masks))
    notes += [left_out] if left_out else []
    if not cases:
        where = wishes.images or root
        raise SettingsError(
            f"there is no image below {where}, and a test needs some; pass --images with a folder of images"
        )
    if wishes.masks is not None and not any(case.mask for case in cases):
        raise SettingsError(
            f"{wishes.masks} has no mask of these images: expected {cases[0].image.stem}.png, or {cases[0].image.stem}_mask.png, "
            f"for {cases[0].image.name}"
        )
    settings = _settings(root, chosen, classes)
    notes += chosen.try_out(cases[0].image, classes.names)
    if cases[0].label is not None:
        right = chosen.as_labelled(cases, classes.names)
        if 2 * right < len(cases):
            notes.append(
                f"the model predicts the class that an image's folder is named after for {right} of {len(cases)} images: check "
                "the order of the class names, the weights and the preprocess before you trust a test that names a class"
            )
    kept = kept_part.kept_part(chosen.preprocess, chosen.model)
    if kept is None:
        notes.append(
            "which part of an image the preprocess keeps is unclear, so that no test is written about their frames"
        )
    contents = {target / _TEST: templates.tests(cases, root, target, kept)}
    if conftest := templates.conftest(chosen, root, target, classes.names if classes.in_fixture else ()):
        contents[target / _CONFTEST] = conftest
    contents[configuration.path] = configuration.with_settings(settings, chosen.import_root)
    return Plan(root, contents, _said(root, chosen, classes, cases), tuple(notes), settings)


def _folder_of_tests(root: Path) -> Path:
    """Where the files go: `tests`, or a folder of their own in it where it has a conftest.py already."""
    for folder in (root / "tests", root / "tests" / "attention"):
        taken = [name for name in (_TEST, _CONFTEST) if (folder / name).exists()]
        if not taken:
            return folder
    raise SettingsError(f"{folder} has {' and '.join(taken)} already; remove them, or edit them: init replaces no file")


def _within(root: Path, folder: Path | None) -> Path | None:
    return None if folder is None else (root / folder).resolve()


def _classes(root: Path, facts: DataFacts, wishes: Wishes, chosen: Found, notes: list[str]) -> _Classes:
    """The class names from where they are found first: a file, the model's published weights, the folders of images."""
    count = chosen.class_count()
    if wishes.classes is not None:
        facts = replace(facts, class_files=(Path(wishes.classes).resolve(),), folders=())
    path, names = data_facts.fitting_classes(facts, count)
    if path is not None:
        return _Classes(names, _relative(root, path), _relative(root, path))
    if wishes.classes is not None:
        raise SettingsError(f"{wishes.classes} does not hold the names of the model's {count} classes; check the file")
    published = _published_classes(chosen, count, notes)
    if published is not None:
        return published
    if not names:
        others = f" (none of {len(facts.class_files)} files fits)" if facts.class_files else ""
        notes.append(
            f"no names of its {count} classes were found{others}: targets are indices; pass --classes for names"
        )
        return _Classes((), "none found")
    notes.append("the class names are those of the folders of images, in alphabetical order, as ImageFolder has them")
    return _Classes(names, "the folders of images", in_fixture=True)


def _published_classes(chosen: Found, count: int, notes: list[str]) -> _Classes | None:
    """The class names of the published weights of the library's model, where they are as many as the model's classes.

    Weights that are themselves the published ones bring their names; for others this is an assumption, which is said.
    """
    named = chosen.library_model
    if not named or chosen.loaded is None:
        return None
    own = sources.own_class_names(named, weights=chosen.loaded)
    names = own or sources.own_class_names(named, weights=sources.PRETRAINED)
    if names is None or len(names) != count:
        return None
    if not own:
        notes.append(
            f"no names of its {count} classes were found: those of the published {named} are used; check that they are yours"
        )
    setting = "" if own and chosen.spec == named else named
    first = tuple(name[0] if isinstance(name, list) else str(name) for name in names)
    return _Classes(first, f"the published weights of {named}", setting)


def _settings(root: Path, chosen: Found, classes: _Classes) -> dict[str, Any]:
    """The settings that the tests need, by key, with paths from the root."""
    weights = sources.PRETRAINED if chosen.pretrained else chosen.weights and _relative(root, chosen.weights)
    values = {
        "gradcam_model": chosen.spec,
        "gradcam_weights": weights if chosen.spec else None,
        "gradcam_preprocess": chosen.preprocess_spec,
        "gradcam_classes": classes.setting,
    }
    return {key: value for key, value in values.items() if value}


def _said(root: Path, chosen: Found, classes: _Classes, cases: list[Case]) -> dict[str, str]:
    names = classes.names
    masks = sum(case.mask is not None for case in cases)
    labels = sorted({case.label for case in cases if case.label})
    return {
        "model": chosen.description,
        "weights": _relative(root, chosen.weights) if chosen.weights else chosen.loaded or "none",
        "preprocess": chosen.preprocess_description,
        "classes": (f"{len(names)}: {', '.join(names[:5])}" + ("" if len(names) <= 5 else ", ..."))
        if names
        else "unnamed",
        "names from": classes.source,
        "images": f"{len(cases)} from {_relative(root, Path(os.path.commonpath([case.image.parent for case in cases])))}"
        + (f", of {', '.join(labels[:5])}" if labels else ""),
        "masks": f"{masks} of these images have one" if masks else "none",
    }


def _relative(root: Path, path: Path) -> str:
    path = path.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
