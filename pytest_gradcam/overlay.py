"""The pictures of checks: views of an image, heatmaps on them, the outline of the mask, the figures.

They are painted with Pillow: one takes a tenth of what it takes as a Matplotlib figure, and a run may fail in many places.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from itertools import accumulate, repeat
from math import ceil, floor, log10
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam.outlines import edge, outline, seen

if TYPE_CHECKING:
    from PIL.Image import Image, Resampling
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

    Font = FreeTypeFont | ImageFont

Pixels = NDArray[np.uint8]
Bools = NDArray[np.bool_]
#: The pixels of a mask's outline, by the mask's id and its size in the picture: several panels may show the same mask.
Outlines = dict[tuple[int, tuple[int, int]], NDArray[np.intp]]

_ACROSS = 3  # at most this many panels in a row; two and four make rows of two
_SIDE, _BAR, _GAP = 300, 84, 14  # pixels: the width of a panel, of a colour bar with its labels, and between things
_OUTLINE = (0, 229, 255)  # cyan stands out on inferno, which has none
_DETAIL = 0.1  # of the view: ticks would cover a smaller mask, whose outline is clear anyway
_VISIBLE = 0.6  # of the heatmap on the view
_SHORT = 40  # pixels: a view of fewer rows or columns is stretched to these, which is said under the picture
_BAR_TALL = 140  # pixels: what the labels of a colour bar need
_TITLE, _CAPTION, _LINE, _LABEL = 15, 13, 12, 11  # pixels, sizes of text
_BESIDE = 2  # pixels that a sign may reach into those beside it
#: What systems have for the scripts that DejaVu lacks, Chinese, Japanese and Korean; Pillow looks where they keep fonts.
_OTHER_FONTS = (
    *("NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "NotoSansCJKjp-Regular.otf", "SourceHanSans.ttc"),
    *("wqy-microhei.ttc", "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf", "DroidSansFallback.ttf", "unifont.ttf"),
    *("ipag.ttf", "TakaoGothic.ttf", "NanumGothic.ttf", "uming.ttc"),
    *("msyh.ttc", "meiryo.ttc", "malgun.ttf", "msgothic.ttc", "simsun.ttc"),  # Windows
    *("PingFang.ttc", "Hiragino Sans GB.ttc", "AppleSDGothicNeo.ttc", "Arial Unicode.ttf"),  # macOS
)
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
    room = (_SIDE, tall - caption - _GAP)
    head = list(_wrapped(title, _TITLE, wide - 2 * _GAP))
    notes = [*lines, *_stretched(panels, room)]
    foot = [part for line in notes for part in _wrapped(line, _LINE, wide - 2 * _GAP, mono=True)]
    top = _GAP + len(head) * (_TITLE + 4) + (_GAP if head else 0)
    bottom = top + -(-len(panels) // across) * tall
    picture = Image.new("RGB", (wide, bottom + len(foot) * (_LINE + 5) + _GAP), "white")
    pen = ImageDraw.Draw(picture)
    for number, (text, font) in enumerate(head):
        _write(pen, (wide / 2, _GAP + number * (_TITLE + 4)), text, font, "ma")
    for number, (text, font) in enumerate(foot):
        _write(pen, (_GAP, bottom + number * (_LINE + 5)), text, font, "la")
    left = (wide - sum(columns) - (across - 1) * _GAP) // 2
    outlines: Outlines = {}
    for number, panel in enumerate(panels):
        row, column = divmod(number, across)
        corner = (left + sum(columns[:column]) + column * _GAP, top + row * tall)
        text, font = _cut(panel.caption, _CAPTION, columns[column])
        _write(pen, (corner[0] + _SIDE / 2, corner[1]), text, font, "ma")
        _paint(picture, panel, (corner[0], corner[1] + caption), room, outlines)
    return picture


def inferno(heat: NDArray[np.float32], top: float | None = None) -> Pixels:
    """The colours (H, W, 3) of a heatmap (H, W), from 0 to `top`, by default the maximum."""
    values = np.nan_to_num(heat, nan=0, posinf=0, neginf=0)
    highest = float(values.max()) if top is None else top
    levels = (values * (255 / (highest if highest > 0 else 1))).clip(0, 255).astype(np.uint8)
    return _colours().take(levels, axis=0)


@cache
def _colours() -> Pixels:
    """The colour (256, 3) of each level."""
    known = np.frombuffer(_INFERNO, np.uint8).reshape(-1, 3)
    at, steps = np.linspace(0, 1, len(known)), np.linspace(0, 1, 256)
    return np.stack([np.interp(steps, at, channel) for channel in known.T], axis=1).round().astype(np.uint8)


def _size(view: Pixels, room: tuple[int, int]) -> tuple[int, int]:
    """The width and height of a view in the picture: in its own proportions, unless one would be too short to be seen."""
    height, width = view.shape[:2]
    scale = min(room[0] / width, room[1] / height)
    return max(_SHORT, round(width * scale)), max(_SHORT, round(height * scale))


def _stretched(panels: Sequence[Panel], room: tuple[int, int]) -> Iterator[str]:
    """A line about the first view that is not painted in its own proportions."""
    for panel in panels:
        (height, width), (w, h) = panel.view.shape[:2], _size(panel.view, room)
        times = (h * width) / (w * height)
        if not 0.7 < times < 1.5:
            side, factor = ("height", times) if times > 1 else ("width", 1 / times)
            yield f"shown      stretched {factor:.0f} times in {side}: the view has {width} x {height} px"
            return


def _paint(picture: Image, panel: Panel, corner: tuple[int, int], room: tuple[int, int], outlines: Outlines) -> None:
    """The panel in the middle of the room (width, height) that begins at this corner, and a colour bar beside its heatmap."""
    from PIL import Image

    (height, width), (left, top), (across, down) = panel.view.shape[:2], corner, room
    size = w, h = _size(panel.view, room)
    x, y = left + (across - w) // 2, top + (down - h) // 2
    # Pixels that are large enough to be seen as such are shown as they are.
    smooth = Image.Resampling.NEAREST if w >= 3 * width or h >= 3 * height else Image.Resampling.BILINEAR
    colours = np.array(Image.fromarray(_on_view(panel)).resize(size, smooth))
    if panel.mask is not None and panel.mask.any() and not panel.mask.all():
        if (key := (id(panel.mask), size)) not in outlines:
            inside, pointers = seen(_resized(panel.mask.astype(np.float32), size, smooth))
            outlines[key] = np.flatnonzero(outline(inside, ticks=panel.mask.mean() >= _DETAIL) | pointers)
        colours.reshape(-1, 3)[outlines[key]] = _OUTLINE
    if panel.heat is not None and panel.level is not None and panel.heat.min() < panel.level <= panel.heat.max():
        colours[edge(_resized(panel.heat, size, smooth) >= panel.level, 1, 1)] = 255
    if panel.peak is not None:
        _cross(colours, round((panel.peak[0] + 0.5) * w / width), round((panel.peak[1] + 0.5) * h / height))
    picture.paste(Image.fromarray(colours), (x, y))
    if panel.heat is not None:
        tall = max(h, min(_BAR_TALL, down))
        _bar(picture, panel, (x + w + _GAP, top + (down - tall) // 2, tall))


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
    label = Image.new("L", (70, 15), "white")
    _write(ImageDraw.Draw(label), (35, 7), "relevance", font, "mm")
    turned = label.rotate(90, expand=True)
    picture.paste(turned, (left + _BAR - _GAP - 18, top + (height - turned.height) // 2))


def _steps(highest: float) -> Iterator[float]:
    """Round numbers from 0 up to the highest: four to nine of them."""
    power = 10.0 ** floor(log10(highest))
    step = next(each * power for each in (0.2, 0.5, 1, 2) if highest / (each * power) < 8)
    yield from (number * step for number in range(int(highest / step * (1 + 1e-9)) + 1))


@cache
def _font(size: int, *, mono: bool = False) -> Font:
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


@cache
def _other_fonts(size: int) -> list[Font]:
    """Those of the fonts for other scripts that this system has."""
    from PIL import ImageFont

    found: list[Font] = []
    for name in _OTHER_FONTS:
        with suppress(OSError):
            found.append(ImageFont.truetype(name, size))
    return found


def _lettered(text: str, size: int, *, mono: bool = False) -> tuple[str, Font]:
    """The text with a font that can draw it; signs that no font here has are escaped, as Python writes them: \\u732b."""
    # Halves of surrogate pairs are in no font, and Pillow refuses them.
    text, own = text.encode("utf-8", "replace").decode("utf-8"), _font(size, mono=mono)
    if text.isascii() or all(_has(own, sign) for sign in text):
        return text, own
    for font in _other_fonts(size):
        if all(_has(font, sign) for sign in text):
            return text, font
    signs = (sign if _has(own, sign) else sign.encode("unicode_escape").decode() for sign in text)
    return "".join(signs), own


@cache
def _has(font: Font, sign: str) -> bool:
    """Whether the font has a glyph of its own for the sign: not the one that stands for all it lacks."""
    return sign.isspace() or _glyph(font, sign) != _glyph(font, "\uffff")


def _glyph(font: Font, sign: str) -> tuple[tuple[int, int], bytes]:
    drawn = font.getmask(sign)
    return drawn.size, bytes(drawn)


def _write(pen: ImageDraw, place: tuple[float, float], text: str, font: Font, anchor: str) -> None:
    from PIL import ImageFont

    if not text:
        return
    # Other signs than those of ASCII may change with the ones beside them.
    if not (text.isascii() and text.isprintable() and isinstance(font, ImageFont.FreeTypeFont)):
        pen.text(place, text, fill="black", font=font, anchor=anchor)
        return
    line, length = _line(font, text)
    x = place[0] - (length / 2 if anchor[0] == "m" else 0)
    y = place[1] - (sum(font.getmetrics()) / 2 if anchor[1] == "m" else 0)
    pen.bitmap((floor(x + 0.5) - _BESIDE, floor(y + 0.5)), line, fill="black")


@lru_cache(100)  # pictures of one run have many lines in common
def _line(font: FreeTypeFont, text: str) -> tuple[Image, float]:
    """A line of text, white on black, and its length; from signs that are drawn once: FreeType takes a millisecond a line."""
    from PIL import Image

    signs = [_sign(font, sign) for sign in text]
    starts = [0, *accumulate(map(_advance, repeat(font), text, text[1:]))]
    line = np.zeros((len(signs[0]), ceil(starts[-1]) + max(sign.shape[1] for sign in signs)), np.uint8)
    for start, sign in zip(starts, signs, strict=True):
        at = floor(start + 0.5)
        part = line[:, at : at + sign.shape[1]]
        np.maximum(part, sign, out=part)
    return Image.fromarray(line), starts[-1] + font.getlength(text[-1])


@cache
def _sign(font: FreeTypeFont, sign: str) -> Pixels:
    """The sign, white on black, with room for what reaches beyond its own columns."""
    from PIL import Image, ImageDraw

    drawn = Image.new("L", (ceil(font.getlength(sign)) + 2 * _BESIDE, sum(font.getmetrics()) + 1))
    ImageDraw.Draw(drawn).text((_BESIDE, 0), sign, fill=255, font=font)
    return np.asarray(drawn)


@cache
def _advance(font: FreeTypeFont, sign: str, following: str) -> float:
    """How many pixels behind the first sign the second one begins."""
    return font.getlength(sign + following) - font.getlength(following)


def _wrapped(text: str, size: int, width: float, *, mono: bool = False) -> Iterator[tuple[str, Font]]:
    """The lines of the text and their fonts, broken between words where they are wider than this, and within wider words."""
    for whole in text.splitlines():
        line, font = _lettered(whole, size, mono=mono)
        while font.getlength(line) > width:
            fits = max(1, _fitting(line, font, width))
            cut = line.rfind(" ", 1, fits + 1)
            cut = cut if line[: max(cut, 0)].strip() else fits
            yield line[:cut], font
            line = line[cut:].lstrip()
        yield line, font


def _cut(text: str, size: int, width: float) -> tuple[str, Font]:
    """The text in one line of at most this width, and its font."""
    line, font = _lettered(" ".join(text.split()), size)
    if font.getlength(line) <= width:
        return line, font
    return line[: _fitting(line, font, width - font.getlength("…"))] + "…", font


def _fitting(line: str, font: Font, width: float) -> int:
    """How many signs of the line are at most so wide."""
    return bisect_right(range(1, len(line)), width, key=lambda count: font.getlength(line[:count]))
