"""Blur of motion and optics; sizes scale with the shorter side, and the image is mirrored beyond its edge."""

from __future__ import annotations

from math import ceil

import numpy as np

from pytest_gradcam.perturbations.base import Kind, Pixels, Values, frozen, side


@frozen
class gaussian_blur(Kind):
    """Blurred by a Gaussian, at 1 with a standard deviation of 5 % of the shorter side."""

    def _apply(self, image: Pixels) -> Values:
        sigma = max(0.05 * side(image) * self.severity, 1e-3)
        x, y = _window(3 * sigma)
        return _blurred(image, np.exp(-(x**2 + y**2) / (2 * sigma**2)))


@frozen
class motion_blur(Kind):
    """Smeared along a straight line, at 1 of 20 % of the shorter side; `angle` in degrees, counter-clockwise from x."""

    angle: float = 0

    def _apply(self, image: Pixels) -> Values:
        return _blurred(image, streak(0.2 * side(image) * self.severity, self.angle))


@frozen
class defocus_blur(Kind):
    """Out of focus: every point becomes a disc, at 1 with a radius of 5 % of the shorter side."""

    def _apply(self, image: Pixels) -> Values:
        radius = 0.05 * side(image) * self.severity
        x, y = _window(radius + 1)
        return _blurred(image, np.clip(radius + 0.5 - np.hypot(x, y), 0, 1))


def streak(length: float, angle: float, *, width: float = 1.0) -> Values:
    """A straight line through the centre of a square window, 1 on the line and soft at its rim.

    `length` and `width` in pixels, `angle` in degrees, counter-clockwise from x.
    """
    x, y = _window(length / 2 + width)
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    along, across = x * cos - y * sin, x * sin + y * cos
    distance = np.hypot(np.maximum(np.abs(along) - length / 2, 0), across)
    return np.asarray(np.clip(width / 2 + 0.5 - distance, 0, 1))


def _window(radius: float) -> tuple[Values, Values]:
    """x (1, 2r + 1) and y (2r + 1, 1) of a square window around 0 that holds the radius."""
    offsets = np.arange(-ceil(radius), ceil(radius) + 1, dtype=np.float32)
    return offsets[None], offsets[:, None]


def _blurred(image: Pixels, kernel: Values) -> Values:
    """The image convolved with the kernel after scaling that to the sum 1."""
    from scipy.signal import fftconvolve  # which takes half a second to import

    reach = kernel.shape[0] // 2
    beside = [(reach, reach), (reach, reach), (0, 0)]
    padded = np.pad(image.astype(np.float32), beside[: image.ndim], mode="symmetric")
    weights = (kernel / kernel.sum()).astype(np.float32)
    weights = weights.reshape(weights.shape + (1,) * (image.ndim - 2))
    return np.asarray(fftconvolve(padded, weights, mode="valid", axes=(0, 1)))
