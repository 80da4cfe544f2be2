"""What `pytest-gradcam init` writes into a repository: first tests, the fixtures that they need, and the settings.

What is found is tried before it is written: the model is built, the weights are loaded, one image is explained.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_gradcam.errors import SettingsError
from pytest_gradcam.evidence import files
from pytest_gradcam.tools import data_facts, model_choice, settings_file, templates
from pytest_gradcam.tools.data_facts import Case, DataFacts
from pytest_gradcam.tools.model_choice import Found

_TEST, _CONFTEST = "test_attention.py", "conftest.py"


@dataclass(frozen=True)
class Wishes:
    """What the user names in place of what would be found; None for what is to be found."""

    model: str | None = None
    weights: Path | None = None
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


def plan(root: Path, wishes: Wishes) -> Plan:
    """What would be written into the repository. Raises SettingsError for what is missing, already there, or does not work."""
    root = root.resolve()
    target = _folder_of_tests(root)
    configuration = settings_file.find(root)
    facts = data_facts.data_facts(root)
    chosen = model_choice.choose(root, facts, wishes.model, wishes.weights, wishes.preprocess)
    notes = list(chosen.notes)
    classes, names = _classes(facts, wishes, chosen, notes)
    cases = data_facts.cases(facts, names, _within(root, wishes.images), _within(root, wishes.masks))
    if not cases:
        where = wishes.images or root
        raise SettingsError(
            f"there is no image below {where}, and a test needs some; pass --images with a folder of images"
        )
    settings = _settings(root, chosen, classes)
    notes += chosen.try_out(cases[0].image, names)
    contents = {target / _TEST: templates.tests(cases, root, target)}
    if conftest := templates.conftest(chosen, root, target, names if classes is None else ()):
        contents[target / _CONFTEST] = conftest
    contents[configuration.path] = configuration.with_settings(settings, chosen.import_root)
    return Plan(root, contents, _said(root, chosen, classes, names, cases), tuple(notes), settings)


def _folder_of_tests(root: Path) -> Path:
    """Where the files go: `tests`, or a folder of their own in it where it has a conftest.py already."""
    for folder in (root / "tests", root / "tests" / "attention"):
        taken = [name for name in (_TEST, _CONFTEST) if (folder / name).exists()]
        if not taken:
            return folder
    raise SettingsError(f"{folder} has {' and '.join(taken)} already; remove them, or edit them: init replaces no file")


def _within(root: Path, folder: Path | None) -> Path | None:
    return None if folder is None else (root / folder).resolve()


def _classes(facts: DataFacts, wishes: Wishes, chosen: Found, notes: list[str]) -> tuple[Path | None, tuple[str, ...]]:
    """The file of class names, if there is one, and the names."""
    count = chosen.class_count()
    if wishes.classes is not None:
        facts = DataFacts(facts.weights, (Path(wishes.classes).resolve(),), ())
    path, names = data_facts.fitting_classes(facts, count)
    if wishes.classes is not None and path is None:
        raise SettingsError(f"{wishes.classes} does not hold the names of the model's {count} classes; check the file")
    if not names:
        others = f" (none of {len(facts.class_files)} files fits)" if facts.class_files else ""
        notes.append(
            f"no names of its {count} classes were found{others}: targets are indices; pass --classes for names"
        )
    elif path is None:
        notes.append(
            "the class names are those of the folders of images, in alphabetical order, as ImageFolder has them"
        )
    return path, names


def _settings(root: Path, chosen: Found, classes: Path | None) -> dict[str, Any]:
    """The settings that the tests need, by key, with paths from the root."""
    values = {
        "gradcam_model": chosen.spec,
        "gradcam_weights": None if chosen.weights is None or not chosen.spec else _relative(root, chosen.weights),
        "gradcam_preprocess": chosen.preprocess_spec,
        "gradcam_classes": None if classes is None else _relative(root, classes),
    }
    return {key: value for key, value in values.items() if value}


def _said(root: Path, chosen: Found, classes: Path | None, names: tuple[str, ...], cases: list[Case]) -> dict[str, str]:
    masks = sum(case.mask is not None for case in cases)
    labels = sorted({case.label for case in cases if case.label})
    return {
        "model": chosen.description,
        "weights": "none" if chosen.weights is None else _relative(root, chosen.weights),
        "preprocess": chosen.preprocess_description,
        "classes": (f"{len(names)}: {', '.join(names[:5])}" + ("" if len(names) <= 5 else ", ..."))
        if names
        else "unnamed",
        "class file": "none" if classes is None else _relative(root, classes),
        "images": f"{len(cases)} from {_relative(root, cases[0].image.parent.parent if labels else cases[0].image.parent)}"
        + (f", of {', '.join(labels[:5])}" if labels else ""),
        "masks": f"{masks} of these images have one" if masks else "none",
    }


def _relative(root: Path, path: Path) -> str:
    path = path.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
