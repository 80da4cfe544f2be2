"""Polygons as pixels, against scikit-image's test of each pixel by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import polygon2mask

from pytest_gradcam import masks
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.masks import _raster


# On steps that binary fractions cannot hold, a pixel's centre may lie on an edge but for rounding, where either is right.
@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 0.5, 0.25, 1e-9]))
def test_every_pixel_of_random_polygons(seed: int, step: float) -> None:
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(2, 25, 2))
    points = np.clip(np.round(rng.random((rng.integers(3, 12), 2)) * (width, height) / step) * step, 0, (width, height))
    mask = np.zeros((height, width), bool)
    _raster.fill(mask, [points])
    assert (mask == polygon2mask((height, width), points[:, ::-1] - 0.5)).all()


def test_edges_taken_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(0).random((60, 2)) * (90, 70)
    whole = masks.polygon((70, 90), points)
    monkeypatch.setattr(_raster, "_AT_ONCE", 7)
    assert (masks.polygon((70, 90), points) == whole).all()


def test_an_outline_of_300_000_points() -> None:
    angles = np.linspace(0, 2 * np.pi, 300_000, endpoint=False)
    circle = 250 + 200 * np.stack([np.cos(angles), np.sin(angles)], 1)
    ours = masks.polygon((500, 500), circle)
    assert (ours ^ masks.circle((500, 500), (250, 250), 200)).sum() <= 8  # centres on the rim itself
    assert (masks.from_coco({"segmentation": [circle.ravel().tolist()]}, (500, 500)) == ours).all()


def test_outlines_too_long_to_fill_are_refused() -> None:
    zigzag = np.stack([np.arange(300_000) % 2000, np.tile([0, 2000], 150_000)], 1)
    with pytest.raises(
        HeatmapError, match=r"300000 points crosses rows of pixels 600,000,000 times; expected at most 4,"
    ):
        masks.polygon((2000, 2000), zigzag)
    with pytest.raises(HeatmapError, match="there are 10001 rings; expected at most 10,000; pass a mask"):
        masks.from_coco({"segmentation": [[1, 1, 5, 1, 5, 5]] * 10_001}, (12, 20))


@pytest.mark.parametrize("far", [1e300, -1e300, 10**5000, 10**18], ids=["far", "near", "digits", "int"])
def test_coordinates_beyond_any_image(far: float) -> None:
    for read in (masks.polygon, lambda shape, points: masks.box(shape, [*points[0], *points[1]])):
        with pytest.raises(HeatmapError, match=r"lies beyond any image|expected .* as real numbers") as caught:
            read((12, 20), [(1, 1), (far, 5), (5, 5)])
        assert len(str(caught.value)) < 300


def test_a_circle_of_no_size_is_not_the_whole_image() -> None:
    with pytest.raises(HeatmapError, match="holds no pixel's centre"):
        masks.circle((12, 20), (9, 5), 1e-200)
    with pytest.raises(HeatmapError, match="lies beyond any image"):
        masks.circle((12, 20), (9, 5), 1e300)


@pytest.mark.parametrize("shape", [(10**9, 10**9), (1, 178_956_971), (10**5000, 1)])
def test_an_image_too_large_for_a_mask(shape: tuple[int, int]) -> None:
    with pytest.raises(HeatmapError, match=r"expected at most 178,956,970 pixels in all"):
        masks.box(shape, (0, 0, 5, 5))


@pytest.mark.parametrize("shape", [{12, 20}, {12: 0, 20: 1}, "12"])
def test_what_has_no_order_is_no_size(shape: object) -> None:
    with pytest.raises(HeatmapError, match="is not an image size"):
        masks.box(shape, (0, 0, 5, 5))  # type: ignore[arg-type]
