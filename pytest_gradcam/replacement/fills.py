"""What masked pixels are replaced by: each fill differs from natural pixels in its own way.

An image is float (C, H, W) in the units of the model's input, a mask bool (H, W) in its pixels. A fill returns a new
image that differs only in the mask and in a soft edge of `edge(H, W)` pixels around it, 0 below 112 px. Pixels of
`padding` never change. The values stay within the range of the image, or of the image together with the colour or image
that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import scipy
from numpy.typing import NDArray

from pytest_gradcam.errors import HeatmapError

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

_EDGE = 112  # pixels of the shorter side per pixel of soft edge: two at 224, where hard edges are cues of their own
_BLUR = 12  # the blur's standard deviation is the shorter side over this: the content can't be recognised
_PULL = 1e-6  # weight of the mean colour in inpainting, for masked pixels that no pixel outside the mask borders on
_SHARED = 8  # masks in a cache: a set of images often shares its mask


def edge(height: int, width: int) -> int:
    """The width in pixels of the soft edge around a mask, at this size of the image."""
    return min(height, width) // _EDGE


def soft(mask: Bools, padding: Bools | None = None) -> Floats:
    """The weight (H, W) of the replacement: 1 in the mask, falling to 0 over the edge around it, 0 in the padding."""
    weight = _soft(mask.tobytes(), mask.shape)
    return weight if padding is None else np.where(padding, np.float32(0), weight)


@lru_cache(_SHARED)
def _soft(mask_bytes: bytes, shape: tuple[int, int]) -> Floats:
    """The weight without regard to padding, read-only: the distances are shared."""
    mask, width = np.frombuffer(mask_bytes, bool).reshape(shape), edge(*shape)
    weight = mask.astype(np.float32)
    if width and mask.any():
        distance = scipy.ndimage.distance_transform_edt(~mask)
        weight = np.clip(1 - distance / (width + 1), 0, 1).astype(np.float32)
    weight.flags.writeable = False
    return weight


def colour(image: Floats, mask: Bools, *, level: Floats, padding: Bools | None = None) -> Floats:
    """One colour, `level` (C,): the mean of a set of images is the most neutral, or `middle` for a single image."""
    return _blend(image, np.broadcast_to(level[:, None, None], image.shape), soft(mask, padding))


def middle(image: Floats) -> Floats:
    """The middle of each channel's range, (C,): grey, for an image that holds black and white."""
    return np.asarray((image.min(axis=(1, 2)) + image.max(axis=(1, 2))) / 2, np.float32)


def paste(image: Floats, mask: Bools, *, other: Floats, padding: Bools | None = None) -> Floats:
    """The same pixels of another image of the same shape."""
    if other.shape != image.shape:
        raise HeatmapError(f"pixels of an image {other.shape} cannot be pasted into one {image.shape}; pass one size")
    return _blend(image, other, soft(mask, padding))


def blur(image: Floats, mask: Bools, *, padding: Bools | None = None) -> Floats:
    """The masked pixels out of focus: their colours survive."""
    height, width = mask.shape
    sigma = max(1.0, min(height, width) / _BLUR)
    return _blend(image, scipy.ndimage.gaussian_filter(image, (0, sigma, sigma), mode="nearest"), soft(mask, padding))


def noise(image: Floats, mask: Bools, *, seed: int = 0, padding: Bools | None = None) -> Floats:
    """Normal noise with each channel's mean and standard deviation outside the mask, clipped to the image's range."""
    rest = image[:, ~mask if padding is None else ~(mask | padding)]
    rest = rest if rest.size else image.reshape(len(image), -1)
    mean, spread = rest.mean(axis=1)[:, None, None], rest.std(axis=1)[:, None, None]
    drawn = mean + spread * np.random.default_rng(seed).standard_normal(image.shape, np.float32)
    low, high = (end(image, axis=(1, 2), keepdims=True) for end in (np.min, np.max))
    return _blend(image, np.clip(drawn, low, high), soft(mask, padding))


