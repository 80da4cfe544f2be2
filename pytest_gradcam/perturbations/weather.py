"""What weather and light do to a scene; layouts are drawn from a seed, and sizes scale with the shorter side."""

from __future__ import annotations

import numpy as np
from PIL import Image

from pytest_gradcam.perturbations.base import Kind, Pixels, Values, centred, frozen, over, side
from pytest_gradcam.perturbations.blur import streak


@frozen
class fog(Kind):
    """Drifting fog of a light grey (level 210) covers the scene; at 1 it hides 65 to 100 % of each pixel's light."""

    seed: int = 0

    def _apply(self, image: Pixels) -> Values:
        opacity = self.severity * over(0.65 + 0.35 * _clouds(image, self.seed), image)
        return np.asarray(image + opacity * (210 - image.astype(np.float32)))


@frozen
class rain(Kind):
    """Bright streaks of falling rain under a grey veil: at 1 about a third of the picture is streaked.

    `angle` is the direction of fall in degrees, counter-clockwise from x. A higher severity keeps the drops of a lower
    one and adds to them.
    """

    angle: float = 75
    seed: int = 0

    def _apply(self, image: Pixels) -> Values:
        streaks = over(self._streaks(image), image)
        veiled = image + np.float32(0.3 * self.severity) * (150 - image.astype(np.float32))
        return np.asarray(veiled + 0.6 * streaks * (235 - veiled))

    def _streaks(self, image: Pixels) -> Values:
        """How much of each pixel a streak covers: (H, W) in [0, 1]."""
        from scipy.signal import fftconvolve  # which takes half a second to import

        kernel = streak(0.1 * side(image), self.angle, width=max(1.0, side(image) / 250))
        drops = np.random.default_rng(self.seed).random(image.shape[:2], dtype=np.float32)
        hit = (drops < 0.4 * self.severity / kernel.sum()).astype(np.float32)
        return np.asarray(np.clip(fftconvolve(hit, kernel.astype(np.float32), mode="same"), 0, 1))


@frozen
class shadow(Kind):
    """The cast shadow of something long lies across the picture, soft at its rim: at 1 it takes 90 % of the light."""

    seed: int = 0

    def _apply(self, image: Pixels) -> Values:
        return image * (1 - np.float32(0.9 * self.severity) * over(self._shade(image), image))

    def _shade(self, image: Pixels) -> Values:
        """1 in the umbra, 0 in full light: (H, W)."""
        generator = np.random.default_rng(self.seed)
        angle, offset = generator.uniform(0, np.pi), generator.uniform(-0.25, 0.25)
        x, y = centred(image)
        across = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle)) - np.float32(offset)
        return np.asarray(np.clip((0.2 - np.abs(across)) / 0.04 + 0.5, 0, 1))


def _clouds(image: Pixels, seed: int) -> Values:
    """A smooth random field (H, W) in [0, 1]."""
    coarse = np.random.default_rng(seed).random((5, 6), dtype=np.float32)
    height, width = image.shape[:2]
    field = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    return np.asarray(np.clip(field, 0, 1))
