"""The explainer that users hold: heatmaps of a model, and the checks on what it does with an image."""

from __future__ import annotations

from pytest_gradcam.engine.heatmaps import Heatmaps


class Explainer(Heatmaps):
    """Heatmaps of one model, and checks on what the model does with an image.

    The arguments are those of `Heatmaps`. The model is given back as it was after every call.
    """
