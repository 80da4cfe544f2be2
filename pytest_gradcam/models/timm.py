"""Models of timm, with the transforms of their published weights."""

from __future__ import annotations

from typing import Any

from torch import nn

from pytest_gradcam.errors import SettingsError
from pytest_gradcam.models.kinds import Wanted, package
from pytest_gradcam.validation import nearest

WEIGHTS = "random"


def look_up(name: str) -> None:
    """Raises SettingsError where timm is missing, and for a name that it does not have."""
    timm = _timm()
    if not timm.is_model(name.split(".")[0]):
        known = timm.list_models()
        raise SettingsError(f"timm has no model {name!r}{nearest(name, known) or '; timm.list_models() lists them'}")


def build(name: str, wanted: Wanted) -> nn.Module:
    """The model, with random weights unless the published ones are wanted."""
    look_up(name)
    model: nn.Module = _timm().create_model(name, pretrained=wanted.pretrained)
    return model


def preprocess(name: str, wanted: Wanted) -> Any:
    """The transforms of the published weights; these are not downloaded for it."""
    data = _timm().data
    return data.create_transform(**data.resolve_data_config(model=build(name, Wanted())))


def classes(name: str, wanted: Wanted) -> Any:
    """The classes of the published weights where these are ImageNet's; None for others."""
    if not wanted.pretrained:
        return None
    look_up(name)
    data = _timm().data
    subset = data.infer_imagenet_subset(_timm().models.get_pretrained_cfg(name))
    if subset is None:
        return None
    info = data.ImageNetInfo(subset)
    return [info.index_to_description(index).split(", ") for index in range(info.num_classes())]


def _timm() -> Any:
    return package("timm", "a timm: model", "timm")
