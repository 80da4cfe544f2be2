"""Plots as pictures: what the figures of Matplotlib need on their way there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL.Image import Image


def rendered(canvas: FigureCanvasAgg) -> Image:
    """The figure on the canvas as an RGB picture."""
    from PIL import Image

    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def plain(text: str) -> str:
    """The text with its dollar signs escaped: matplotlib reads text between two of them as mathematics."""
    return text.replace("$", r"\$")
