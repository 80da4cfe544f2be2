"""The kinds of models that a setting names as KIND:NAME, each in a module of its own that is imported when it is named."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from torch import nn

from pytest_gradcam.errors import SettingsError

_MODULES = {
    "torchvision": "torchvision",
    "timm": "timm",
    "hf": "huggingface",
    "open_clip": "openclip",
    "ultralytics": "ultralytics",
    "onnx": "onnx",
    "export": "exported",
}


def _unnamed() -> None:  # by name, so that it can be serialised
    """No class names."""


@dataclass(frozen=True)
class Wanted:
    """What the settings say besides the name: whether a download is asked for or which file holds the weights, the class names,
    and the prompt.
    """

    pretrained: bool = False
    classes: Callable[[], Any] = _unnamed
    prompt: str | None = None
    weights: Path | None = None


class Kind(Protocol):
    """One kind of models. Each function raises SettingsError for a name that does not exist."""

    #: Where the weights come from: the "file" that is named, the kind's "own" source, or from elsewhere: without any they
    #: are "random".
    WEIGHTS: Literal["file", "own", "random"]

    def look_up(self, name: str) -> None:
        """Raises for a missing package or file; nothing is built or downloaded."""

    def build(self, name: str, wanted: Wanted) -> nn.Module: ...

    def preprocess(self, name: str, wanted: Wanted) -> Any:
        """The callable from a PIL image to a float tensor (C, H, W), or None where the model brings none."""

    def classes(self, name: str, wanted: Wanted) -> Any:
        """The class names that the model brings, or None."""


def kind_of(spec: str) -> Kind | None:
    """The kind that the spec begins with; None for package.module:callable."""
    module = _MODULES.get(spec.partition(":")[0])
    found: Any = None if module is None else importlib.import_module(f"pytest_gradcam.models.{module}")
    return found  # type: ignore[no-any-return]


def package(name: str, what: str, extra: str) -> Any:
    """The package that this kind needs. Raises SettingsError that names the extra where it is missing."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise  # the package is there, and one of its own is not
        raise SettingsError(
            f"{name} is not installed, and {what} needs it; pip install pytest-gradcam[{extra}]"
        ) from None


def require_file(name: str, setting: str) -> Path:
    """The path. Raises SettingsError if there is no such file."""
    path = Path(name)
    if not path.is_file():
        raise SettingsError(
            f"{setting} names {name!r}, and there is no such file (looked from {Path.cwd()}); check the path"
        )
    return path
