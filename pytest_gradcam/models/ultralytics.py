"""Image classifiers and detectors of Ultralytics. Its licence is AGPL-3.0, so it is imported only where it is named."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pytest_gradcam.cam.anchored_detection import HEADS, anchored_head
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
    """The classifier or detector in a .pt file of Ultralytics. Reading it runs code from the file.

    Raises SettingsError for other tasks.
    """
    model = _model(name)
    return model if _is_detector(model) else Classifier(model)


def preprocess(name: str, wanted: Wanted) -> Any:
    """The transforms that Ultralytics predicts with: those of the file where they are of its image size."""
    model = _model(name)
    args = dict(getattr(model, "args", {}))
    if _is_detector(model):
        return Letterbox(args.get("imgsz", 640), int(model.stride.max()))
    size = args.get("imgsz", 224)
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


class Letterbox:
    """A PIL image as Ultralytics gives it to a detector: scaled to fit `size` and padded with grey to multiples of a stride."""

    def __init__(self, size: Any, stride: int) -> None:
        stride = max(stride, 32)
        checks, augment = (importlib.import_module(f"ultralytics.{name}") for name in ("utils.checks", "data.augment"))
        self._fitted = augment.LetterBox(checks.check_imgsz(size, stride=stride, min_dim=2), auto=True, stride=stride)

    def __call__(self, image: Any) -> Tensor:
        pixels = np.atleast_3d(self._fitted(image=np.asarray(image)))
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float().div_(255)


def _is_detector(model: Any) -> bool:
    return anchored_head(model) is not None


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
    head = type(getattr(yolo.model, "model", [None])[-1]).__name__
    if not isinstance(yolo.model, nn.Module):
        raise SettingsError(f"{path} holds no PyTorch model; expected the .pt file that Ultralytics trained")
    if yolo.task != "classify" and (yolo.task != "detect" or head not in HEADS):
        raise SettingsError(
            f"{path} is a model for the task {yolo.task!r}, with a head {head}; expected a classifier, or a detector with "
            f"a head {' or '.join(HEADS)} (.pt). For others, write a fixture gradcam_model"
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
