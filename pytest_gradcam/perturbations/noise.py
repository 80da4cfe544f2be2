"""Noise of sensors and transmission, reproducible from a seed."""

from __future__ import annotations

import numpy as np

from pytest_gradcam.perturbations.base import Kind, Pixels, Values, frozen


@frozen
class gaussian_noise(Kind):
    """Read noise: independent normal noise on every value, at 1 with a standard deviation of 0.4 of full scale."""

    seed: int = 0

    def _apply(self, image: Pixels) -> Values:
        noise = np.random.default_rng(self.seed).standard_normal(image.shape, dtype=np.float32)
        return image + np.float32(0.4 * 255 * self.severity) * noise


@frozen
class shot_noise(Kind):
    """Photon noise: a white pixel collects 4 / severity ** 2 photons, so its noise is half the severity times white."""

    seed: int = 0

    def _apply(self, image: Pixels) -> Values:
        # Below this the noise is far under one level, and the counts would leave the range of the generator.
        photons = 4 / max(self.severity, 1e-4) ** 2
        counts = np.random.default_rng(self.seed).poisson(image * (photons / 255))
        return counts * (255 / photons)


@frozen
class salt_and_pepper(Kind):
    """Dead and hot pixels: a share of the pixels, at 1 half of them, is black or white with equal chance.

    A higher severity keeps the pixels of a lower one and adds to them.
    """

    seed: int = 0

    def _apply(self, image: Pixels) -> Values:
        draw = np.random.default_rng(self.seed).random(image.shape[:2], dtype=np.float32)
        changed = image.copy()
        changed[draw < self.severity / 4] = 0
        changed[draw >= 1 - self.severity / 4] = 255
        return changed
