"""The names of pytest_gradcam that are not public and that benchmarks use all the same, each with the reason.

Each is imported when it is first used, so that a benchmark loads only what it measures. A test holds that all of them
exist, and that no benchmark takes others.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

INTERNALS = {
    # A cache for an explainer outside of pytest, where the option gradcam_cache cannot ask for one.
    "HeatmapCache": "pytest_gradcam.cam.cache",
    # What lies at the target layer: a heatmap only shows what is left of it after the weighting and the ReLU.
    "Captured": "pytest_gradcam.cam.capture",
    "capture": "pytest_gradcam.cam.capture",
    "untouched": "pytest_gradcam.state.guard",
    # The choice of the layer for outputs that are no scores, and how the axes of its output hold the grid.
    "Choice": "pytest_gradcam.cam.layers",
    "Site": "pytest_gradcam.cam.layers",
    "choose": "pytest_gradcam.cam.layers",
    # A rule to compare with fills masks as the interventions do.
    "inpaint": "pytest_gradcam.replacement.fills",
    # The decoding that a bare loop has to do as well.
    "read": "pytest_gradcam.images",
    # Class names from a file, as the settings have them.
    "class_names": "pytest_gradcam.models.sources",
    # A model as the setting gradcam_model has it.
    "build": "pytest_gradcam.models.sources",
    # Questions outside of a test, whose records are kept and not written.
    "running": "pytest_gradcam.evidence.current_test",
    # A report of checks that no test has made.
    "Record": "pytest_gradcam.evidence.record",
    "of_check": "pytest_gradcam.evidence.requirements",
    "Report": "pytest_gradcam.report",
    "Run": "pytest_gradcam.report",
    "write": "pytest_gradcam.report.write",
}


def __getattr__(name: str) -> Any:
    if name in INTERNALS:
        return getattr(import_module(INTERNALS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
