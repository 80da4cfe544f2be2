"""Models of torchvision, with the transforms and class names of their published weights."""

from __future__ import annotations

import hashlib
import inspect
from functools import lru_cache
from pathlib import Path
from typing import Any

import torchvision
from torch import nn

from pytest_gradcam.errors import SettingsError
from pytest_gradcam.models.kinds import Wanted
from pytest_gradcam.validation import nearest

WEIGHTS = "random"


def look_up(name: str) -> None:
    """Raises SettingsError for a name that torchvision does not have."""
    known = torchvision.models.list_models()
    if name not in known:
        raise SettingsError(
            f"torchvision has no model {name!r}{nearest(name, known) or '; torchvision.models.list_models() lists them'}"
        )


def build(name: str, wanted: Wanted) -> nn.Module:
    """The model, with random weights unless the published ones are wanted."""
    look_up(name)
    # weights_backbone has a default that downloads, in the detection and segmentation models that know it.
    known = inspect.signature(torchvision.models.get_model_builder(name)).parameters
    extra = {} if wanted.pretrained or "weights_backbone" not in known else {"weights_backbone": None}
    model: nn.Module = torchvision.models.get_model(name, weights="DEFAULT" if wanted.pretrained else None, **extra)
    return model


def preprocess(name: str, wanted: Wanted) -> Any:
    """The transforms of the published weights: of those that the file is, or else of the newest; nothing is downloaded."""
    look_up(name)
    return (_published(name, wanted.weights) or _newest(name)).transforms()


def classes(name: str, wanted: Wanted) -> Any:
    """The classes of the published weights; None for others."""
    look_up(name)
    weights = _newest(name) if wanted.pretrained else _published(name, wanted.weights)
    return None if weights is None else list(weights.meta["categories"])


def _newest(name: str) -> Any:
    return torchvision.models.get_model_weights(name)["DEFAULT"]


def _published(name: str, file: Path | None) -> Any:
    """The published weights that the file is, or None."""
    if file is None or not file.is_file():
        return None
    found = file.stat()
    return _entry(name, file, (found.st_mtime_ns, found.st_ctime_ns, found.st_size))


@lru_cache(maxsize=8)
def _entry(name: str, file: Path, _state: tuple[int, ...]) -> Any:
    """Their addresses end in the digits that the file's SHA-256 begins with: transforms and classes both ask, and it is large."""
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    entries = torchvision.models.get_model_weights(name)
    return next((one for one in entries if digest.startswith(Path(one.url).stem.rpartition("-")[2])), None)
