"""Image classifiers of Ultralytics. Its licence is AGPL-3.0, so it is imported only where a model of it is named."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from pytest_gradcam.errors import SettingsError
from pytest_gradcam.models.kinds import Wanted, package, require_file

WEIGHTS = "file"
#: It neither downloads nor installs anything with these.
_QUIET = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}


def look_up(name: str) -> None:
    """Raises SettingsError where Ultralytics, or the file, is missing."""
    _ultralytics()
    require_file(name, "ultralytics:")


def build(name: str, wanted: Wanted) -> nn.Module:
    """The classifier in a .pt file of Ultralytics. Reading it runs code from the file. Raises SettingsError for other tasks."""
    return Classifier(_model(name))


def preprocess(name: str, wanted: Wanted) -> Any:
    """The transforms that Ultralytics predicts with: those of the file where they are of its image size."""
    model = _model(name)
    size = dict(getattr(model, "args", {})).get("imgsz", 224)
    own = getattr(model, "transforms", None)
    found = getattr(own.transforms[0], "size", None) if own is not None else None
    if found in (size, [size, size], (size, size)):
        return own
    return importlib.import_module("ultralytics.data.augment").classify_transforms(size)


def classes(name: str, wanted: Wanted) -> Any:
    """The names in the file, index -> name."""
    return dict(_model(name).names)


class Classifier(nn.Module):
    """Logits (N, classes): in eval mode Ultralytics' own returns its probabilities first, and logits after them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        output = self.model(images)
        scores: Tensor = output[1] if isinstance(output, (tuple, list)) else output
        return scores


def _ultralytics() -> Any:
    with _quiet():
        return package("ultralytics", "an ultralytics: model (its licence is AGPL-3.0)", "ultralytics")


def _model(name: str) -> Any:
    path = require_file(name, "ultralytics:")
    try:
        with _quiet():
            yolo = _ultralytics().YOLO(str(path))
    except SettingsError:
        raise
    except Exception as error:  # of whatever the file holds
        reason = next(iter(str(error).splitlines()), "")
        raise SettingsError(
            f"{path} is not an Ultralytics model ({type(error).__name__}: {reason:.300}); check that the file is complete"
        ) from None
    if yolo.task != "classify" or not isinstance(yolo.model, nn.Module):
        raise SettingsError(
            f"{path} is a model for the task {yolo.task!r}; expected a classifier (.pt). For others, write a "
            "fixture gradcam_model"
        )
    return yolo.model.float().eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside, Ultralytics is told to stay offline, unless the environment says otherwise."""
    new = [name for name in _QUIET if name not in os.environ]
    os.environ.update({name: _QUIET[name] for name in new})
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)
