"""Models of torchvision, with the transforms and class names of their published weights."""

from __future__ import annotations

import inspect
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
    """The transforms of the published weights; these are not downloaded for it."""
    look_up(name)
    return _published(name).transforms()


def classes(name: str, wanted: Wanted) -> Any:
    """The classes of the published weights; None for random ones."""
    return list(_published(name).meta["categories"]) if wanted.pretrained else None


def _published(name: str) -> Any:
    return torchvision.models.get_model_weights(name)["DEFAULT"]
