"""A heatmap's padding is a mask for checks on that heatmap only: every other way in refuses it."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from pytest_gradcam import Explainer, HeatmapError, perturbations
from pytest_gradcam.targets import Region
from tests.sanity_models import Red

IMAGE = Image.fromarray(np.uint8([[[250, 20, 20]] * 16 + [[20, 250, 20]] * 16] * 32))
BRIGHTER = perturbations.brightness(0.1)


@pytest.fixture(scope="module")
def explainer():
    pad = v2.Compose([v2.Pad((0, 0, 16, 0)), v2.Resize((32, 32)), v2.PILToTensor(), lambda image: image.float() / 255])
    return Explainer(Red().eval(), layer="features", preprocess=pad)


@pytest.fixture(scope="module")
def padding(explainer):
    found = explainer(IMAGE, 0).padding
    assert 0 < found.mean() < 1
    return found


WAYS = {
    "assert_ignores": lambda explainer, mask: explainer.assert_ignores(IMAGE, mask),
    "assert_relies_on": lambda explainer, mask: explainer.assert_relies_on(IMAGE, mask),
    "reliance": lambda explainer, mask: explainer.reliance([IMAGE] * 2, mask),
    "fed_by": lambda explainer, mask: explainer.fed_by([IMAGE] * 2, mask),
    "assert_stable": lambda explainer, mask: explainer.assert_stable(IMAGE, BRIGHTER, mask=mask, mass_at_least=0.1),
    "robustness": lambda explainer, mask: explainer.robustness(
        IMAGE, perturbations.brightness, severities=[0.1], mask=mask, mass_at_least=0.1
    ),
    "Region": lambda explainer, mask: explainer(IMAGE, Region(0, mask)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", ["padding", "all but it"])
def test_no_mask_of_the_image(explainer, padding, way, form):
    with pytest.raises(HeatmapError, match="the mask was made from a heatmap's padding, which lies in the view"):
        WAYS[way](explainer, padding if form == "padding" else ~padding)


def test_nor_for_another_heatmap(explainer, padding):
    other = explainer(IMAGE.rotate(90).resize((64, 32)), 0)
    assert not np.array_equal(other.padding, padding)
    with pytest.raises(HeatmapError, match="the mask was made from a heatmap's padding"):
        other.mass(padding)


def test_the_heatmap_takes_its_own(explainer, padding):
    heatmap = explainer(IMAGE, 0)
    assert heatmap.mass(padding) + heatmap.mass(~padding) == pytest.approx(1)


@pytest.mark.parametrize(
    "form",
    [
        np.array,
        lambda mask: np.uint8(255) * np.array(mask),
        lambda mask: mask.tolist(),
        lambda mask: torch.from_numpy(np.array(mask)),
    ],
    ids=["array", "uint8", "list", "tensor"],
)
def test_the_same_pixels_in_another_form_are_unclear(explainer, padding, form):
    heatmap = explainer(IMAGE, 0)
    for mask in (padding, ~padding):
        with pytest.raises(HeatmapError, match="it is unclear whether they are meant in the view or in the image"):
            heatmap.mass(form(np.asarray(mask)))


def test_a_copy_is_the_padding(explainer, padding):
    assert explainer(IMAGE, 0).mass(padding.copy()) == explainer(IMAGE, 0).mass(padding)
