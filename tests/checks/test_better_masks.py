"""Masks that fit better: the edges of the artefact say how, and the next call takes them."""

import numpy as np
import pytest
import torch
from PIL import Image

from pytest_gradcam import Explainer, masks
from pytest_gradcam.perturbations.movement import Placement, in_image
from tests.checks.test_reliance import DISC, SIDE, Reads

EXACT = masks.box((SIDE, SIDE), (20, 20, 28, 28))
WIDE = masks.box((SIDE, SIDE), (17, 17, 31, 31))


def patched(count=24):
    """Soft scenes with a disc of the class's colour, and a patch of one colour that says nothing."""
    rng, images = np.random.default_rng(0), []
    for i in range(count):
        rows = np.linspace(0, 1, SIDE)
        soft = 0.2 + 0.3 * np.outer(rng.uniform(0, 1) + rows, rng.uniform(0, 1) + rows)[None].repeat(3, 0) / 4
        soft[:, DISC] *= 0.3
        soft[i % 2, DISC] += 0.7
        soft[:, EXACT] = rng.uniform(0, 1, (3, 1))
        images.append(torch.from_numpy(soft.astype(np.float32)))
    return images


def test_a_wide_mask_comes_with_one_that_fits():
    images = patched()
    found = Explainer(Reads(DISC)).reliance(images, WIDE)
    assert found.fault.endswith("shrink it, as reliance(...).better_masks does")
    assert len(found.better_masks) == 24
    for mask in found.better_masks:
        np.testing.assert_array_equal(mask, EXACT)
    again = Explainer(Reads(DISC)).reliance(images, found.better_masks)
    assert (again.relies, again.fault, again.better_masks) == (False, "", [])


def test_the_picture_shows_them():
    images = patched()
    wide, exact = (Explainer(Reads(DISC)).reliance(images, mask).picture for mask in (WIDE, EXACT))
    assert wide.height > exact.height + 300


def test_copies_and_their_order_keep_their_masks():
    images = patched(12)
    moved = [np.roll(WIDE, i % 2, axis=0) for i in range(12)]
    passed = [*images, images[0]]
    found = Explainer(Reads(DISC)).reliance(passed, [*moved, moved[0]])
    assert found.copies == 1
    assert len(found.better_masks) in (0, 13)
    assert Explainer(Reads(DISC)).reliance(images, EXACT).better_masks == []


def test_they_are_in_the_coordinates_of_pictures_that_a_preprocess_crops_and_resizes():
    def preprocess(picture):
        seen = picture.crop((16, 16, 16 + 2 * SIDE, 16 + 2 * SIDE)).resize((SIDE, SIDE), Image.Resampling.BOX)
        return torch.from_numpy(np.asarray(seen, np.float32) / 255).permute(2, 0, 1)

    def picture(image):
        big = np.full((100, 100, 3), 90, np.uint8)
        big[16:80, 16:80] = (255 * image.permute(1, 2, 0).numpy()).repeat(2, 0).repeat(2, 1).round()
        return Image.fromarray(big)

    wide, exact = np.zeros((2, 100, 100), bool)
    wide[50:78, 50:78] = exact[56:72, 56:72] = True
    found = Explainer(Reads(DISC), preprocess=preprocess).reliance([picture(one) for one in patched()], wide)
    assert found.fault
    for mask in found.better_masks:
        np.testing.assert_array_equal(mask, exact)
    assert len(found.better_masks) == 24


def test_what_nobody_sees_is_in_no_mask():
    assert not in_image(np.zeros((4, 4), bool), Placement((8, 8), np.eye(2, 3))).any()
    full = in_image(np.ones((4, 4), bool), Placement((8, 8), np.eye(2, 3)))
    assert full[:4, :4].all()
    assert full.sum() == pytest.approx(16)
