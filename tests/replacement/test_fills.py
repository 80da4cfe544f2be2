"""Fills replace the masked pixels and no others, and stay within the range of the image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gradcam import HeatmapError
from pytest_gradcam.replacement import fills

OTHER = np.random.default_rng(9).normal(0, 1, (3, 24, 20)).astype(np.float32)
FILLS = {
    "colour": lambda image, mask, **more: fills.colour(image, mask, level=fills.middle(image), **more),
    "paste": lambda image, mask, **more: fills.paste(image, mask, other=OTHER, **more),
    "blur": fills.blur,
    "noise": fills.noise,
    "inpaint": fills.inpaint,
}
PURE = ("colour", "paste", "noise", "inpaint")  # what they put in hangs on nothing that was in the mask


def picture(seed=0, shape=(3, 24, 20)):
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


@st.composite
def regions(draw):
    """A mask and a padding that leave some pixels over."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mask = rng.random((24, 20)) < draw(st.sampled_from([0.01, 0.1, 0.5, 0.9]))
    padding = np.zeros_like(mask)
    padding[: draw(st.integers(0, 6))] = True
    return mask, padding


@pytest.mark.parametrize("name", FILLS)
@given(region=regions(), seed=st.integers(0, 5))
def test_a_fill_changes_no_pixel_outside_the_mask_nor_in_the_padding(name, region, seed):
    mask, padding = region
    image = picture(seed)
    kept = image.copy()
    changed = FILLS[name](image, mask, padding=padding)
    np.testing.assert_array_equal(image, kept)
    np.testing.assert_array_equal(changed[:, ~mask | padding], image[:, ~mask | padding])
    assert changed.dtype == np.float32
    sources = np.stack([image, OTHER] if name == "paste" else [image])
    assert (changed.min(axis=(1, 2)) >= sources.min(axis=(0, 2, 3))).all()
    assert (changed.max(axis=(1, 2)) <= sources.max(axis=(0, 2, 3))).all()


@pytest.mark.parametrize("name", ["colour", "paste", "inpaint"])
@given(region=regions())
def test_filling_twice_is_filling_once(name, region):
    mask, padding = region
    level = np.zeros(3, np.float32)
    fill = (
        (lambda image, mask, **more: fills.colour(image, mask, level=level, **more))
        if name == "colour"
        else FILLS[name]
    )
    once = fill(picture(), mask, padding=padding)
    np.testing.assert_allclose(fill(once, mask, padding=padding), once, atol=1e-5)


@pytest.mark.parametrize("name", ["paste", "inpaint"])
def test_what_was_in_the_mask_leaves_no_trace(name):
    mask = np.zeros((24, 20), bool)
    mask[4:12, 3:9] = True
    image, other = picture(), picture()
    other[:, mask] = 0.5
    np.testing.assert_allclose(FILLS[name](image, mask), FILLS[name](other, mask), atol=1e-6)


def test_inpainting_continues_a_slope_exactly():
    rows, columns = np.mgrid[:24, :20]
    image = np.stack([rows * 0.1 + columns * 0.3, rows * 1.0, columns * 0.0 + 2]).astype(np.float32)
    mask = np.zeros((24, 20), bool)
    mask[5:15, 4:12] = True
    np.testing.assert_allclose(fills.inpaint(image, mask), image, atol=1e-3)  # linear functions are harmonic


def test_inpainting_solves_laplaces_equation():
    mask = np.zeros((24, 20), bool)
    mask[5:15, 4:12] = True
    filled = fills.inpaint(picture(), mask).astype(np.float64)
    mean = (filled[:, 4:14, 4:12] + filled[:, 6:16, 4:12] + filled[:, 5:15, 3:11] + filled[:, 5:15, 5:13]) / 4
    np.testing.assert_allclose(filled[:, 5:15, 4:12], mean, atol=1e-4)


def test_an_island_with_nothing_known_around_it_takes_the_mean_colour():
    mask, padding = np.zeros((2, 24, 20), bool)
    mask[8:10, 8:10] = True
    padding[7:11, 7:11] = ~mask[7:11, 7:11]
    image = picture()
    filled = fills.inpaint(image, mask, padding=padding)
    expected = image[:, ~mask & ~padding].mean(axis=1)
    np.testing.assert_allclose(filled[:, mask], np.repeat(expected[:, None], 4, axis=1), rtol=1e-3)


def test_noise_is_seeded_and_has_the_statistics_of_the_rest():
    image = picture(shape=(3, 100, 100)) * np.array([1, 2, 3], np.float32)[:, None, None] + 5
    mask = np.zeros((100, 100), bool)
    mask[:, :60] = True
    changed = fills.noise(image, mask)
    np.testing.assert_array_equal(changed, fills.noise(image, mask))
    assert not np.array_equal(changed, fills.noise(image, mask, seed=1))
    np.testing.assert_allclose(changed[:, mask].mean(axis=1), image[:, ~mask].mean(axis=1), atol=0.2)
    np.testing.assert_allclose(changed[:, mask].std(axis=1), image[:, ~mask].std(axis=1), rtol=0.1)


def test_the_soft_edge_is_narrow_and_only_where_views_are_large():
    mask = np.zeros((224, 224), bool)
    mask[100:120, 100:120] = True
    weight = fills.soft(mask)
    assert fills.edge(224, 224) == 2
    assert (weight[mask] == 1).all()
    assert weight[99, 110] == pytest.approx(2 / 3)
    assert weight[98, 110] == pytest.approx(1 / 3)
    assert weight[97, 110] == 0
    assert fills.edge(100, 300) == 0


def test_a_larger_image_keeps_its_pixels_beyond_the_edge():
    image, mask = picture(shape=(3, 224, 224)), np.zeros((224, 224), bool)
    mask[50:90, 60:100] = True
    beyond = fills.soft(mask) == 0
    for fill in (FILLS["colour"], fills.blur, fills.noise, fills.inpaint):
        changed = fill(image, mask)
        np.testing.assert_array_equal(changed[:, beyond], image[:, beyond])
        assert (changed[:, mask] != image[:, mask]).mean() > 0.9


def test_pasting_needs_one_size():
    with pytest.raises(HeatmapError, match=r"an image \(3, 24, 20\) cannot be pasted into one \(3, 8, 8\)"):
        fills.paste(picture(shape=(3, 8, 8)), np.ones((8, 8), bool), other=OTHER)
