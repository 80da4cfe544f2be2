"""Whether the scene continues across a mask's outline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import ndimage

from pytest_gradcam.checks.outline import continuity


@dataclass
class Masked:
    pixels: np.ndarray
    mask: np.ndarray
    padding: np.ndarray


def scenes(paint, grow=0, count=20):
    """Soft noise with a square that is painted, and a mask that is so much wider on every side."""
    rng, images = np.random.default_rng(0), []
    for _ in range(count):
        pixels = ndimage.gaussian_filter(rng.normal(size=(3, 40, 40)), (0, 4, 4)) * 10
        pixels[:, 10:20, 10:20] = paint(pixels[:, 10:20, 10:20], rng)
        mask = np.zeros((40, 40), bool)
        mask[10 - grow : 20 + grow, 10 - grow : 20 + grow] = True
        images.append(Masked(pixels, mask, np.zeros((40, 40), bool)))
    return images


def test_a_patch_hides_the_scene_and_a_cast_does_not():
    assert abs(continuity(scenes(lambda inside, rng: np.full_like(inside, rng.normal())))) < 0.2
    assert continuity(scenes(lambda inside, rng: inside + 0.2)) > 0.8


def test_a_mask_that_is_too_wide_shows_the_scene_around_the_patch():
    assert continuity(scenes(lambda inside, rng: np.full_like(inside, rng.normal()), grow=3)) > 0.8


def test_the_same_strip_on_every_image_varies_with_nothing():
    assert continuity(scenes(lambda inside, rng: np.zeros_like(inside))) == 0
    everywhere = scenes(lambda inside, rng: inside)
    for image in everywhere:
        image.mask[:] = True
    assert continuity(everywhere) == 0


def test_the_outline_along_the_padding_does_not_count():
    images = scenes(lambda inside, rng: inside)
    for image in images:
        image.padding[:, 20:] = True
        image.pixels[:, :, 20:] = 1e3
    assert continuity(images) > 0.8


def test_it_is_the_correlation_of_neighbours():
    pixels = np.arange(9.0).reshape(1, 3, 3) ** 2
    mask = np.zeros((3, 3), bool)
    mask[1, 1] = True
    image = Masked(pixels, mask, np.zeros((3, 3), bool))
    other = Masked(pixels[:, ::-1] + 3, mask, image.padding)
    inside = [16.0] * 4 + [19.0] * 4
    outside = [1.0, 49, 9, 25, 52, 4, 12, 28]
    assert continuity([image, other]) == pytest.approx(np.corrcoef(inside, outside)[0, 1])
