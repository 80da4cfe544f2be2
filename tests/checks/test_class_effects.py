"""Which classes a place feeds, on a model whose classes read places of their own."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from pytest_gradcam import Explainer, HeatmapError, masks

SHAPE = (32, 32)
CORNER = masks.box(SHAPE, (24, 24, 32, 32))


class Regions(nn.Module):
    """Class 0 reads the whole image, class 1 the corner, class 2 the corner with the other sign, class 3 the rest."""

    def __init__(self):
        super().__init__()
        corner = torch.from_numpy(CORNER).float()
        rest = 1 - corner
        weights = [(corner + rest) / 1024, 3 * corner / 64, -corner / 64, rest / rest.sum()]
        self.register_buffer("weights", torch.stack(weights))
        self.probe = nn.Conv2d(3, 1, 1)

    def forward(self, x):
        return torch.einsum("bhw,chw->bc", x.mean(1), self.weights)


def marked(count=6):
    """Noise with a corner that is brighter by 1."""
    images = np.random.default_rng(0).normal(0, 0.1, (count, 3, *SHAPE)).astype(np.float32)
    images[:, :, CORNER] += 1
    return list(torch.from_numpy(images))


def test_classes_are_ranked_by_what_they_lose_in_the_mean():
    images = marked()
    explainer = Explainer(Regions(), classes=["whole", "corner", "against", "rest"])
    found = explainer.fed_by(images, CORNER)
    assert [fed.target for fed in found] == ["corner", "whole", "rest", "against"]
    assert [fed.index for fed in found] == [1, 0, 3, 2]
    assert found[0].effect == pytest.approx(3, abs=0.2)
    assert found[2].effect == 0
    assert found[3].effect == pytest.approx(-1, abs=0.1)
    assert repr(found[0]).startswith("Fed('corner', effect=3.0")


def test_the_interval_is_students():
    images, explainer = marked(), Explainer(Regions())
    found = next(fed for fed in explainer.fed_by(images, CORNER) if fed.index == 1)
    alone = [next(fed.effect for fed in explainer.fed_by([image], CORNER) if fed.index == 1) for image in images]
    expected = stats.ttest_1samp(alone, 0).confidence_interval(0.95)
    assert found.effect == pytest.approx(np.mean(alone))
    assert found.interval == pytest.approx(expected, rel=1e-4)


def test_one_image_has_no_interval():
    found = Explainer(Regions()).fed_by(marked(1), CORNER)
    assert found[0].interval == (-np.inf, np.inf)
    assert "(of one image), index=" in repr(found[0])


def test_a_place_like_its_surroundings_is_no_answer():
    flat = [torch.full((3, *SHAPE), 0.5)]
    with pytest.raises(HeatmapError, match="changes no class.s score"):
        Explainer(Regions()).fed_by(flat, CORNER)


def test_images_of_another_size_bring_their_own_masks():
    images = [*marked(2), torch.rand(3, 32, 32)]
    with pytest.raises(HeatmapError, match="there are 2 masks for 3 images"):
        Explainer(Regions()).fed_by(images, [CORNER, CORNER])
    assert len(Explainer(Regions()).fed_by(images, [CORNER] * 3)) == 4
