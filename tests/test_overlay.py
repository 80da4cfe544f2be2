"""What can be seen in the pictures of checks: which side of an outline is the mask, the peak, the level that counts."""

import numpy as np
import pytest

from pytest_gradcam import masks, overlay

SHAPE = (64, 64)
VIEW = np.full((*SHAPE, 3), 90, np.uint8)
MIDDLE = masks.box(SHAPE, (16, 16, 48, 48))
Y, X = np.mgrid[:64, :64]
BLOB = np.exp(-((X - 32.0) ** 2 + (Y - 20.0) ** 2) / 200).astype(np.float32)


def pixels(**drawn):
    return np.asarray(overlay.draw_panels([overlay.Panel(VIEW, **drawn)])).astype(int)


def cyan(picture):
    red, green, blue = np.moveaxis(picture, -1, 0)
    return (red < 60) & (green > 150) & (blue > 170)


def panel_of(picture):
    """Where the view lies in the picture: rows and columns from, to."""
    grey = (picture == 90).all(axis=-1) | cyan(picture)
    rows, columns = np.flatnonzero(grey.any(axis=1)), np.flatnonzero(grey.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


@pytest.mark.parametrize("inside", [True, False])
def test_the_ticks_of_an_outline_point_into_the_mask(inside):
    picture = pixels(mask=MIDDLE if inside else ~MIDDLE)
    drawn = cyan(picture[panel_of(picture)])
    height, width = drawn.shape
    rows, columns = (np.linspace(0, 64, n, endpoint=False) for n in (height, width))
    in_middle = ((rows > 16.5) & (rows < 46.5))[:, None] & ((columns > 16.5) & (columns < 46.5))
    outside = ((rows < 14.5) | (rows > 48.5))[:, None] | (columns < 14.5) | (columns > 48.5)
    within, without = int(drawn[in_middle].sum()), int(drawn[outside].sum())
    assert (within > 50 and without == 0) if inside else (without > 50 and within == 0)


def test_a_detail_is_not_covered_with_ticks():
    detail = masks.box(SHAPE, (30, 30, 36, 36))
    small, rest = (cyan(pixels(mask=mask)).sum() for mask in (detail, ~detail))
    assert 0 < small < rest


def test_the_level_is_outlined_and_the_peak_is_marked():
    plain, marked = pixels(heat=BLOB), pixels(heat=BLOB, level=0.5, peak=(32, 20))
    changed = (plain != marked).any(axis=-1)
    assert (marked[changed] == 255).all(axis=-1).sum() > 100
    assert (marked[changed] == 0).all(axis=-1).sum() > 20  # the cross's dark rim: it lies on the brightest place


@pytest.mark.parametrize("level", [0.0, 2.0])
def test_a_level_that_no_line_can_show_is_left_out(level):
    np.testing.assert_array_equal(pixels(heat=BLOB, level=level), pixels(heat=BLOB))
