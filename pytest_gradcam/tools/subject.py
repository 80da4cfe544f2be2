"""The model that a command is about, built from its settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pytest_gradcam.cam.engine import Engine
from pytest_gradcam.errors import SettingsError
from pytest_gradcam.models import from_settings, sources
from pytest_gradcam.settings import Settings


@dataclass(frozen=True)
class ModelParts:
    """A model with what belongs to it; `untrained` says which of its weights are a random draw, and is empty for none."""

    settings: Settings
    model: Any
    preprocess: Any
    classes: Any
    untrained: str

    def engine(self, *, with_classes: bool = True) -> Engine:
        classes = self.classes if with_classes else None
        return Engine.from_settings(self.settings, self.model, self.preprocess, classes)


def build(settings: Settings) -> ModelParts:
    """Raises SettingsError, naming the setting, for what does not exist or cannot be built."""
    from_settings.require_weights(settings)
    spec = str(settings.model)
    with of_the_user(f"importing {spec}"):
        sources.look_up(spec, "MODEL")
    with of_the_user(f"building {spec}"):
        model = from_settings.model(settings)
        preprocess, classes = from_settings.preprocess(settings), from_settings.classes(settings)
        untrained = sources.drawn_anew(spec, model) if settings.weights is None else ""
    return ModelParts(settings, model, preprocess, classes, untrained)


@contextmanager
def of_the_user(what: str) -> Iterator[None]:
    """What the user's own code raises inside is said in one line: what was being done, and the error."""
    try:
        yield
    except (ValueError, OSError):  # ours say what to do; others name the file
        raise
    except Exception as error:
        raise SettingsError(f"{what} raised {type(error).__name__}: {error}") from error
