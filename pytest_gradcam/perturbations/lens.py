"""What the optics in front of the sensor add; sizes scale with the shorter side."""

from __future__ import annotations

import numpy as np

from pytest_gradcam.perturbations.base import Kind, Pixels, Values, centred, frozen, over


@frozen
class glare(Kind):
    """A lamp shines into the lens at (x, y), as shares of width and height: at 1 its core is white, its halo wide."""

    x: float = 0.75
    y: float = 0.25

    def _apply(self, image: Pixels) -> Values:
        x, y = centred(image)
        left, top = x[0, 0], y[0, 0]
        squared = (x - left * (1 - 2 * self.x)) ** 2 + (y - top * (1 - 2 * self.y)) ** 2
        light = np.exp(-squared / (2 * 0.06**2)) + 0.6 * np.exp(-squared / (2 * 0.25**2)) + 0.1
        return image + np.float32(self.severity) * over(np.minimum(light, 1), image) * (255 - image.astype(np.float32))


@frozen
class vignette(Kind):
    """Light falls off towards the corners with the square of the distance from the centre: at 1 they are black."""

    def _apply(self, image: Pixels) -> Values:
        x, y = centred(image)
        squared = x**2 + y**2
        return image * (1 - np.float32(self.severity) * over(squared / max(float(squared.max()), 1e-9), image))


@frozen
class lens_dirt(Kind):
    """Twelve blurred specks of dirt on the lens, 3 to 12 % of the shorter side in radius: at 1 they are opaque."""

    seed: int = 0

    def _apply(self, image: Pixels) -> Values:
        cover = over(self._specks(image), image)
        dirt = np.array([74, 66, 56], np.float32) if image.ndim == 3 else np.float32(67)
        return image + np.float32(self.severity) * cover * (dirt - image)

    def _specks(self, image: Pixels) -> Values:
        """How much of each pixel dirt covers: (H, W) in [0, 1]."""
        generator = np.random.default_rng(self.seed)
        x, y = centred(image)
        clear = np.ones(image.shape[:2], np.float32)
        for across, down, size in generator.random((12, 3), dtype=np.float32):
            radius = 0.03 + 0.09 * size**2
            squared = (x - x[0, 0] * (1 - 2 * across)) ** 2 + (y - y[0, 0] * (1 - 2 * down)) ** 2
            clear *= 1 - np.exp(-((squared / radius**2) ** 2))
        return 1 - clear
