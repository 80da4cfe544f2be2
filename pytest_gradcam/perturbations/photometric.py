"""Changes of tone and colour, pixel by pixel: what exposure, gain and colour processing do."""

from __future__ import annotations

import numpy as np

from pytest_gradcam.perturbations.base import Kind, Pixels, Values, frozen, levels

# Grey, lit by an incandescent lamp (CIE illuminant A, 2856 K) and seen by a camera set to daylight (D65): linear sRGB
# (1.845, 0.826, 0.233), encoded with gamma 2.2.
_INCANDESCENT = np.array([1.321, 0.917, 0.516])


@frozen
class brightness(Kind):
    """Every level is raised by 255 times the severity: 1 is all white; with `down=True` lowered: 1 is all black."""

    down: bool = False

    def _apply(self, image: Pixels) -> Values:
        offset = 255 * self.severity
        return _toned(image, _LEVELS - offset if self.down else _LEVELS + offset)


@frozen
class contrast(Kind):
    """Distances from the image's mean level grow by the factor 4 ** severity.

    With `down=True` they shrink: 1 is flat at the mean.
    """

    down: bool = False

    def _apply(self, image: Pixels) -> Values:
        mean = image.mean()
        factor = 1 - self.severity if self.down else 4**self.severity
        return _toned(image, mean + factor * (_LEVELS - mean))


@frozen
class gamma(Kind):
    """Mid-tones are darkened by the exponent 3 ** severity on levels scaled to [0, 1].

    With `down=True` they are lightened by the exponent 3 ** -severity.
    """

    down: bool = False

    def _apply(self, image: Pixels) -> Values:
        exponent = 3.0 ** (-self.severity if self.down else self.severity)
        return _toned(image, 255 * (_LEVELS / 255) ** exponent)


@frozen
class saturation(Kind):
    """Colourfulness (the chroma in YIQ) grows by the factor 4 ** severity; with `down=True` 1 is grey.

    A greyscale image has no colour and does not change.
    """

    down: bool = False

    def _apply(self, image: Pixels) -> Values:
        return _chroma(image, 1 - self.severity if self.down else 4**self.severity, 0.0)


@frozen
class hue(Kind):
    """All hues turn by 150 degrees times the severity at equal luma (in YIQ): 1 is close to the complementary colours.

    Beyond that bright colours clip, and the image comes nearer to the original again.
    `down=True` turns the other way. A greyscale image has no colour and does not change.
    """

    down: bool = False

    def _apply(self, image: Pixels) -> Values:
        return _chroma(image, 1.0, np.deg2rad(150) * (-self.severity if self.down else self.severity))


@frozen
class white_balance(Kind):
    """A warm cast: 1 is incandescent light (2856 K) seen by a camera set to daylight; `down=True` is its inverse, blue.

    A greyscale image has no colour and does not change.
    """

    down: bool = False

    def _apply(self, image: Pixels) -> Values:
        if image.ndim == 2:
            return image
        return image * (_INCANDESCENT ** (-self.severity if self.down else self.severity)).astype(np.float32)


_LEVELS = np.arange(256.0)


def _toned(image: Pixels, curve: Values) -> Pixels:
    """The image with each level replaced by the curve's value for it."""
    return np.take(levels(curve), image)


def _chroma(image: Pixels, gain: float, angle: float) -> Values:
    """The image with its chroma scaled and turned, at equal luma."""
    from skimage.color import rgb2yiq, yiq2rgb

    if image.ndim == 2:
        return image
    cos, sin = gain * np.cos(angle), gain * np.sin(angle)
    turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    # All three steps are linear, so their product on the three unit colours is one matrix for every pixel.
    matrix = yiq2rgb(rgb2yiq(np.eye(3)) @ turn.T)
    return np.asarray(image @ matrix.astype(np.float32))
