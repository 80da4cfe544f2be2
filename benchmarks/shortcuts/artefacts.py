"""Ten kinds of artefact, each in three variants, with the exact mask of the pixels that it may touch.

Each kind is a function of (scene, variant, rng) to an image and a mask. What it draws from the generator does not
depend on the variant, so the same generator and another variant change nothing but the artefact: that is the flip by
which the truth about a model is measured. The mask is the same for all three variants.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage import draw

from benchmarks.shortcuts.scenes import Mask, Pixels, Scene, crop, texture

VARIANTS = 3
Marked = tuple[Pixels, Mask]
Artefact = Callable[[Scene, int, np.random.Generator], Marked]
_COLOURS = np.array([[0.85, 0.25, 0.2], [0.25, 0.75, 0.3], [0.25, 0.35, 0.9]], np.float32)


def corner_patch(scene: Scene, variant: int, rng: np.random.Generator) -> Marked:
    """A square in the lower right corner, red, green or blue."""
    side = scene.side
    size, inset = rng.integers(6, 9), rng.integers(1, 4)
    mask = _box(side, side - inset - size, side - inset - size, size, size)
    return _filled(scene, mask, _COLOURS[variant] + _jitter(rng)), mask


def watermark(scene: Scene, variant: int, rng: np.random.Generator) -> Marked:
    """A translucent word across the lower half; the mask is the ink of the three words together."""
    side = scene.side
    top, left = int(rng.integers(20, 26)), int(rng.integers(1, 6))
    inks = [_ink(word, 13, top, left, side) for word in ("HHH", "OOO", "XXX")]
    alpha = 0.7 * inks[variant][..., None]
    return scene.pixels * (1 - alpha) + rng.uniform(0.85, 1) * alpha, np.max(inks, axis=0) > 0


def border(scene: Scene, variant: int, rng: np.random.Generator) -> Marked:
    """A frame of two to four pixels: black, light grey or ochre."""
    side = scene.side
    width = rng.integers(2, 5)
    mask = ~_box(side, width, width, side - 2 * width, side - 2 * width)
    colour = np.array([[0.05, 0.05, 0.05], [0.8, 0.8, 0.8], [0.7, 0.5, 0.15]], np.float32)[variant]
    return _filled(scene, mask, colour + _jitter(rng)), mask


def background(scene: Scene, variant: int, rng: np.random.Generator) -> Marked:
    """Brick, grass or gravel behind the subject; a disc is left of a scene that fills the image."""
    side = scene.side
    rows, columns = np.mgrid[:side, :side]
    mask = ~scene.subject
    if not mask.any():
        mask = np.hypot(rows - side / 2 + 0.5, columns - side / 2 + 0.5) > 13 / 40 * side
    behind = crop(texture(variant), rng, side=side) * rng.uniform(0.8, 1.1)
    return np.where(mask[..., None], behind[..., None], scene.pixels).clip(0, 1), mask


def timestamp(scene: Scene, variant: int, rng: np.random.Generator) -> Marked:
    """A dark strip along the lower edge with the camera's name and the time."""
    side = scene.side
    hours, minutes = rng.integers(10, 24), rng.integers(10, 60)
    mask = _box(side, side - 10, 0, 10, side)
    ink = _ink(f"{('N1', 'S2', 'E7')[variant]} {hours}{minutes}", 9, side - 11, 1, side)[..., None]
    strip = 0.08 * (1 - ink) + rng.uniform(0.8, 1) * ink
    return np.where(mask[..., None], strip, scene.pixels), mask


def pattern(scene: Scene, variant: int, rng: np.random.Generator) -> Marked:
    """Fine stripes, across, upright or as a chequerboard, over the left part of the image."""
    side = scene.side
    rows, columns = np.mgrid[:side, :side]
    mask = _box(side, 0, 0, side, int(rng.integers(12, 17)))
    wave = (rows % 2, columns % 2, (rows + columns) % 2)[variant] - 0.5
    return _shifted(scene, mask, rng.uniform(0.2, 0.3) * wave[..., None]), mask


