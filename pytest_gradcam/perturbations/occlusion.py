"""What hides pixels: an object in front, a dead part of the sensor, an imprint."""

from __future__ import annotations

from math import ceil

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pytest_gradcam.perturbations.base import Kind, Pixels, Values, frozen, over, side


@frozen
class occlude(Kind):
    """A mid-grey patch (level 128) of `severity` times the width and the height: at 1 it hides the whole image.

    `x` and `y` place it inside the image: 0 is left and top, 1 right and bottom.
    """

    x: float = 0.5
    y: float = 0.5

    def _apply(self, image: Pixels) -> Values:
        changed = image.copy()
        changed[_slot(image.shape[0], self.severity, self.y), _slot(image.shape[1], self.severity, self.x)] = 128
        return changed


@frozen
class dead_rows(Kind):
    """Rows of the sensor that read black: at least one, at 1 half of them.

    A higher severity keeps the rows of a lower one and adds to them.
    """

    seed: int = 0

    def _apply(self, image: Pixels) -> Values:
        order = np.random.default_rng(self.seed).permutation(image.shape[0])
        changed = image.copy()
        changed[order[: ceil(self.severity * image.shape[0] / 2)]] = 0
        return changed


@frozen
class timestamp(Kind):
    """White, black-rimmed characters of 8 % of the shorter side are burnt in: at 1 they are opaque.

    `x` and `y` place the text inside the image: 0 is left and top, 1 right and bottom.
    """

    text: str = "2021-04-12 09:41:07"
    x: float = 0.0
    y: float = 1.0

    def _apply(self, image: Pixels) -> Values:
        size = max(6.0, 0.08 * side(image))
        letters, rim = self._ink(image, size, 0), self._ink(image, size, ceil(size / 16))
        cover = np.maximum(letters, rim)
        return image + np.float32(self.severity) * (over(255 * letters, image) - over(cover, image) * image)

    def _ink(self, image: Pixels, size: float, stroke: int) -> Values:
        """How much of each pixel the characters cover: (H, W) in [0, 1]."""
        font = ImageFont.load_default(size)
        margin = ceil(0.02 * side(image))
        left, top, right, bottom = font.getbbox(self.text)
        height, width = image.shape[:2]
        x = margin + self.x * (width - 2 * margin - (right - left)) - left
        y = margin + self.y * (height - 2 * margin - (bottom - top)) - top
        canvas = Image.new("L", (width, height))
        ImageDraw.Draw(canvas).text((x, y), self.text, fill=255, font=font, stroke_width=stroke)
        return np.asarray(canvas, np.float32) / 255


def _slot(length: int, share: float, place: float) -> slice:
    """`share` of the length; its two ends move apart as the share grows, so that patches are nested."""
    start = place * (1 - share) * length
    return slice(round(start), round(start + share * length))
