"""The pictures of checks: views of an image, heatmaps on them, the outline of the mask, the figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL.Image import Image

_PANEL_INCHES = 4.2
_ACROSS = 3  # at most this many panels in a row; two and four make rows of two
_OUTLINE = "#00e5ff"  # cyan stands out on inferno, which has none
_COLOURS = "inferno"
_DETAIL = 0.1  # of the view: ticks would cover a smaller mask, whose outline is clear anyway


@dataclass(frozen=True)
class Panel:
    """One part of a picture: the view uint8 (H, W, 3), the heatmap (H, W) and the mask bool (H, W) on it.

    `top` is the relevance that is shown brightest, the heatmap's maximum by default: panels to compare share one.
    `level` is a relevance to outline, `peak` a pixel (x, y) to mark.
    """

    view: NDArray[np.uint8]
    heat: NDArray[np.float32] | None = None
    mask: NDArray[np.bool_] | None = None
    caption: str = ""
    top: float | None = None
    level: float | None = None
    peak: tuple[int, int] | None = None


def draw(heatmap: Panel, *, title: str = "", lines: Sequence[str] = ()) -> Image:
    """An RGB picture of the view alone beside the heatmap on it, with a colour bar in relevance."""
    return draw_panels([Panel(heatmap.view, mask=heatmap.mask), heatmap], title=title, lines=lines)


def draw_panels(panels: Sequence[Panel], *, title: str = "", lines: Sequence[str] = ()) -> Image:
    """An RGB picture of the panels in rows, under a title and over lines of text."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    across = 2 if len(panels) in (2, 4) else min(len(panels), _ACROSS)
    down = -(-len(panels) // across)
    height, width = panels[0].view.shape[:2]
    tall = _PANEL_INCHES * min(2.0, max(0.5, height / width)) + (0.25 if any(p.caption for p in panels) else 0)
    caption = 0.22 * (len(lines) + 1)
    size = (across * _PANEL_INCHES + 1.2, down * tall + caption + 0.7)
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(plain(title), fontsize=11, wrap=True)
    places = figure.subplots(down, across, squeeze=False).ravel()
    for axes in places:
        axes.set_axis_off()
    for axes, panel in zip(places, panels, strict=False):
        _show(figure, axes, panel)
    figure.supxlabel(plain("\n".join(lines)), fontsize=8.5, family="monospace", x=0.02, ha="left")
    return rendered(canvas)


def rendered(canvas: FigureCanvasAgg) -> Image:
    """The figure on the canvas as an RGB picture."""
    from PIL import Image

    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def show(axes: Axes, panel: Panel) -> None:
    """A small panel in axes of a larger picture, without a colour bar."""
    axes.imshow(panel.view)
    if panel.heat is not None:
        axes.imshow(np.nan_to_num(panel.heat), cmap=_COLOURS, alpha=0.45)
    if panel.mask is not None and panel.mask.any() and not panel.mask.all():
        axes.contour(panel.mask, levels=[0.5], colors=[_OUTLINE], linewidths=1)


def _show(figure: Figure, axes: Axes, panel: Panel) -> None:
    axes.set_title(plain(panel.caption), fontsize=9)
    if panel.heat is None:
        axes.imshow(panel.view)
    else:
        _heat(figure, axes, panel.view, panel.heat, panel.top)
    if panel.mask is not None and panel.mask.any() and not panel.mask.all():
        _outline(axes, panel.mask)
    if panel.heat is not None and panel.level is not None and panel.heat.min() < panel.level <= panel.heat.max():
        axes.contour(panel.heat, levels=[panel.level], colors=["white"], linewidths=1.2, linestyles="dashed")
    if panel.peak is not None:
        axes.plot(*panel.peak, "+", color="black", markersize=17, markeredgewidth=4)
        axes.plot(*panel.peak, "+", color="white", markersize=14, markeredgewidth=2)


def _outline(axes: Axes, mask: NDArray[np.bool_]) -> None:
    """The mask's outline; on a large mask with ticks that point into it, since it may be the rest of the view."""
    from matplotlib.patheffects import Normal, withTickedStroke

    line = axes.contour(mask, levels=[0.5], colors=[_OUTLINE], linewidths=1.5)
    if mask.mean() >= _DETAIL:
        line.set_path_effects([Normal(), withTickedStroke(spacing=9, length=0.6, angle=-90)])


def _heat(figure: Figure, axes: Axes, view: NDArray[np.uint8], values: NDArray[np.float32], top: float | None) -> None:
    grey = view.mean(axis=2).astype(np.uint8)
    axes.imshow(grey, cmap="gray", vmin=0, vmax=255)
    finite = np.nan_to_num(values, nan=0, posinf=0)
    top = float(finite.max()) if top is None else top
    heat = axes.imshow(finite, cmap=_COLOURS, vmin=0, vmax=top if top > 0 else 1, alpha=0.6)
    figure.colorbar(heat, ax=axes, label="relevance", shrink=0.9)


def plain(text: str) -> str:
    """The text with its dollar signs escaped: matplotlib reads text between two of them as mathematics."""
    return text.replace("$", r"\$")
