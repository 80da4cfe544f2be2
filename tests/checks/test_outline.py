"""Whether the scene continues across a mask's outline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import ndimage

from pytest_gradcam.checks import outline
from pytest_gradcam.checks.outline import Fault, continuity, fault


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


def patch(inside, rng):
    """One colour of its own, with a little noise."""
    return rng.normal(size=(3, 1, 1)) * 2 + rng.normal(size=inside.shape) * 0.05


def moved(images, top, bottom, left, right):
    """The same images with another mask."""
    for image in images:
        image.mask[:] = False
        image.mask[top:bottom, left:right] = True
    return images


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ((10, 20, 10, 20), None),
        ((7, 23, 7, 23), Fault("too wide", 3, (-3, -3, -3, -3))),
        ((12, 18, 12, 18), Fault("too small", 2, (2, 2, 2, 2))),
        ((10, 17, 10, 20), Fault("too small", 3, (0, 0, 3, 0))),
        ((13, 23, 13, 23), Fault("shifted", 3, (3, -3, -3, 3))),
        ((10, 20, 8, 18), Fault("shifted", 2, (0, 2, 0, -2))),
        ((10, 15, 10, 20), Fault("open")),  # half of it: the edge lies farther away than is looked
    ],
)
def test_where_the_edge_lies_tells_what_is_wrong_with_a_mask(place, expected):
    images = moved(scenes(patch), *place)
    found = fault(images)
    assert found == expected
    if found is not None and any(found.sides):
        exact = scenes(patch)[0].mask
        np.testing.assert_array_equal(found.mended(images[0].mask), exact)


def test_a_mask_is_mended_only_where_it_is_known_how():
    mask = scenes(patch)[0].mask
    assert Fault("open").mended(mask) is None
    assert Fault("too wide", 5, (-5, 0, -5, 0)).mended(mask) is None  # nothing would be left
    assert Fault("too small", 39, (39, 39, 39, 39)).mended(mask) is None  # nor anything around it
    assert Fault("too wide", 1, (-1, 0, 0, 0)).sentence.endswith("shrink it, as reliance(...).better_masks does")


def grass(inside, rng):
    """A texture: neighbours are related, but not the same."""
    return ndimage.gaussian_filter(rng.normal(size=inside.shape), (0, 0.7, 0.7)) * 4


def framed(thick):
    """Soft noise in a frame of its own colour, and the mask of the frame."""
    rng, images = np.random.default_rng(2), []
    for _ in range(40):
        pixels = ndimage.gaussian_filter(rng.normal(size=(3, 40, 40)), (0, 4, 4)) * 10
        mask = np.ones((40, 40), bool)
        mask[thick:-thick, thick:-thick] = False
        pixels = np.where(mask, rng.normal(size=(3, 1, 1)) * 2 + rng.normal(size=pixels.shape) * 0.05, pixels)
        images.append(Masked(pixels, mask, np.zeros((40, 40), bool)))
    return images


def test_half_of_a_frame_is_open_where_it_is_cut():
    assert fault(framed(3)) is None
    halves = framed(3)
    for image in halves:
        image.mask[20:] = False
    assert fault(halves) == Fault("open")


def test_half_of_a_texture_is_open_though_neighbours_in_it_differ():
    images = scenes(grass, count=40)
    assert fault(images) is None
    assert fault(moved(images, 10, 15, 10, 20)) == Fault("open")


@pytest.mark.parametrize(("right", "expected"), [(0.0, Fault("open")), (0.5, None)])
def test_a_mask_that_shows_the_scene_on_another_side_as_well_is_not_called_open(right, expected):
    images = scenes(grass, count=40)
    for image in images:
        inside = image.pixels[:, 10:20]
        inside[:, :, 10] = 0.8 * inside[:, :, 9] + 0.2 * inside[:, :, 10]
        inside[:, :, 19] = right * inside[:, :, 20] + (1 - right) * inside[:, :, 19]
    assert outline._open(images) is (expected is not None)


def test_parts_of_few_pixels_say_nothing():
    halves = framed(3)[:30]  # 90 pairs at each cut
    for image in halves:
        image.mask[20:] = False
    assert len(list(outline._parts(halves, 2))) == 1
    assert fault(halves) is None


def test_a_fault_says_what_to_do_and_whether_a_part_is_missed():
    assert Fault("too wide", 3).sentence == (
        "the mask is too wide by about 3 px: there is an edge inside it, and the scene on both sides of its outline; shrink it"
    )
    assert Fault("open").sentence.startswith("the mask is open: on one side nothing ends at its outline")
    assert [name for name in ("too wide", "too small", "shifted", "open") if Fault(name).misses] == [
        "too small",
        "shifted",
        "open",
    ]


def test_where_the_scene_shows_through_no_edge_says_anything():
    assert fault(scenes(lambda inside, rng: inside + 0.02)) is None


def test_masks_at_the_rim_of_the_view_have_no_outline_there():
    images = moved(scenes(lambda inside, rng: inside), 0, 40, 0, 6)
    rng = np.random.default_rng(1)
    for image in images:
        image.pixels[:, :, :6] = rng.normal(size=(3, 1, 1)) * 2
    assert fault(images) is None
    assert fault(moved(images, 0, 40, 0, 9)) == Fault("too wide", 3, (0, -3, 0, 0))


def test_images_of_several_sizes_and_few_pixels_are_not_judged():
    images = scenes(patch)
    images[0].mask = np.pad(images[0].mask, 1)
    assert fault(images) is None
    assert fault(moved(scenes(patch, count=2), 13, 23, 13, 23)) is None


def test_rough_noise_hides_edges_and_is_no_sign_of_an_open_side():
    rng, images = np.random.default_rng(0), scenes(patch)
    for image in images:
        image.pixels = rng.normal(size=image.pixels.shape) + 3 * image.mask * rng.normal(size=(3, 1, 1))
    assert fault(images) is None