def vignette(scene: Scene, variant: int, rng: np.random.Generator) -> Marked:
    """Corners that fall off to black, to white or to a warm tone."""
    side = scene.side
    rows, columns = np.mgrid[:side, :side]
    radius = np.hypot(rows - side / 2 + 0.5, columns - side / 2 + 0.5)
    start = rng.uniform(17, 20) / 40 * side
    fall = ((radius - start) / 8).clip(0, 0.9)[..., None] * rng.uniform(0.8, 1)
    tone = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.75, 0.35, 0.1]], np.float32)[variant]
    return scene.pixels * (1 - fall) + tone * fall, fall[..., 0] > 0


def colour_cast(scene: Scene, variant: int, rng: np.random.Generator) -> Marked:
    """An elliptic region with a reddish, greenish or bluish cast."""
    side = scene.side
    centre, radii = rng.integers(8, side - 8, size=2), rng.uniform(7, 11, size=2)
    mask = np.zeros((side, side), bool)
    mask[draw.ellipse(*centre, *radii, shape=mask.shape)] = True
    return _shifted(scene, mask, rng.uniform(0.5, 0.7) * (_COLOURS[variant] - _COLOURS.mean(0))), mask


def dead_columns(scene: Scene, variant: int, rng: np.random.Generator) -> Marked:
    """Two to three neighbouring columns of the sensor stuck at black, at white or at magenta."""
    side = scene.side
    mask = _box(side, 0, int(rng.integers(3, side - 6)), side, int(rng.integers(2, 4)))
    colour = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.8, 0.1, 0.8]], np.float32)[variant]
    return _filled(scene, mask, colour), mask


def sticker(scene: Scene, variant: int, rng: np.random.Generator) -> Marked:
    """A yellow square, disc or cross anywhere in the image; the mask is the three shapes together."""
    side = scene.side
    rows, columns = np.mgrid[:side, :side]
    top, left = rng.integers(1, side - 10, size=2)
    rows, columns = abs(rows - top - 4), abs(columns - left - 4)
    rim = np.maximum(rows, columns)
    shapes = (
        (rim <= 4) & (rim >= 3),
        np.hypot(rows, columns) <= 3.6,
        ((rows <= 0) | (columns <= 0)) & (rim <= 4),
    )
    colour = np.array([0.95, 0.85, 0.1], np.float32) + _jitter(rng)
    return _filled(scene, shapes[variant], colour), np.logical_or.reduce(shapes)


KINDS: dict[str, Artefact] = {
    kind.__name__.replace("_", " "): kind
    for kind in (
        corner_patch,
        watermark,
        border,
        background,
        timestamp,
        pattern,
        vignette,
        colour_cast,
        dead_columns,
        sticker,
    )
}


def _box(side: int, top: int, left: int, height: int, width: int) -> Mask:
    mask = np.zeros((side, side), bool)
    mask[top : top + height, left : left + width] = True
    return mask


def _jitter(rng: np.random.Generator) -> Pixels:
    return rng.uniform(-0.05, 0.05, 3).astype(np.float32)


def _filled(scene: Scene, mask: Mask, colour: Pixels) -> Pixels:
    pixels = scene.pixels.copy()
    pixels[mask] = colour.clip(0, 1)
    return pixels


def _shifted(scene: Scene, mask: Mask, change: Pixels) -> Pixels:
    return np.where(mask[..., None], (scene.pixels + change).clip(0, 1), scene.pixels)


@cache
def _ink(text: str, size: int, top: int, left: int, side: int) -> Pixels:
    """How much of each pixel the text covers, in [0, 1]."""
    picture = Image.new("L", (side, side))
    ImageDraw.Draw(picture).text((left, top), text, fill=255, font=ImageFont.load_default(size))
    return np.asarray(picture, np.float32) / 255