def inpaint(image: Floats, mask: Bools, *, padding: Bools | None = None) -> Floats:
    """The smoothest continuation of the pixels around the mask: each pixel is the mean of its neighbours (Laplace).

    The masked pixels and their soft edge are not used. A cue that surrounds the mask is painted back.
    """
    # Why not scikit-image's inpaint_biharmonic: it overshoots into spots brighter and darker than anything around the mask,
    # it would fill from the padding, and it solves the system again for each image: 10 times as slow for a shared mask.
    weight = soft(mask, padding)
    hole, outside = weight > 0, np.zeros_like(mask) if padding is None else padding
    if not hole.any():
        return image.copy()
    solve = _solver(hole.tobytes(), outside.tobytes(), mask.shape)
    known = ~hole & ~outside
    base = image[:, known].mean(axis=1) if known.any() else middle(image)
    filled = solve(image.astype(np.float64), base.astype(np.float64))
    return _blend(
        image, np.clip(filled, image.min(axis=(1, 2), keepdims=True), image.max(axis=(1, 2), keepdims=True)), weight
    )


def _blend(image: Floats, replacement: Floats, weight: Floats) -> Floats:
    mixed = image + weight * (replacement - image)
    # Where nothing or everything is replaced the result is exact, which a weighted sum of floats is not.
    return np.where(weight == 0, image, np.where(weight == 1, replacement, mixed)).astype(np.float32)


@lru_cache(_SHARED)
def _solver(
    hole_bytes: bytes, padding_bytes: bytes, shape: tuple[int, int]
) -> Callable[[NDArray[np.float64], NDArray[np.float64]], Floats]:
    """Fills the hole of an image, given its mean colour; the factorisation is shared."""
    from scipy.sparse.linalg import splu

    hole = np.frombuffer(hole_bytes, bool).reshape(shape)
    padding = np.frombuffer(padding_bytes, bool).reshape(shape)
    number = np.full(shape, -1)
    number[hole] = np.arange(hole.sum())
    inner, outer, degree = [], [], np.zeros(int(hole.sum()))
    for here, there in _neighbours():
        for pixel, neighbour in ((here, there), (there, here)):
            touches = hole[pixel] & ~padding[neighbour]
            own = number[pixel][touches]
            np.add.at(degree, own, 1)
            within = hole[neighbour][touches]
            inner.append((own[within], number[neighbour][touches][within]))
            outer.append((own[~within], np.flatnonzero(_framed(touches & ~hole[neighbour], neighbour, shape))))
    rows, columns = (np.concatenate([pair[k] for pair in inner]) for k in (0, 1))
    size = len(degree)
    links = scipy.sparse.coo_matrix((-np.ones(len(rows)), (rows, columns)), (size, size))
    laplacian = links + scipy.sparse.diags(degree + _PULL)
    factors = splu(laplacian.tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}, diag_pivot_thresh=0)

    def solve(image: NDArray[np.float64], base: NDArray[np.float64]) -> Floats:
        flat, filled = image.reshape(len(image), -1), image.astype(np.float32)
        for channel, level in enumerate(base):
            right = np.full(size, _PULL * level)
            for own, source in outer:
                np.add.at(right, own, flat[channel, source])
            filled[channel][hole] = factors.solve(right)
        return filled

    return solve


def _neighbours() -> tuple[tuple[tuple[slice, slice], tuple[slice, slice]], ...]:
    """Slices of all pairs of neighbouring pixels, side by side and one above the other."""
    everything, first, last = slice(None), slice(None, -1), slice(1, None)
    return ((everything, first), (everything, last)), ((first, everything), (last, everything))


def _framed(part: Bools, place: tuple[slice, slice], shape: tuple[int, int]) -> Bools:
    """The part as a mask of the whole image."""
    whole = np.zeros(shape, bool)
    whole[place] = part
    return whole
