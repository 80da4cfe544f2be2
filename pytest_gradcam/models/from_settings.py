"""What the settings name, built: the model, and the preprocess and class names that belong to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_gradcam.errors import SettingsError
from pytest_gradcam.models import sources
from pytest_gradcam.models.weights import require_file
from pytest_gradcam.settings import KINDS, Settings


def model(settings: Settings, class_names: Callable[[], Any] | None = None) -> Any:
    """The model of the settings; `class_names` gives the classes where these are texts, by default those of the settings.

    Raises SettingsError if no model is set.
    """
    if settings.model is None:
        raise SettingsError(
            "no model is configured; set gradcam_model = package.module:callable, torchvision:NAME, timm:NAME, ... in "
            "pytest's configuration, or override the fixture gradcam_model in conftest.py"
        )
    return sources.build(
        settings.model,
        settings.weights,
        sources.own_share(settings.device),
        classes=class_names or (lambda: classes(settings)),
        prompt=settings.prompt,
    )


def require_weights(settings: Settings) -> None:
    """Raises SettingsError if the settings name a file of weights that does not exist."""
    if settings.weights not in (None, sources.PRETRAINED):
        require_file(Path(str(settings.weights)))


def preprocess(settings: Settings) -> Any:
    """The preprocess of the settings, or of the model that they name; None if there is neither."""
    named = settings.model is not None and settings.model.startswith(KINDS)
    spec = settings.preprocess or (settings.model if named else None)
    return None if spec is None else sources.preprocess(spec, weights=settings.weights)


def classes(settings: Settings) -> Any:
    """The class names of the settings, or those that the model brings; None if there are neither."""
    if settings.classes is not None:
        return sources.class_names(settings.classes)
    if settings.model is not None:
        return sources.own_class_names(settings.model, weights=settings.weights)
    return None
