"""Changes of the view; a mask moves with its image.

What comes in from outside is the mirrored image: black or smeared edges would be pixels that no camera gives, and a
model that looks at them would be blamed for it. A moved mask is False there.
"""

from __future__ import annotations

import numpy as np

from pytest_gradcam.perturbations.base import Kind, Mask, Pixels, Values, frozen


class _Moving(Kind):
    """A change of the view."""

    @property
    def moves(self) -> bool:
        return self.severity > 0


class _Projective(_Moving):
    """A projective change of coordinates, sampled bilinearly."""

    def move(self, mask: Mask) -> Mask:
        if self.severity == 0:
            return mask
        return np.asarray(_sampled(mask, self._inverse(mask.shape), "constant") > 0.5)

    def origin(self, places: Values, shape: tuple[int, int]) -> Values:
        seen = np.column_stack([places, np.ones(len(places))]) @ self._inverse(shape).T
        return np.asarray(seen[:, :2] / seen[:, 2:])

    def _apply(self, image: Pixels) -> Values:
        return _sampled(image, self._inverse(image.shape), "symmetric")

    def _inverse(self, shape: tuple[int, ...]) -> Values:
        """From a place in the changed image to the one it shows: 3 x 3, on pixels (x, y, 1)."""
        height, width = shape[:2]
        centre = np.array([[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1]])
        return np.asarray(centre @ self._about_centre(width, height) @ np.linalg.inv(centre))

    def _about_centre(self, width: int, height: int) -> Values:
        """The same 3 x 3 matrix, on pixels measured from the image's centre."""
        raise NotImplementedError


@frozen
class shift(_Projective):
    """Moved towards `angle` (degrees, counter-clockwise from x), at 1 by a quarter of the shorter side."""

    angle: float = 0

    def _about_centre(self, width: int, height: int) -> Values:
        distance = 0.25 * min(width, height) * self.severity
        cos, sin = np.cos(np.deg2rad(self.angle)), np.sin(np.deg2rad(self.angle))
        return np.array([[1, 0, -distance * cos], [0, 1, distance * sin], [0, 0, 1]])


@frozen
class rotate(_Projective):
    """Turned about the centre counter-clockwise, or with `clockwise=True` clockwise, at 1 by 45 degrees."""

    clockwise: bool = False

    def _about_centre(self, width: int, height: int) -> Values:
        angle = np.deg2rad(-45 if self.clockwise else 45) * self.severity
        cos, sin = np.cos(angle), np.sin(angle)
        return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


@frozen
class zoom(_Projective):
    """Enlarged about the centre by the factor 2 ** severity; with `out=True` made smaller by it."""

    out: bool = False

    def _about_centre(self, width: int, height: int) -> Values:
        factor = 2.0 ** (self.severity if self.out else -self.severity)
        return np.diag([factor, factor, 1])


@frozen
class perspective(_Projective):
    """Seen at a slant: at 1 lines along the edge towards `angle` are 1.3 times as long, along the opposite one 0.7.

    `angle` in degrees, counter-clockwise from x.
    """

    angle: float = 0

    def _about_centre(self, width: int, height: int) -> Values:
        slant = 0.6 * self.severity * np.array([np.cos(np.deg2rad(self.angle)), -np.sin(np.deg2rad(self.angle))])
        return np.array([[1, 0, 0], [0, 1, 0], [slant[0] / width, slant[1] / height, 1]])


@frozen
class flip(_Moving):
    """Mirrored left to right inside a central band of `severity` times the width: 1 mirrors the whole image.

    A mirrored image has no natural degrees; the band gives the search something to shrink. `flip(1)` is the plain flip.
    """

    def move(self, mask: Mask) -> Mask:
        return self._mirrored(mask)

    def origin(self, places: Values, shape: tuple[int, int]) -> Values:
        width, edge = shape[1], self._edge(shape[1])
        x, y = places.T
        mirrored = (x >= edge - 0.5) & (x <= width - edge - 0.5)
        return np.column_stack([np.where(mirrored, width - 1 - x, x), y])

    def _apply(self, image: Pixels) -> Values:
        return self._mirrored(image)

    def _mirrored(self, array: Values) -> Values:
        width, edge = array.shape[1], self._edge(array.shape[1])
        changed = array.copy()
        changed[:, edge : width - edge] = array[:, edge : width - edge][:, ::-1]
        return changed

    def _edge(self, width: int) -> int:
        """How many columns on either side stay where they are."""
        return round(width * (1 - self.severity) / 2)


def _sampled(array: Values, inverse: Values, beyond: str) -> Values:
    """The array at the places that `inverse` gives for each pixel, bilinearly, in the array's own range."""
    from skimage.transform import warp  # which takes a tenth of a second to import

    values = array.astype(np.float32)
    return np.asarray(warp(values, inverse, order=1, mode=beyond, preserve_range=True))
