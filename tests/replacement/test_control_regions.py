"""Regions to compare with: of the mask's shape elsewhere, and right around it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pytest_gradcam.replacement import control_regions

SHAPE = (20, 24)


def box(top, left, height, width):
    mask = np.zeros(SHAPE, bool)
    mask[top : top + height, left : left + width] = True
    return mask


@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 12), blocked=st.floats(0, 0.2))
def test_controls_have_the_masks_shape_and_touch_nothing_forbidden(seed, size, blocked):
    rng = np.random.default_rng(seed)
    mask = np.zeros(SHAPE, bool)
    top, left = rng.integers(0, 20 - size + 1), rng.integers(0, 24 - size + 1)
    mask[top : top + size, left : left + size] = rng.random((size, size)) < 0.7
    mask[top, left] = True
    forbidden = rng.random(SHAPE) < blocked
    for control in control_regions.elsewhere(mask, forbidden):
        assert not (control & (mask | forbidden)).any()
        assert cut(control).tolist() == cut(mask).tolist()


def cut(mask):
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def test_the_first_control_is_the_farthest_and_the_second_keeps_off_both():
    found = control_regions.elsewhere(box(0, 0, 4, 4), np.zeros(SHAPE, bool))
    assert np.array_equal(found[0], box(16, 20, 4, 4))
    assert np.array_equal(found[1], box(0, 20, 4, 4)) or np.array_equal(found[1], box(16, 0, 4, 4)) or found[1].any()
    assert len(found) == 2


def test_a_search_by_hand_finds_the_same_places():
    mask, forbidden = box(2, 3, 5, 9), box(12, 0, 3, 10)
    places = [
        (top, left) for top in range(16) for left in range(16) if not (box(top, left, 5, 9) & (mask | forbidden)).any()
    ]
    farthest = max(places, key=lambda place: np.hypot(place[0] - 2, place[1] - 3))
    assert np.array_equal(control_regions.elsewhere(mask, forbidden, count=1)[0], box(*farthest, 5, 9))


def test_none_where_none_fits():
    assert control_regions.elsewhere(box(0, 0, 12, 24), np.zeros(SHAPE, bool)) == []
    assert control_regions.elsewhere(box(0, 0, 4, 4), ~box(0, 0, 4, 4)) == []


def test_one_where_one_fits():
    assert len(control_regions.elsewhere(box(0, 0, 10, 24), np.zeros(SHAPE, bool))) == 1


def test_the_pixels_around_a_mask_are_about_as_many_and_the_nearest():
    mask = box(6, 6, 6, 6)
    around = control_regions.around(mask, np.zeros(SHAPE, bool))
    assert not (around & mask).any()
    assert 28 <= around.sum() <= 60
    assert around[5, 6]
    assert not around[0, 0]


def test_the_pixels_around_a_mask_keep_off_the_padding_and_leave_something_over():
    mask, padding = box(0, 0, 16, 24), box(16, 0, 2, 24)
    around = control_regions.around(mask, padding)
    assert around.sum() == 24
    assert not (around & (mask | padding)).any()


def test_the_core_of_most_of_the_view_is_without_its_outline():
    mask, none = ~box(6, 8, 8, 8), np.zeros(SHAPE, bool)
    core = control_regions.core(mask, none)
    assert (mask & ~core).sum() == 32  # half of the 64 px outside: one row all round, without the corners
    assert not core[5, 8:16].any()
    assert core[4].all()


def test_a_mask_of_half_of_what_is_not_padding_has_no_core():
    padding = box(16, 0, 4, 24)
    assert not control_regions.core(box(0, 0, 8, 24), padding).any()
    assert control_regions.core(box(0, 0, 9, 24), padding).any()
    assert not (control_regions.core(box(0, 0, 9, 24), padding) & (padding | box(9, 0, 11, 24))).any()


def test_a_mask_that_leaves_nothing_has_no_core():
    assert not control_regions.core(box(0, 0, 16, 24), box(16, 0, 4, 24)).any()


def test_the_hottest_control_lies_on_the_heat_and_off_the_mask():
    heat = np.zeros(SHAPE)
    heat[2:6, 15:19] = 1
    mask, nothing = box(10, 2, 4, 4), np.zeros(SHAPE, bool)
    assert np.array_equal(control_regions.hottest(mask, nothing, heat), box(2, 15, 4, 4))
    assert np.array_equal(control_regions.hottest(mask, box(0, 15, 8, 4), heat) & box(0, 15, 8, 4), nothing)


def test_the_hottest_control_may_overlap_the_mask_a_little_and_leaves_that_out():
    heat = np.zeros(SHAPE)
    heat[10:14, 2:7] = 1  # on the mask, and one column beside it
    mask = box(10, 2, 4, 4)
    found = control_regions.hottest(mask, np.zeros(SHAPE, bool), heat)
    assert not (found & mask).any()
    assert found[10:14, 6].any()
    assert found.sum() >= 0.7 * mask.sum()


def test_a_mask_that_fits_nowhere_else_has_no_hottest_control():
    assert control_regions.hottest(box(0, 0, 20, 16), np.zeros(SHAPE, bool), np.ones(SHAPE)) is None
    assert control_regions.hottest(box(0, 0, 4, 4), box(0, 4, 20, 20) | box(4, 0, 16, 24), np.ones(SHAPE)) is None
