"""The picture of a heatmap: the view, the heatmap on it, the outline of the mask, the figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

_PANEL_INCHES = 4.2
_OUTLINE = "#00e5ff"  # cyan stands out on inferno, which has none
_COLOURS = "inferno"


def draw(
    values: NDArray[np.float32],
    view: NDArray[np.uint8],
    *,
    mask: NDArray[np.bool_] | None = None,
    title: str = "",
    lines: Sequence[str] = (),
) -> Image:
    """An RGB picture of the view (H, W, 3) beside the view under the heatmap (H, W), with a colour bar in relevance."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    height, width = values.shape
    panel = _PANEL_INCHES * min(2.0, max(0.5, height / width))
    caption = 0.22 * (len(lines) + 1)
    figure = Figure(figsize=(2 * _PANEL_INCHES + 1.2, panel + caption + 0.7), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(_plain(title), fontsize=11, wrap=True)
    left, right = figure.subplots(1, 2)
    left.imshow(view)
    _heat(figure, right, values, view)
    for axes in (left, right):
        axes.set_axis_off()
        if mask is not None and mask.any() and not mask.all():
            axes.contour(mask, levels=[0.5], colors=[_OUTLINE], linewidths=1.5)
    figure.supxlabel(_plain("\n".join(lines)), fontsize=8.5, family="monospace", x=0.02, ha="left")
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _heat(figure: Figure, axes: Axes, values: NDArray[np.float32], view: NDArray[np.uint8]) -> None:
    grey = view.mean(axis=2).astype(np.uint8)
    axes.imshow(grey, cmap="gray", vmin=0, vmax=255)
    finite = np.nan_to_num(values, nan=0, posinf=0)
    top = float(finite.max())
    heat = axes.imshow(finite, cmap=_COLOURS, vmin=0, vmax=top if top > 0 else 1, alpha=0.6)
    figure.colorbar(heat, ax=axes, label="relevance", shrink=0.9)


def _plain(text: str) -> str:
    """The text with its dollar signs escaped: matplotlib reads what stands between two of them as mathematics."""
    return text.replace("$", r"\$")
