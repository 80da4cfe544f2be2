"""Unit tests for what a vision model looks at.

The names below are loaded when they are first used: importing this package loads neither numpy nor torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pytest_gradcam.errors import FocusError, GradcamWarning, HeatmapError, NoEvidenceError, SettingsError

if TYPE_CHECKING:
    from pytest_gradcam import data, masks, metrics, perturbations, strategies
    from pytest_gradcam.checks.class_effects import Fed
    from pytest_gradcam.checks.reliance_rule import Reliance
    from pytest_gradcam.checks.robustness import Robustness
    from pytest_gradcam.data import Case, cases
    from pytest_gradcam.explainer import Explainer
    from pytest_gradcam.heatmap import Heatmap
    from pytest_gradcam.targets import Box, Contrast, Detection, Region, Value

__all__ = [
    "Box",
    "Case",
    "Contrast",
    "Detection",
    "Explainer",
    "Fed",
    "FocusError",
    "GradcamWarning",
    "Heatmap",
    "HeatmapError",
    "NoEvidenceError",
    "Region",
    "Reliance",
    "Robustness",
    "SettingsError",
    "Value",
    "cases",
    "data",
    "masks",
    "metrics",
    "perturbations",
    "strategies",
]

_LAZY = {
    "Box": "pytest_gradcam.targets",
    "Region": "pytest_gradcam.targets",
    "Fed": "pytest_gradcam.checks.class_effects",
    "Reliance": "pytest_gradcam.checks.reliance_rule",
    "Contrast": "pytest_gradcam.targets",
    "Detection": "pytest_gradcam.targets",
    "Value": "pytest_gradcam.targets",
    "Robustness": "pytest_gradcam.checks.robustness",
    "Explainer": "pytest_gradcam.explainer",
    "Heatmap": "pytest_gradcam.heatmap",
    "Case": "pytest_gradcam.data",
    "cases": "pytest_gradcam.data",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    if name in __all__:
        return import_module(f"pytest_gradcam.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
