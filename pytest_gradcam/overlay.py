"""The pictures of checks: views of an image, heatmaps on them, the outline of the mask, the figures.

They are painted with Pillow: one takes a tenth of what it takes as a Matplotlib figure, and a run may fail in many places.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from math import floor, log10
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter

if TYPE_CHECKING:
    from PIL.Image import Image, Resampling
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

Pixels = NDArray[np.uint8]
Bools = NDArray[np.bool_]

_ACROSS = 3  # at most this many panels in a row; two and four make rows of two
_SIDE, _BAR, _GAP = 336, 84, 14  # pixels: the width of a panel, of a colour bar with its labels, and between things
_OUTLINE = (0, 229, 255)  # cyan stands out on inferno, which has none
_DETAIL = 0.1  # of the view: ticks would cover a smaller mask, whose outline is clear anyway
_TICKS, _TICKS_APART = 9, 12  # pixels that the ticks of an outline reach into the mask, and between them
_VISIBLE = 0.6  # of the heatmap on the view
_TITLE, _CAPTION, _LINE, _LABEL = 15, 13, 12, 11  # pixels, sizes of text
#: Matplotlib's colour map 'inferno' (van der Walt and Smith, 2015) at equal steps.
_INFERNO = bytes.fromhex(
    "000004 0a0722 1e0c45 380962 510e6c 69166e 801f6c 982766 b0315b "
    "c63d4d d94d3d e9612b f47918 fa9407 fcb014 f8cd37 f2ea69 fcffa4"
)


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
    from PIL import Image, ImageDraw

    across = 2 if len(panels) in (2, 4) else min(len(panels), _ACROSS)
    columns = [_SIDE + (_BAR if any(p.heat is not None for p in panels[n::across]) else 0) for n in range(across)]
    height, width = panels[0].view.shape[:2]
    caption = _CAPTION + 8 if any(panel.caption for panel in panels) else 0
    tall = round(_SIDE * min(2.0, max(0.5, height / width))) + caption + _GAP
    wide = max(sum(columns) + (across + 1) * _GAP, 2 * _SIDE)
    head = _wrapped(title, _font(_TITLE), wide - 2 * _GAP)
    foot = [part for line in lines for part in _wrapped(line, _font(_LINE, mono=True), wide - 2 * _GAP)]
    top = _GAP + len(head) * (_TITLE + 4) + (_GAP if head else 0)
    bottom = top + -(-len(panels) // across) * tall
    picture = Image.new("RGB", (wide, bottom + len(foot) * (_LINE + 5) + _GAP), "white")
    pen = ImageDraw.Draw(picture)
    for number, text in enumerate(head):
        _write(pen, (wide / 2, _GAP + number * (_TITLE + 4)), text, _font(_TITLE), "ma")
    for number, text in enumerate(foot):
        _write(pen, (_GAP, bottom + number * (_LINE + 5)), text, _font(_LINE, mono=True), "la")
    left = (wide - sum(columns) - (across - 1) * _GAP) // 2
    for number, panel in enumerate(panels):
        row, column = divmod(number, across)
        corner = (left + sum(columns[:column]) + column * _GAP, top + row * tall)
        text = _cut(panel.caption, _font(_CAPTION), columns[column])
        _write(pen, (corner[0] + _SIDE / 2, corner[1]), text, _font(_CAPTION), "ma")
        _paint(picture, panel, (corner[0], corner[1] + caption, _SIDE, tall - caption - _GAP))
    return picture


def inferno(heat: NDArray[np.float32], top: float | None = None) -> Pixels:
    """The colours (H, W, 3) of a heatmap (H, W), from 0 to `top`, by default the maximum."""
    values = np.nan_to_num(heat, nan=0, posinf=0, neginf=0)
    highest = float(values.max()) if top is None else top
    return _colours()[(values * (255 / (highest if highest > 0 else 1))).clip(0, 255).astype(np.uint8)]


@cache
def _colours() -> Pixels:
    """The colour (256, 3) of each level."""
    known = np.frombuffer(_INFERNO, np.uint8).reshape(-1, 3)
    at, steps = np.linspace(0, 1, len(known)), np.linspace(0, 1, 256)
    return np.stack([np.interp(steps, at, channel) for channel in known.T], axis=1).round().astype(np.uint8)


def _paint(picture: Image, panel: Panel, box: tuple[int, int, int, int]) -> None:
    """The panel in the middle of a box (left, top, width, height), and a colour bar beside it if it has a heatmap."""
    from PIL import Image

    (height, width), (left, top, across, down) = panel.view.shape[:2], box
    scale = min(across / width, down / height)
    size = w, h = max(1, round(width * scale)), max(1, round(height * scale))
    x, y = left + (across - w) // 2, top + (down - h) // 2
    # Pixels that are large enough to be seen as such are shown as they are.
    smooth = Image.Resampling.NEAREST if scale >= 3 else Image.Resampling.BILINEAR
    colours = np.array(Image.fromarray(_on_view(panel)).resize(size, smooth))
    if panel.mask is not None and panel.mask.any() and not panel.mask.all():
        inside = _resized(panel.mask.astype(np.float32), size, smooth) >= 0.5
        colours[_outline(inside, ticks=panel.mask.mean() >= _DETAIL)] = _OUTLINE
    if panel.heat is not None and panel.level is not None and panel.heat.min() < panel.level <= panel.heat.max():
        colours[_edge(_resized(panel.heat, size, smooth) >= panel.level, 1, 1)] = 255
    if panel.peak is not None:
        _cross(colours, round((panel.peak[0] + 0.5) * scale), round((panel.peak[1] + 0.5) * scale))
    picture.paste(Image.fromarray(colours), (x, y))
    if panel.heat is not None:
        _bar(picture, panel, (x + w + _GAP, y, h))


def _on_view(panel: Panel) -> Pixels:
    """The view; with a heatmap, the view in grey under its colours."""
    from PIL import Image

    if panel.heat is None:
        return panel.view
    grey = Image.fromarray(panel.view).convert("L").convert("RGB")
    return np.asarray(Image.blend(grey, Image.fromarray(inferno(panel.heat, panel.top)), _VISIBLE))


def _resized(values: NDArray[np.float32], size: tuple[int, int], how: Resampling) -> NDArray[np.float32]:
    from PIL import Image

    return np.asarray(Image.fromarray(np.nan_to_num(values)).resize(size, how))


def _outline(inside: Bools, *, ticks: bool) -> Bools:
    """The outline of a mask; with ticks that point into it, since a large one may be the rest of the view."""
    line = _edge(inside, 2, 2)
    if not ticks:
        return line
    rows, columns = np.ogrid[: inside.shape[0], : inside.shape[1]]
    return (
        line
        | (_edge(inside, _TICKS, 0) & (columns % _TICKS_APART < 2))
        | (_edge(inside, 0, _TICKS) & (rows % _TICKS_APART < 2))
    )


def _edge(inside: Bools, down: int, across: int) -> Bools:
    """The pixels inside with one outside in so many rows and columns around them; the end of the picture is no edge."""
    around = (2 * down + 1, 2 * across + 1)
    edge: Bools = inside & (minimum_filter(inside.view(np.uint8), around, mode="nearest") == 0)
    return edge


def _cross(colours: Pixels, x: int, y: int) -> None:
    """A white cross with a dark rim, which the brightest place needs."""
    for length, width, colour in ((10, 3, 0), (9, 1, 255)):
        colours[max(0, y - width) : y + width + 1, max(0, x - length) : x + length + 1] = colour
        colours[max(0, y - length) : y + length + 1, max(0, x - width) : x + width + 1] = colour


def _bar(picture: Image, panel: Panel, place: tuple[int, int, int]) -> None:
    """What the colours of a heatmap stand for, at (left, top, height)."""
    from PIL import Image, ImageDraw

    assert panel.heat is not None
    left, top, height = place
    highest = float(np.nan_to_num(panel.heat, nan=0, posinf=0).max()) if panel.top is None else panel.top
    highest = highest if highest > 0 else 1.0
    ramp = _colours()[np.linspace(255, 0, height).round().astype(np.uint8)]
    strip = np.broadcast_to(((1 - _VISIBLE) * 255 + _VISIBLE * ramp)[:, None], (height, 12, 3))
    picture.paste(Image.fromarray(strip.astype(np.uint8)), (left, top))
    pen, font = ImageDraw.Draw(picture), _font(_LABEL)
    for value in _steps(highest):
        at = top + (1 - value / highest) * (height - 1)
        pen.line([(left + 12, at), (left + 15, at)], fill="black")
        _write(pen, (left + 18, min(max(at, top + 5), top + height - 5)), f"{value:.3g}", font, "lm")
    label = Image.new("L", (70, 15), 255)
    _write(ImageDraw.Draw(label), (35, 7), "relevance", font, "mm")
    turned = label.rotate(90, expand=True)
    picture.paste(turned, (left + _BAR - _GAP - 18, top + (height - turned.height) // 2))


def _steps(highest: float) -> Iterator[float]:
    """Round numbers from 0 up to the highest: four to nine of them."""
    power = 10.0 ** floor(log10(highest))
    step = next(each * power for each in (0.2, 0.5, 1, 2) if highest / (each * power) < 8)
    yield from (number * step for number in range(int(highest / step * (1 + 1e-9)) + 1))


@cache
def _font(size: int, *, mono: bool = False) -> FreeTypeFont | ImageFont:
    """DejaVu, which has most alphabets and comes with Matplotlib; Pillow's own, which has few, where it is not there.

    Matplotlib itself is not imported for it: that takes longer than ten pictures.
    """
    from PIL import ImageFont

    package = find_spec("matplotlib")
    name = "DejaVuSansMono.ttf" if mono else "DejaVuSans.ttf"
    try:
        assert package is not None
        assert package.origin is not None
        return ImageFont.truetype(str(Path(package.origin).parent / "mpl-data" / "fonts" / "ttf" / name), size)
    except (AssertionError, OSError):
        return ImageFont.load_default(size)


def _write(pen: ImageDraw, place: tuple[float, float], text: str, font: FreeTypeFont | ImageFont, anchor: str) -> None:
    if text:
        pen.text(place, text, fill="black", font=font, anchor=anchor)


def _wrapped(text: str, font: FreeTypeFont | ImageFont, width: float) -> list[str]:
    """The lines of the text, broken between words where they are wider than this, and within words that are wider."""
    found = []
    for line in _drawable(text).splitlines():
        while font.getlength(line) > width:
            fits = max(1, _fitting(line, font, width))
            cut = line.rfind(" ", 1, fits + 1)
            cut = cut if line[: max(cut, 0)].strip() else fits
            found.append(line[:cut])
            line = line[cut:].lstrip()
        found.append(line)
    return found


def _cut(text: str, font: FreeTypeFont | ImageFont, width: float) -> str:
    """The text in one line of at most this width."""
    line = " ".join(_drawable(text).split())
    if font.getlength(line) <= width:
        return line
    return line[: _fitting(line, font, width - font.getlength("…"))] + "…"


def _fitting(line: str, font: FreeTypeFont | ImageFont, width: float) -> int:
    """How many signs of the line are at most so wide."""
    return bisect_right(range(1, len(line)), width, key=lambda count: font.getlength(line[:count]))


def _drawable(text: str) -> str:
    """The text without halves of surrogate pairs, which no font takes."""
    return text.encode("utf-8", "replace").decode("utf-8")
