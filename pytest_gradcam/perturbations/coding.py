"""What storing and sending does to a picture."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from pytest_gradcam.perturbations.base import Kind, Pixels, Values, frozen, levels


@frozen
class jpeg(Kind):
    """Stored as JPEG at quality 95 ** (1 - severity): 95 just above 0, 10 at one half, 1 at 1."""

    def _apply(self, image: Pixels) -> Values:
        stored = io.BytesIO()
        Image.fromarray(image).save(stored, "jpeg", quality=round(95 ** (1 - self.severity)))
        return np.array(Image.open(stored))


@frozen
class downscale(Kind):
    """Sent at a lower resolution, at 1 a sixteenth per side (area average), and enlarged again (bilinear)."""

    def _apply(self, image: Pixels) -> Values:
        picture = Image.fromarray(image)
        width, height = (max(1, round(length * 16**-self.severity)) for length in picture.size)
        small = picture.resize((width, height), Image.Resampling.BOX)
        return np.array(small.resize(picture.size, Image.Resampling.BILINEAR))


@frozen
class banding(Kind):
    """Fewer levels per channel, evenly spaced: 256 * (1 / 128) ** severity of them, so at 1 only black and white."""

    def _apply(self, image: Pixels) -> Values:
        steps = round(256 * 128**-self.severity) - 1
        return np.take(levels(np.rint(np.arange(256) / 255 * steps) * 255 / steps), image)
