"""What the settings name, built: the preprocess and the class names that belong to a model."""

from __future__ import annotations

from typing import Any

from pytest_gradcam.models import sources
from pytest_gradcam.settings import Settings


def preprocess(settings: Settings) -> Any:
    """The preprocess of the settings, or of the model that they name; None if there is neither."""
    named = settings.model is not None and settings.model.startswith(("torchvision:", "timm:"))
    spec = settings.preprocess or (settings.model if named else None)
    return None if spec is None else sources.preprocess(spec)


def classes(settings: Settings) -> Any:
    """The class names of the settings, or of the published weights that they ask for; None if there are neither."""
    if settings.classes is not None:
        return sources.class_names(settings.classes)
    if settings.model is not None and settings.weights == sources.PRETRAINED:
        return sources.published_class_names(settings.model)
    return None
