"""What the settings name, built: the preprocess and the class names that belong to a model."""

from __future__ import annotations

from typing import Any

from pytest_gradcam.models import sources
from pytest_gradcam.settings import KINDS, Settings


def preprocess(settings: Settings) -> Any:
    """The preprocess of the settings, or of the model that they name; None if there is neither."""
    named = settings.model is not None and settings.model.startswith(KINDS)
    spec = settings.preprocess or (settings.model if named else None)
    return None if spec is None else sources.preprocess(spec, pretrained=settings.weights == sources.PRETRAINED)


def classes(settings: Settings) -> Any:
    """The class names of the settings, or those that the model brings; None if there are neither."""
    if settings.classes is not None:
        return sources.class_names(settings.classes)
    if settings.model is not None:
        return sources.own_class_names(settings.model, pretrained=settings.weights == sources.PRETRAINED)
    return None
