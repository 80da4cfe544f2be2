"""A known bias of a real model: ImageNet models take a watermark in Chinese characters for a 'carton' (Li et al. 2023).

ImageNet's cartons often carry such a mark. The model never says 'carton' here, so no heatmap of what it does say can
show the shortcut; asking which classes the mark's place feeds does.
"""

from importlib.resources import files

import numpy as np
import pytest
from imagenet_w import AddWatermark
from PIL import Image

# These tests ask for figures and assert on them: there is no check for gradcam to record.
pytestmark = pytest.mark.gradcam(unchecked="allow")

PHOTOGRAPHS = (files("skimage") / "data", files("sklearn") / "datasets" / "images")
NAMES = [
    "astronaut.png",
    "brick.png",
    "camera.png",
    "cell.png",
    "chelsea.png",
    "china.jpg",
    "clock_motion.png",
    "coffee.png",
    "coins.png",
    "flower.jpg",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
]
SIDE = 224  # ImageNet-W draws its mark on the image as the model sees it


@pytest.fixture(scope="module")
def photographs():
    paths = [next(folder / name for folder in PHOTOGRAPHS if (folder / name).is_file()) for name in NAMES]
    return [Image.open(str(path)).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC) for path in paths]


@pytest.fixture(scope="module")
def marked(photographs):
    return [AddWatermark(SIDE)(photograph) for photograph in photographs]


@pytest.fixture(scope="module")
def ink():
    """The pixels that the watermark changes."""
    return np.asarray(AddWatermark(SIDE)(Image.new("RGB", (SIDE, SIDE)))).max(axis=2) > 0


def test_the_watermark_feeds_cartons(gradcam, marked, ink):
    first = gradcam.fed_by(marked, ink)[:3]
    assert "carton" in [fed.target for fed in first]
    assert all(fed.interval[0] > 0 for fed in first)


def test_the_same_place_without_the_watermark_does_not(gradcam, photographs, ink):
    assert "carton" not in [fed.target for fed in gradcam.fed_by(photographs, ink)[:100]]


def test_what_is_said_of_marked_photographs_hangs_on_the_mark(gradcam, marked, photographs, ink):
    """The mark lies across the objects: what its place costs on photographs without it is taken off."""
    found = gradcam.reliance(marked, ink, without=photographs)
    assert found.relies, found.reason


def test_it_is_not_the_place_itself(gradcam, photographs, ink):
    assert not gradcam.reliance(photographs[::2], ink, without=photographs[1::2]).relies
