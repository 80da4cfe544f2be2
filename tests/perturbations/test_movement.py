"""A heatmap that follows its image lies where the image's content lies, by formulas of its own and by the image itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image
from scipy.ndimage import gaussian_filter

from pytest_gradcam import perturbations as P
from pytest_gradcam import strategies
from pytest_gradcam.perturbations.movement import Placement, in_image, move_heat

SHAPE = (90, 120)
MOVING = ["shift", "rotate", "zoom", "flip", "perspective"]


@pytest.fixture(scope="module")
def smooth():
    """A smooth picture in which no place looks like another: what a resampling does to it, it does gently."""
    noise = gaussian_filter(np.random.default_rng(3).random(SHAPE), 8)
    return ((noise - noise.min()) / np.ptp(noise) * 255).round().astype(np.uint8)


@pytest.mark.parametrize(
    "change",
    [
        P.shift(0.4, angle=200),
        P.rotate(0.5),
        P.rotate(0.3, clockwise=True),
        P.zoom(0.6),
        P.zoom(0.4, out=True),
        P.perspective(0.7, angle=120),
        P.flip(1),
        P.flip(0.5),
        P.rotate(0.3) | P.shift(0.3, angle=90) | P.flip(1),
        P.fog(0.3) | P.zoom(0.2),
    ],
    ids=repr,
)
def test_the_heatmap_moves_as_the_image_does(smooth, change):
    geometry = P.compose([part for part in change if part.moves])
    moved = move_heat(smooth.astype(np.float32), change)
    seen = np.isfinite(moved)
    assert seen.mean() > 0.4
    assert np.abs(moved - geometry(smooth).astype(float))[seen].max() < 3  # of 255; each step of the image is rounded
    assert np.abs(smooth.astype(float) - geometry(smooth)).max() > 30  # and it has moved at all


@pytest.mark.parametrize("change", [P.shift(0.4, angle=200), P.rotate(0.5), P.zoom(0.4, out=True), P.perspective(0.7)])
def test_what_came_in_from_outside_is_nan(change):
    seen = np.isfinite(move_heat(np.ones(SHAPE, np.float32), change))
    assert (seen != change.mask(np.ones(SHAPE, bool))).mean() < 0.02  # they may differ along the rim
    assert not seen.all()


def test_what_left_the_image_does_not_come_back():
    there_and_back = P.shift(0.8) | P.shift(0.8, angle=180)  # 18 px of 90 each way
    moved = move_heat(np.arange(90 * 120, dtype=np.float32).reshape(SHAPE), there_and_back)
    assert np.isnan(moved[:, -17:]).all()  # pushed out at the right; what is there now is a mirrored copy
    assert np.allclose(moved[:, :101], np.arange(90 * 120).reshape(SHAPE)[:, :101], atol=0.01)


@settings(max_examples=30, deadline=None)
@given(change=strategies.compositions([k for k in P.KINDS if k not in MOVING], max_severity=1))
def test_what_moves_no_pixel_leaves_the_heatmap_bit_for_bit(change):
    heat = np.random.default_rng(0).random((7, 9), np.float32)
    moved = move_heat(heat, change)
    assert not change.moves
    assert np.array_equal(moved, heat)
    assert not np.shares_memory(moved, heat)


@settings(max_examples=40, deadline=None)
@given(change=strategies.compositions(MOVING, max_severity=1))
def test_heat_stays_within_its_range_and_severity_zero_moves_nothing(change):
    heat = np.random.default_rng(1).random((20, 30), np.float32)
    moved = move_heat(heat, change)
    kept = moved[np.isfinite(moved)]
    assert kept.size == 0 or (heat.min() - 1e-6 <= kept.min() and kept.max() <= heat.max() + 1e-6)
    assert change.moves == any(part.severity > 0 for part in change)


def test_a_view_that_is_cropped_and_resized_moves_in_the_coordinates_of_its_image(smooth):
    """The view is half of x 40-120, y 0-60 of the image. Rotating the image is no rotation of the view alone."""
    placement = Placement(SHAPE, np.array([[2, 0, 40.5], [0, 2, 0.5]]))

    def view(image):
        return np.asarray(Image.fromarray(image).crop((40, 0, 120, 60)).resize((40, 30), Image.Resampling.BOX))

    change = P.rotate(0.3) | P.shift(0.2, angle=30)
    moved = move_heat(view(smooth).astype(np.float32), change, placement)
    seen = np.isfinite(moved)
    expected = view(change(smooth)).astype(float)
    assert seen.mean() > 0.5
    assert np.abs(moved - expected)[seen].max() < 8
    naive = move_heat(view(smooth).astype(np.float32), change)  # as if the view were the image
    both = seen & np.isfinite(naive)
    assert np.abs(naive - expected)[both].max() > 20


def test_a_mask_of_a_view_lies_in_the_image_where_the_view_does():
    """A view of the middle 40 x 40 pixels, at half their size: what it does not show is in no mask."""
    mask = np.zeros((20, 20), bool)
    mask[:5, 10:] = True
    placement = Placement((60, 80), np.array([[2.0, 0, 20.5], [0, 2.0, 10.5]]))
    expected = np.zeros((60, 80), bool)
    expected[10:20, 40:60] = True
    np.testing.assert_array_equal(in_image(mask, placement), expected)
