"""Images before any artefact, cut from real data that scikit-learn and scikit-image bring with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from skimage import data, transform
from sklearn import datasets

SIDE = 40  # pixels of an image, unless it is said otherwise
Pixels = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Scene:
    """`pixels` (side, side, 3) in [0, 1], and `subject`, the pixels that the label is about."""

    pixels: Pixels
    subject: Mask

    @property
    def side(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True)
class Source:
    """A data set of `classes` classes; `draw(label, part, rng, side)` makes a scene of the part 0 (training) or 1 (test)."""

    name: str
    classes: int
    draw: Callable[[int, int, np.random.Generator, int], Scene]


def digits(label: int, part: int, rng: np.random.Generator, side: int = SIDE) -> Scene:
    """A handwritten 1, 4 or 8 of scikit-learn, 24 pixels high, anywhere on a dull ground."""
    return _digit((1, 4, 8)[label], part, rng, side)


def _digit(digit: int, part: int, rng: np.random.Generator, side: int) -> Scene:
    glyphs = _glyphs(digit)[part::2]
    glyph = glyphs[rng.integers(len(glyphs))]
    size = len(glyph)
    top, left = rng.integers(4, side - size - 3, size=2)
    pixels, alpha = _ground(rng, side), np.zeros((side, side), np.float32)
    alpha[top : top + size, left : left + size] = glyph
    colour = rng.uniform(0.7, 1, 3).astype(np.float32)
    return Scene(pixels * (1 - alpha[..., None]) + colour * alpha[..., None], alpha > 0.1)


def faces(label: int, part: int, rng: np.random.Generator, side: int = SIDE) -> Scene:
    """A face, or what is none, from scikit-image's lfw_subset, on a dull ground."""
    crops = _crops()[100 * (1 - label) :][:100][part::2]
    crop = crops[rng.integers(len(crops))]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    size = len(crop)
    top, left = rng.integers(2, side - size - 1, size=2)
    pixels, subject = _ground(rng, side), np.zeros((side, side), bool)
    subject[top : top + size, left : left + size] = True
    pixels[subject] = np.repeat((crop * rng.uniform(0.8, 1.1)).reshape(-1, 1), 3, axis=1)
    return Scene(pixels.clip(0, 1), subject)


def textures(label: int, part: int, rng: np.random.Generator, side: int = SIDE) -> Scene:
    """Brick, grass or gravel, filling the image."""
    return _whole(texture(label)[..., None].repeat(3, axis=2), part, rng, side)


def photographs(label: int, part: int, rng: np.random.Generator, side: int = SIDE) -> Scene:
    """A crop of the coffee cup, the cat or the flower, in weak colours, filling the image."""
    return _whole(_photographs()[label], part, rng, side)


def five_digits(label: int, part: int, rng: np.random.Generator, side: int = SIDE) -> Scene:
    """A handwritten 0, 1, 4, 7 or 8, as `digits`."""
    return _digit((0, 1, 4, 7, 8)[label], part, rng, side)


def five_photographs(label: int, part: int, rng: np.random.Generator, side: int = SIDE) -> Scene:
    """As `photographs`, or of the temple or the rocket."""
    return _whole(_photographs()[label], part, rng, side)


SOURCES = (
    Source("digits", 3, digits),
    Source("faces", 2, faces),
    Source("textures", 3, textures),
    Source("photographs", 3, photographs),
)
FIVE = (Source("five digits", 5, five_digits), Source("five photographs", 5, five_photographs))


@cache
def texture(which: int) -> Pixels:
    """Brick, grass or gravel at half their size, (256, 256), all with the same mean and spread."""
    image = transform.rescale((data.brick, data.grass, data.gravel)[which]() / 255, 0.5, anti_aliasing=True)
    return (0.45 + 0.17 * (image - image.mean()) / image.std()).clip(0, 1).astype(np.float32)


def crop(image: Pixels, rng: np.random.Generator, part: int | None = None, side: int = SIDE) -> Pixels:
    """A square of the image; of its left half for part 0, of its right half for part 1."""
    height, width = image.shape[:2]
    low, high = {None: (0, width), 0: (0, width // 2), 1: (width // 2, width)}[part]
    top, left = rng.integers(0, height - side + 1), rng.integers(low, high - side + 1)
    return image[top : top + side, left : left + side]


def _whole(image: Pixels, part: int, rng: np.random.Generator, side: int) -> Scene:
    pixels = crop(image, rng, part, side)
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    return Scene((pixels * rng.uniform(0.85, 1.1)).clip(0, 1).astype(np.float32), np.ones((side, side), bool))


def _ground(rng: np.random.Generator, side: int = SIDE) -> Pixels:
    """A dull colour with soft blotches."""
    smooth = _smooth(side)
    blotches = smooth @ rng.normal(0, 0.06, (3, 5, 5)) @ smooth.T
    return (rng.uniform(0.2, 0.45, 3) + blotches.transpose(1, 2, 0)).clip(0, 1).astype(np.float32)


@cache
def _smooth(side: int) -> NDArray[np.float64]:
    """From 5 values to as many as a side has."""
    return np.asarray(transform.resize(np.eye(5), (side, 5), order=1))


@cache
def _glyphs(digit: int) -> Pixels:
    bunch = datasets.load_digits()
    images = bunch.images[bunch.target == digit] / 16
    return np.stack([transform.resize(image, (24, 24), order=1) for image in images]).astype(np.float32)


@cache
def _crops() -> Pixels:
    return data.lfw_subset().astype(np.float32)


@cache
def _photographs() -> tuple[Pixels, ...]:
    flower, temple = (datasets.load_sample_image(name) for name in ("flower.jpg", "china.jpg"))
    small = [
        transform.resize(image / 255, (120, 180), anti_aliasing=True)
        for image in (data.coffee(), data.chelsea(), flower, temple, data.rocket())
    ]
    # In full colour they are told apart by it, and no model would care about anything else.
    return tuple((0.3 * image + 0.7 * image.mean(axis=2, keepdims=True)).astype(np.float32) for image in small)
